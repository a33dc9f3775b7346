import { useState } from "preact/hooks";

import { api } from "../api";
import { ListPage, Rows, When } from "../components/admin";
import { useList } from "../state/list";

/** Who did what, the newest first. For administrators. */
export function AuditPage() {
  const [next, setNext] = useState<number | null>(null);
  const list = useList(() => page(null));

  async function page(before: number | null) {
    const { entries, next } = await api.audit(before);
    setNext(next);
    return entries;
  }

  const older = () => list.extend(() => page(next));

  return (
    <ListPage title="Audit" list={list}>
      <Rows label="Audit" heads={["When", "Who", "What", "On", "From", "Outcome"]}>
        {list.items.value?.map((entry) => (
          <tr key={entry.seq} title={`Request ${entry.request_id}`}>
            <td>
              <When at={entry.at} />
            </td>
            <th scope="row">{entry.who}</th>
            <td>{entry.what.replaceAll("_", " ")}</td>
            <td>
              <code>{entry.on}</code>
            </td>
            <td>{entry.from}</td>
            <td>{entry.outcome.replaceAll("_", " ")}</td>
          </tr>
        ))}
      </Rows>
      {next !== null && (
        <button type="button" onClick={older}>
          Older
        </button>
      )}
    </ListPage>
  );
}
