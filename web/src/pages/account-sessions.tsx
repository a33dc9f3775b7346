import { api, type SessionInfo } from "../api";
import { Rows, When } from "../components/admin";
import { Link } from "../components/link";
import { me } from "../state/account";
import { useList } from "../state/list";
import { addressOf } from "../state/router";
import { STATE_WORDS } from "../state/session-words";

/** The sessions that are one's own and not over. */
export function OwnSessions() {
  const list = useList(api.liveSessions);
  const own = list.items.value?.filter(({ person }) => person === me.value?.person);
  return (
    <>
      <h2>Your sessions</h2>
      <p class="said" role="status">
        {list.refused.value}
      </p>
      {own?.length === 0 && <p class="quiet">None is open.</p>}
      {own !== undefined && own.length > 0 && (
        <Rows label="Your sessions" heads={["Device", "As", "State", "Since", ""]}>
          {own.map((session: SessionInfo) => (
            <tr key={session.id}>
              <th scope="row">
                <Link to={addressOf.session(session.id)}>{session.device_name}</Link>
              </th>
              <td>{session.login}</td>
              <td>{STATE_WORDS[session.state]}</td>
              <td>
                <When at={session.started} />
              </td>
              <td class="acts">
                <button
                  type="button"
                  class="warn"
                  aria-label={`End the session on ${session.device_name}`}
                  onClick={() => list.change(() => api.endSession(session.id))}
                >
                  End
                </button>
              </td>
            </tr>
          ))}
        </Rows>
      )}
    </>
  );
}
