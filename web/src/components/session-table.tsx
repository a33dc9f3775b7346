import type { SessionInfo } from "../api";
import { addressOf } from "../state/router";
import { keptWords, type SessionState, STATE_CHIPS } from "../state/session-words";
import { Chip } from "./chip";
import type { IconName } from "./icon";
import { Link } from "./link";
import { Moment } from "./moment";

const ICONS: Record<SessionState, IconName> = {
  connecting: "clock",
  live: "check",
  detached: "clock",
  device_away: "unlinked",
  adrift: "unlinked",
  ended: "stop",
};

/** The sessions that go on: look on, take up, end. */
export function SessionTable(props: {
  sessions: readonly SessionInfo[];
  now: number;
  end: (session: SessionInfo) => void;
}) {
  return (
    <table class="list sessions">
      <caption class="unseen">Running sessions</caption>
      <thead>
        <tr>
          <th scope="col">Session</th>
          <th scope="col">Who</th>
          <th scope="col">Device</th>
          <th scope="col">State</th>
          <th scope="col">Began</th>
          <th scope="col">Attached</th>
          <th scope="col">
            <span class="unseen">What to do</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {props.sessions.map((session) => (
          <tr key={session.id}>
            <SessionCells session={session} />
            <td data-label="State">
              <Chip icon={ICONS[session.state]} {...STATE_CHIPS[session.state]} />
              <span class="quiet second">{keptWords(session)}</span>
            </td>
            <td data-label="Began">
              <Moment at={session.started} now={props.now} />
            </td>
            <td data-label="Attached">{session.viewers === 0 ? "Nobody" : session.viewers}</td>
            <td class="row-actions">
              <SessionActions session={session} end={props.end} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Which session, whose, and where: the same for those that are over. */
export function SessionCells({ session }: { session: SessionInfo }) {
  return (
    <>
      <th scope="row">
        <span class="what" title={session.command ?? undefined}>
          {session.command ?? "Shell"}
        </span>
        <span class="quiet id">{session.id}</span>
      </th>
      <td data-label="Who">
        {session.person} <span class="quiet second">as {session.login}</span>
      </td>
      <td data-label="Device">{session.device_name}</td>
    </>
  );
}

function SessionActions(props: { session: SessionInfo; end: (session: SessionInfo) => void }) {
  const { session } = props;
  const what = `${session.command ?? "shell"} of ${session.person} on ${session.device_name}`;
  return (
    <>
      {session.state === "live" && (
        <Link to={addressOf.watch(session.id)} class="button" label={`Look on: ${what}`}>
          Look on
        </Link>
      )}
      <Link to={addressOf.session(session.id)} class="button" label={`Take up: ${what}`}>
        Take up
      </Link>
      <button type="button" aria-label={`End: ${what}`} onClick={() => props.end(session)}>
        End…
      </button>
    </>
  );
}
