import { type Actor, type ActorRow, kindWords, stateWords } from "../state/actors";
import { addressOf } from "../state/router";
import { span } from "../state/time";
import type { Tone } from "../state/words";
import { Chip } from "./chip";
import { Icon, type IconName } from "./icon";
import { Link } from "./link";
import { exact, Moment } from "./moment";

const ICONS: Record<Tone, IconName> = {
  good: "check",
  warn: "warning",
  bad: "cross",
  quiet: "circle",
};

/** One line of the tree. Nothing in it takes the focus: the tree has it and moves between its lines. */
export function ActorLine(props: {
  row: ActorRow;
  /** Its place in the whole tree, from 0. */
  index: number;
  top: number;
  now: number;
  active: boolean;
  choose: () => void;
}) {
  const { row, index, active } = props;
  const { actor } = row;
  return (
    <tr
      id={lineId(index)}
      aria-rowindex={index + 2}
      aria-level={row.level}
      aria-posinset={row.position}
      aria-setsize={row.siblings}
      aria-expanded={row.children > 0 ? row.open : undefined}
      aria-selected={active}
      class={row.onlyForOthers ? "line for-others" : "line"}
      style={{ transform: `translateY(${props.top}px)` }}
      onClick={props.choose}
    >
      <Name row={row} />
      {actor ? <State actor={actor} now={props.now} /> : <td class="state" colSpan={6} />}
    </tr>
  );
}

export const lineId = (index: number) => `actor-${index}`;

function Name({ row }: { row: ActorRow }) {
  const { actor, children, unhealthyBelow } = row;
  return (
    <th scope="row" class="name" style={{ paddingInlineStart: `${(row.level - 1) * 18}px` }}>
      <span class={children > 0 ? (row.open ? "twist open" : "twist") : "twist none"}>
        <Icon name="next" />
      </span>
      <span class="name-words">
        {kindWords(row.kind, actor === null)} {actor && actor.id !== "all" && <Id actor={actor} />}
      </span>
      {children > 0 && <span class="quiet count">{children.toLocaleString()}</span>}
      {children > 0 && unhealthyBelow > 0 && (
        <span class="chip bad count">{unhealthyBelow.toLocaleString()} unhealthy</span>
      )}
    </th>
  );
}

/** A session's id leads to the session. */
function Id({ actor }: { actor: Actor }) {
  if (actor.kind !== "ssh_session") return <code class="quiet">{actor.id}</code>;
  return (
    <Link to={addressOf.sessions(actor.id)} inert>
      <code>{actor.id}</code>
    </Link>
  );
}

function State({ actor, now }: { actor: Actor; now: number }) {
  const words = stateWords(actor);
  const { depth, high, capacity } = actor.mailbox;
  const lives = actor.state === "live";
  return (
    <>
      <td class="state">
        <Chip icon={ICONS[words.tone]} {...words} />
      </td>
      <td class="number" data-label="mailbox">
        {depth} of {capacity}
      </td>
      <td class="number" data-label="highest">
        {high}
      </td>
      <td class={actor.restarts > 0 ? "number warn-words" : "number"} data-label="restarts">
        {actor.restarts}
      </td>
      <td class="failure">
        {actor.last_failure && actor.failedAt !== null ? (
          <>
            {actor.last_failure.cause.replaceAll("_", " ")}{" "}
            <span class="quiet">
              <Moment at={actor.failedAt} now={now} />
            </span>
          </>
        ) : (
          <span class="quiet none">–</span>
        )}
      </td>
      <td class="number" data-label="up">
        {lives ? (
          <span title={`Since ${exact(actor.beganAt)}`}>{span(now - actor.beganAt)}</span>
        ) : (
          "–"
        )}
      </td>
    </>
  );
}
