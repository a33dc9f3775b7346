import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { type ActorRow, moveFor } from "../state/actors";
import { ActorLine, lineId } from "./actor-line";

/** Every line is as high as the style sheet says. */
const LINE_PX = 34;
const NARROW_LINE_PX = 82;
/** Lines that are drawn above and below what is seen, so that scrolling shows no empty ones. */
const SPARE = 8;

/** The tree of the actors. Only the lines that are seen are drawn, so it may have any number of them. */
export function ActorTree(props: {
  rows: readonly ActorRow[];
  now: number;
  fold: (key: string, open: boolean) => void;
  /** The person wants to go where the line leads to. */
  follow: (row: ActorRow) => void;
}) {
  const { rows } = props;
  const box = useRef<HTMLDivElement>(null);
  const seen = useSeen(box);
  const [chosen, choose] = useState({ key: "", at: 0 });
  const at = placeOf(rows, chosen);
  const first = Math.max(0, Math.floor(seen.top / seen.line) - SPARE);
  const end = Math.min(rows.length, Math.ceil((seen.top + seen.height) / seen.line) + SPARE);
  const isDrawn = at >= first && at < end;

  function goTo(index: number): void {
    choose({ key: rows[index]?.key ?? "", at: index });
    if (box.current) reveal(box.current, index, seen.line);
  }
  function press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const row = rows[at];
    if (row && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      if (row.children > 0) props.fold(row.key, !row.open);
      else props.follow(row);
      return;
    }
    const move = moveFor(event.key, rows, at, Math.floor(seen.height / seen.line) - 2);
    if (move === null) return;
    event.preventDefault();
    if ("to" in move) goTo(move.to);
    else if (row) props.fold(row.key, move.open);
  }
  function click(row: ActorRow, index: number): void {
    choose({ key: row.key, at: index });
    if (row.children > 0) props.fold(row.key, !row.open);
  }

  return (
    <div ref={box} class="tree">
      {/* A table whose parts are laid out as boxes: only so can lines be left out. */}
      <table
        // biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: its keys are those of a tree
        role="treegrid"
        aria-label="Actors"
        aria-rowcount={rows.length + 1}
        aria-activedescendant={isDrawn ? lineId(at) : undefined}
        tabIndex={0}
        onKeyDown={press}
      >
        <Head />
        <tbody style={{ height: `${rows.length * seen.line}px` }}>
          {rows.slice(first, end).map((row, offset) => (
            <ActorLine
              key={row.key}
              row={row}
              index={first + offset}
              top={(first + offset) * seen.line}
              now={props.now}
              active={first + offset === at}
              choose={() => click(row, first + offset)}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Head() {
  return (
    <thead>
      <tr aria-rowindex={1} class="line">
        <th scope="col">Actor</th>
        <th scope="col">State</th>
        <th scope="col" class="number">
          Mailbox
        </th>
        <th scope="col" class="number">
          Highest
        </th>
        <th scope="col" class="number">
          Restarts
        </th>
        <th scope="col">Last failure</th>
        <th scope="col" class="number">
          Up for
        </th>
      </tr>
    </thead>
  );
}

/** Where the chosen line is now; when it has gone, the one at its place. */
function placeOf(rows: readonly ActorRow[], { key, at }: { key: string; at: number }): number {
  if (rows[at]?.key === key) return at;
  const found = rows.findIndex((row) => row.key === key);
  return found >= 0 ? found : Math.max(0, Math.min(at, rows.length - 1));
}

/** Which part of the box is seen, and how high a line is there. */
function useSeen(box: { current: HTMLDivElement | null }) {
  const [seen, see] = useState({ top: 0, height: 800, line: LINE_PX });
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const narrow = matchMedia("(width <= 860px)");
    const look = () =>
      see({
        top: element.scrollTop,
        height: element.clientHeight,
        line: narrow.matches ? NARROW_LINE_PX : LINE_PX,
      });
    const sizes = new ResizeObserver(look);
    sizes.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    narrow.addEventListener("change", look);
    look();
    return () => {
      sizes.disconnect();
      element.removeEventListener("scroll", look);
      narrow.removeEventListener("change", look);
    };
  }, []);
  return seen;
}

/** Scrolls no further than needed, and never below the head, which stays. */
function reveal(box: HTMLDivElement, index: number, line: number): void {
  const head = box.querySelector("thead")?.clientHeight ?? 0;
  const top = index * line;
  const bottom = top + line + head - box.clientHeight;
  if (box.scrollTop > top) box.scrollTop = top;
  else if (box.scrollTop < bottom) box.scrollTop = bottom;
}
