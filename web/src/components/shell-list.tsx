import type { SessionInfo } from "../api";
import { addressOf } from "../state/router";
import { isAlone, STATE_WORDS } from "../state/session-words";
import { span } from "../state/time";
import { Link } from "./link";

/** The shells that run on one device: take one up again, or end it. */
export function ShellList(props: {
  sessions: SessionInfo[];
  now: number;
  end: (session: SessionInfo) => void;
}) {
  if (props.sessions.length === 0) return null;
  return (
    <tr class="shells">
      <td colSpan={8}>
        <ul aria-label="Running shells">
          {props.sessions.map((session) => (
            <li key={session.id}>
              <span>
                {session.command ?? "Shell"} of {session.person}, as {session.login}
              </span>
              <span class="quiet">
                {STATE_WORDS[session.state]}; began {span(props.now - Date.parse(session.started))}{" "}
                ago
                {session.kept === false && "; ends with the broker"}
              </span>
              <span class="shell-actions">
                <Link to={addressOf.session(session.id)} class="button">
                  {isAlone(session) ? "Take up again" : "Take up"}
                </Link>
                <button type="button" onClick={() => props.end(session)}>
                  End
                </button>
              </span>
            </li>
          ))}
        </ul>
      </td>
    </tr>
  );
}
