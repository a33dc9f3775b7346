import { useComputed } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";

import { Announcement } from "../components/announcement";
import { Banner, type BannerAction } from "../components/banner";
import { Bar, BarButton } from "../components/bar";
import { Chip, STATE_ICONS } from "../components/chip";
import { Steps } from "../components/steps";
import { TerminalQuestion } from "../components/terminal-question";
import { now } from "../state/now";
import { readerMode } from "../state/preferences";
import { addressOf, go } from "../state/router";
import { PLAIN_SHELL, type Session, type Target } from "../state/session";
import { TerminalView } from "../state/terminal-view";
import { endingWords, mayBeOver, stepsFor, type Words, wordsFor } from "../state/words";
import { NOT_LOADED, NotLoaded, TerminalOutcome } from "./terminal-outcome";

/** One terminal, from edge to edge. */
export function TerminalPage({ target }: { target: Target }) {
  const view = useMemo(() => new TerminalView(target), []);
  const host = useRef<HTMLDivElement>(null);
  const frame = useRef<HTMLElement>(null);
  useEffect(() => {
    if (host.current && frame.current) void view.mount(host.current, frame.current);
    return () => view.unmount();
  }, [view]);

  const session = view.session.value;
  const device = session?.deviceName.value ?? "";
  const words = useComputed(() => wordsOf(view)).value;
  useEffect(() => {
    document.title = [view.title.value, device, "Moorline"]
      .filter((part) => part !== "")
      .join(" · ");
  }, [view.title.value, device]);

  return (
    <div class="terminal-page">
      <Bar
        buttons={<TerminalButtons view={view} session={session} />}
        banner={bannerOf(view, session, words)}
      >
        <h1 class="device-name">{device || "Terminal"}</h1>
        {session?.login.value && <span class="quiet login">{session.login.value}</span>}
        {session?.status.value?.phase === "live" && !session.status.value.keeper && (
          <span class="quiet plain" title={PLAIN_SHELL}>
            ends with the broker
          </span>
        )}
        <Chip icon={STATE_ICONS[words.state]} word={words.word} tone={words.tone} />
      </Bar>
      <p class="unseen" role="status">
        {spoken(words)}
      </p>
      <main>
        <section
          ref={frame}
          class={`frame${view.ringing.value ? " ringing" : ""}`}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: the way into the terminal and out of it (WCAG 2.1.2)
          tabIndex={0}
          aria-label={`Terminal ${device}. Enter to type, Ctrl+Shift+L to leave.`}
          onKeyDown={(event) =>
            event.key === "Enter" && event.target === frame.current && view.focus()
          }
        >
          <div ref={host} class="host" />
          <p class="hint">Enter to type · Ctrl+Shift+L leaves the terminal</p>
          {view.linkTarget.value && (
            <p class="link-target">{view.linkTarget.value} · Ctrl+click opens it</p>
          )}
          {isOpening(session, words) && (
            <Steps
              device={device}
              steps={stepsFor(session?.status.value?.steps ?? [])}
              sentence={words.sentence}
              retry={words.sentence ? () => view.retryNow() : null}
              cancel={() => view.cancel()}
            />
          )}
          <Announcement text={view.announced.value} dismiss={() => view.dismiss()} />
          <p class="notice" aria-live="polite">
            {view.notice.value}
          </p>
        </section>
        {view.unloaded.value && <NotLoaded />}
        {session && <TerminalOutcome view={view} session={session} words={words} />}
      </main>
      {view.question.value && <TerminalQuestion question={view.question.value} device={device} />}
    </div>
  );
}

/** Nothing was seen of the shell yet. */
function isOpening(session: Session | null, words: Words): boolean {
  if (words.state === "connecting") return true;
  return words.state === "waiting" && session?.status.value?.phase === "connecting";
}

function bannerOf(view: TerminalView, session: Session | null, words: Words) {
  const status = session?.status.value;
  const broken = status?.phase === "reconnecting";
  if (!status || !(broken || words.state === "device_lost")) return null;
  const device = session?.deviceId.value;
  const actions: BannerAction[] = [];
  if (device && mayBeOver(status, now.value)) {
    actions.push({ words: "New session", act: () => go(addressOf.open(device)) });
  }
  if (broken) actions.push({ words: "Retry now", act: () => view.retryNow() });
  return <Banner words={words} actions={actions} />;
}

function TerminalButtons({ view, session }: { view: TerminalView; session: Session | null }) {
  const device = session?.deviceId.value;
  const status = session?.status.value;
  const running = status?.phase === "live";
  return (
    <>
      {device && (
        <BarButton icon="plus" words="New session" act={() => go(addressOf.open(device))} />
      )}
      {running && status.role === "watcher" && (
        <BarButton
          icon="eye"
          words="Take control"
          act={() => {
            session?.takeControl();
            view.focus();
          }}
        />
      )}
      {running && <BarButton icon="stop" words="End session" act={() => void view.askToEnd()} />}
      <BarButton
        icon="reader"
        words="Screen reader mode"
        pressed={readerMode.value}
        act={() => {
          readerMode.value = !readerMode.value;
          view.focus();
        }}
      />
    </>
  );
}

function wordsOf(view: TerminalView): Words {
  const session = view.session.value;
  const stage = session?.stage.value;
  const own = { word: "Connecting", tone: "quiet", sentence: "", typing: "" } as const;
  if (view.unloaded.value) {
    return { ...own, state: "failed", word: "Failed", tone: "bad", sentence: NOT_LOADED };
  }
  if (stage?.is === "refused") {
    const { text: sentence } = stage.failure;
    return { ...own, state: "failed", word: "Failed", tone: "bad", sentence };
  }
  if (stage?.is === "over") {
    return { ...own, state: "ended", word: "Ended", sentence: endingWords(stage.session.ending) };
  }
  const status = session?.status.value;
  return status
    ? wordsFor(status, now.value, session.person.value)
    : { ...own, state: "connecting" };
}

/** The state as a screen reader says it, once: without what counts up or down. */
function spoken(words: Words): string {
  const word = words.word.replace(/,.*/, "");
  const steady = words.sentence.replace(/ \(try \d+\)| for (\d+:[\d:]+|\d+ h( \d+ min)?)/g, "");
  const begin = steady.startsWith(word) ? [] : [`${word}.`];
  return [...begin, steady, words.typing].filter((part) => part !== "").join(" ");
}
