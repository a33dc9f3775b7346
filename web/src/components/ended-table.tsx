import type { SessionInfo } from "../api";
import { endingChip, lastedWords } from "../state/session-words";
import { endingWords } from "../state/words";
import { Chip } from "./chip";
import { Moment } from "./moment";
import { SessionCells } from "./session-table";

/** The sessions that are over, and why. */
export function EndedTable({ sessions, now }: { sessions: readonly SessionInfo[]; now: number }) {
  return (
    <table class="list sessions">
      <caption class="unseen">Ended sessions, the last one that ended first</caption>
      <thead>
        <tr>
          <th scope="col">Session</th>
          <th scope="col">Who</th>
          <th scope="col">Device</th>
          <th scope="col">How it ended</th>
          <th scope="col">By</th>
          <th scope="col">Ended</th>
          <th scope="col">Lasted</th>
        </tr>
      </thead>
      <tbody>
        {sessions.map((session) => (
          <tr key={session.id}>
            <SessionCells session={session} />
            <td data-label="How it ended" class="ending">
              <Chip icon={iconOf(session)} {...endingChip(session)} />
              <span class="sentence">{endingWords(session.ending)}</span>
            </td>
            <td data-label="By">{session.ending?.by ?? "–"}</td>
            <td data-label="Ended">
              {session.ended ? <Moment at={session.ended} now={now} /> : "–"}
            </td>
            <td data-label="Lasted">{lastedWords(session) || "–"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function iconOf({ ending }: SessionInfo) {
  return ending === null || ending.code === "exited" ? "stop" : "warning";
}
