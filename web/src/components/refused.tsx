import type { Trouble } from "../state/trouble";
import { Nothing } from "./nothing";

/** The first question of a page was not answered as hoped: nothing can be shown. */
export function Refused({ trouble, retry }: { trouble: Trouble; retry: () => void }) {
  const title = trouble.is === "refused" ? "This cannot be shown" : "No answer from the broker";
  return (
    <Nothing
      title={title}
      action={
        <button type="button" class="primary" onClick={retry}>
          Try again now
        </button>
      }
    >
      {trouble.text}
      {trouble.is === "unreachable" && " Check the network, and that the broker runs."}
      {trouble.requestId && (
        <span class="quiet">
          {" "}
          Request id <code>{trouble.requestId}</code>
        </span>
      )}
    </Nothing>
  );
}
