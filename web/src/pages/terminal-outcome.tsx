import type { SessionInfo } from "../api";
import { STATE_ICONS } from "../components/chip";
import { Outcome, type OutcomeAction } from "../components/outcome";
import type { Ending, Failure } from "../link";
import { addressOf, go } from "../state/router";
import type { Session } from "../state/session";
import type { TerminalView } from "../state/terminal-view";
import { endingWords, remedyFor, type Words } from "../state/words";

/** What stands under a terminal that cannot be typed into any more. */
export function TerminalOutcome({
  view,
  session,
  words,
}: {
  view: TerminalView;
  session: Session;
  words: Words;
}) {
  const stage = session.stage.value;
  const status = session.status.value;
  if (stage.is === "refused")
    return (
      <Failed failure={stage.failure} actions={failedActions(session, () => view.retryOpening())} />
    );
  if (stage.is === "over")
    return <Ended session={session} ending={stage.session.ending} info={stage.session} />;
  switch (words.state) {
    case "ended":
      return <Ended session={session} ending={status?.ending ?? null} info={null} />;
    case "failed":
      return status?.failure ? (
        <Failed failure={status.failure} actions={failedActions(session, null)} />
      ) : null;
    case "taken_over":
      return (
        <Outcome
          icon={STATE_ICONS.taken_over}
          title="Taken over"
          sentence={words.sentence}
          actions={[
            { words: "Take back", act: () => resume(view, () => session.takeControl()) },
            { words: "Look on", act: () => resume(view, () => session.requestView()) },
            toDevices,
          ]}
        />
      );
    default:
      return null;
  }
}

export const NOT_LOADED = "The terminal itself could not be loaded from the broker.";

/** The broker is away, or newer than this page: a reload finds out. */
export function NotLoaded() {
  return (
    <Outcome
      icon={STATE_ICONS.failed}
      title="It did not work"
      sentence={NOT_LOADED}
      remedy="Reload the page: the broker may have been upgraded, or be away for a moment."
      actions={[{ words: "Reload", act: () => location.reload() }]}
    />
  );
}

const toDevices: OutcomeAction = { words: "All devices", act: () => go(addressOf.devices()) };

function resume(view: TerminalView, act: () => void): void {
  act();
  view.focus();
}

function Ended({
  session,
  ending,
  info,
}: {
  session: Session;
  ending: Ending | null;
  info: SessionInfo | null;
}) {
  const device = session.deviceId.value;
  const { value: from } = session.startedAt;
  const { value: to } = session.endedAt;
  const lasted = from !== null && to !== null ? to - from : null;
  const exited = ending?.code === "exited";
  return (
    <Outcome
      icon="stop"
      title={info ? "This session is over" : "Session ended"}
      sentence={endingWords(ending, lasted)}
      remedy={exited || !ending ? "" : unsaid(remedyFor(ending.code), ending.text)}
      actions={device ? [newSession(device), toDevices] : [toDevices]}
    />
  );
}

function Failed({ failure, actions }: { failure: Failure; actions: OutcomeAction[] }) {
  // The API's sentences have their remedy in them already; the link tells the two apart.
  const remedy = unsaid(failure.remedy, failure.text);
  return (
    <Outcome
      icon="cross"
      title="It did not work"
      sentence={failure.text}
      remedy={remedy}
      requestId={failure.requestId}
      actions={actions}
    />
  );
}

function unsaid(remedy: string, text: string): string {
  return text.includes(remedy) ? "" : remedy;
}

function failedActions(session: Session, retry: (() => void) | null): OutcomeAction[] {
  const device = session.deviceId.value;
  if (retry) return [{ words: "Try again", act: retry }, toDevices];
  return device ? [newSession(device), toDevices] : [toDevices];
}

function newSession(device: string): OutcomeAction {
  return { words: "New session", act: () => go(addressOf.open(device)) };
}
