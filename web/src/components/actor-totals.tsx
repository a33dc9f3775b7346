import type { ActorTotals } from "../api";
import { kindWords } from "../state/actors";
import { Icon } from "./icon";

/** How many there are of each kind and how they are; a press shows only that kind. */
export function ActorTotalsList(props: {
  totals: readonly ActorTotals[];
  chosen: string | null;
  choose: (kind: string | null) => void;
}) {
  return (
    <ul class="totals" aria-label="Totals of each kind">
      {props.totals.map((total) => (
        <li key={total.kind}>
          <button
            type="button"
            aria-pressed={total.kind === props.chosen}
            onClick={() => props.choose(total.kind === props.chosen ? null : total.kind)}
          >
            <span class="total-kind">{kindWords(total.kind, true)}</span>
            <span class="total-alive">{total.alive.toLocaleString()}</span>
            <span class={total.unhealthy > 0 ? "chip bad" : "quiet"}>
              {total.unhealthy > 0 && <Icon name="warning" />}
              {total.unhealthy.toLocaleString()} unhealthy
            </span>
            <span class="quiet total-more">{moreOf(total)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

function moreOf({ restarts, mailbox_depth, mailbox_high }: ActorTotals): string {
  const often = `${restarts.toLocaleString()} ${restarts === 1 ? "restart" : "restarts"}`;
  return `${often}, mailbox ${mailbox_depth.toLocaleString()}, highest ${mailbox_high.toLocaleString()}`;
}
