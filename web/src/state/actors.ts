// The actors as a tree: what is known of each, which are wanted, and the rows that show them.

import type { ActorInfo } from "../api";
import type { Tone } from "./words";

/** An actor, and when it began and failed by the clock of this page. */
export interface Actor extends ActorInfo {
  beganAt: number;
  failedAt: number | null;
}

export interface ActorFilter {
  /** Of this kind only; null: of every kind. */
  kind: string | null;
  unhealthy: boolean;
  /** Each stands somewhere in what is shown of the actor. */
  words: string[];
}

/** One line of the tree. */
export interface ActorRow {
  key: string;
  kind: string;
  /** Null: the line stands for all of its kind, which have no parent. */
  actor: Actor | null;
  /** From 1, as `aria-level` counts. */
  level: number;
  /** How many children are shown below it when it is open. */
  children: number;
  open: boolean;
  /** Its place among its siblings, from 1, and how many they are. */
  position: number;
  siblings: number;
  /** How many below it are unhealthy, shown or not. */
  unhealthyBelow: number;
  /** It is only here because something below it is wanted. */
  onlyForOthers: boolean;
}

/** More children than this are folded away until somebody wants to see them. */
const FEW = 50;

export const keyOf = ({ kind, id }: Pick<ActorInfo, "kind" | "id">) => `${kind} ${id}`;

/** What a filter wants of nothing in particular. */
export function wantsAll(filter: ActorFilter): boolean {
  return filter.kind === null && !filter.unhealthy && filter.words.length === 0;
}

export function wants(filter: ActorFilter, actor: Actor): boolean {
  if (filter.kind !== null && filter.kind !== actor.kind) return false;
  if (filter.unhealthy && actor.healthy) return false;
  if (filter.words.length === 0) return true;
  const text =
    `${actor.kind} ${kindWords(actor.kind)} ${actor.id} ${stateWords(actor).word}`.toLowerCase();
  return filter.words.every((word) => text.includes(word));
}

/** A line of the tree before it has a place. */
type Node = Pick<ActorRow, "key" | "kind" | "actor">;

/** The tree's rows from top to bottom. `opened` is what the person opened or folded by hand. */
export function rowsOf(
  actors: ReadonlyMap<string, Actor>,
  filter: ActorFilter,
  opened: ReadonlyMap<string, boolean>,
): ActorRow[] {
  const shown = shownActors(actors, filter);
  const children = childrenByParent(actors, shown);
  const unhealthy = unhealthyBelow(actors);
  const filtered = !wantsAll(filter);
  const rows: ActorRow[] = [];

  function add(node: Node, level: number, position: number, siblings: number): void {
    const below = children.get(node.key) ?? [];
    const open = below.length > 0 && (opened.get(node.key) ?? (filtered || below.length <= FEW));
    rows.push({
      ...node,
      level,
      children: below.length,
      open,
      position,
      siblings,
      unhealthyBelow: unhealthy.get(node.key) ?? 0,
      onlyForOthers: filtered && shown.get(node.key) !== "wanted",
    });
    if (open) addAll(below, level + 1);
  }

  function addAll(these: readonly Node[], level: number): void {
    for (const [index, node] of these.entries()) add(node, level, index + 1, these.length);
  }

  addAll(children.get(TOP) ?? [], 1);
  return rows;
}

/** No line has this key. */
const TOP = "";

/** The key of the line above an actor. Those without a parent stand below a line for their kind,
 * but for the one of a kind that there is. */
function keyAbove(actors: ReadonlyMap<string, Actor>, actor: Actor): string {
  const parent = actor.parent && keyOf(actor.parent);
  // Whose parent is not told of counts as without one: nobody is left out.
  if (parent !== null && actors.has(parent)) return parent;
  return actor.id === "all" ? TOP : keyOf({ kind: actor.kind, id: "*" });
}

/** The actors that are wanted, and those above them. */
function shownActors(
  actors: ReadonlyMap<string, Actor>,
  filter: ActorFilter,
): Map<string, "wanted" | "for others"> {
  const shown = new Map<string, "wanted" | "for others">();
  for (const [key, actor] of actors) {
    if (!wants(filter, actor)) continue;
    shown.set(key, "wanted");
    for (const above of keysAbove(actors, actor)) {
      if (shown.has(above)) break;
      shown.set(above, "for others");
    }
  }
  return shown;
}

function childrenByParent(
  actors: ReadonlyMap<string, Actor>,
  shown: ReadonlyMap<string, unknown>,
): Map<string, Node[]> {
  const children = new Map<string, Node[]>();
  function put(node: Node, above: string): void {
    const siblings = children.get(above);
    if (siblings) siblings.push(node);
    else children.set(above, [node]);
  }
  // In the order in which they were started, so that nothing jumps.
  const inOrder = [...actors.values()].sort((a, b) => a.number - b.number);
  for (const actor of inOrder) {
    const { kind } = actor;
    if (!shown.has(keyOf(actor))) continue;
    const above = keyAbove(actors, actor);
    const first = above !== TOP && !actors.has(above) && !children.has(above);
    if (first) put({ key: above, kind, actor: null }, TOP);
    put({ key: keyOf(actor), kind, actor }, above);
  }
  return children;
}

function unhealthyBelow(actors: ReadonlyMap<string, Actor>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const actor of actors.values()) {
    if (actor.healthy) continue;
    for (const above of keysAbove(actors, actor)) counts.set(above, (counts.get(above) ?? 0) + 1);
  }
  return counts;
}

/** The keys of the lines above an actor, the nearest first. */
function* keysAbove(actors: ReadonlyMap<string, Actor>, actor: Actor): Generator<string> {
  let at: Actor | undefined = actor;
  while (at) {
    const key = keyAbove(actors, at);
    if (key === TOP) return;
    yield key;
    at = actors.get(key);
  }
}

/** Which row the keyboard goes to, or what it does with the row it is at; null: the key is not ours. */
export type TreeMove = { to: number } | { open: boolean } | null;

/** The keys of a tree as the ARIA practices have them; `page` is how many rows a screen shows. */
export function moveFor(
  key: string,
  rows: readonly ActorRow[],
  at: number,
  page: number,
): TreeMove {
  const last = rows.length - 1;
  const row = rows[at];
  if (row === undefined) return null;
  const go = (to: number) => ({ to: Math.max(0, Math.min(last, to)) });
  switch (key) {
    case "ArrowDown":
      return go(at + 1);
    case "ArrowUp":
      return go(at - 1);
    case "PageDown":
      return go(at + page);
    case "PageUp":
      return go(at - page);
    case "Home":
      return go(0);
    case "End":
      return go(last);
    case "ArrowRight":
      if (row.children === 0) return null;
      return row.open ? go(at + 1) : { open: true };
    case "ArrowLeft":
      if (row.open) return { open: false };
      return go(parentIndex(rows, at));
    default:
      return null;
  }
}

function parentIndex(rows: readonly ActorRow[], at: number): number {
  const level = rows[at]?.level ?? 1;
  for (let above = at - 1; above >= 0; above -= 1) {
    if ((rows[above]?.level ?? 0) < level) return above;
  }
  return at;
}

/** One of a kind, and many. */
const KINDS: Record<string, [string, string]> = {
  device_directory: ["Device directory", "Device directories"],
  device_connection: ["Device connection", "Device connections"],
  session_supervisor: ["Session supervisor", "Session supervisors"],
  ssh_session: ["SSH session", "SSH sessions"],
  user_connection: ["User connection", "User connections"],
};

/** What a kind is called; one that this page does not know by its own words. */
export function kindWords(kind: string, many = false): string {
  const plain = kind.replaceAll("_", " ");
  return KINDS[kind]?.[many ? 1 : 0] ?? plain.charAt(0).toUpperCase() + plain.slice(1);
}

const STATES: Record<string, { word: string; tone: Tone }> = {
  live: { word: "Live", tone: "good" },
  restarting: { word: "Restarting", tone: "warn" },
  gave_up: { word: "Given up", tone: "bad" },
  failed: { word: "Failed", tone: "bad" },
};

/** How an actor is, in a word or two: that of one that lives and needs to be looked at says so. */
export function stateWords({ state, healthy }: ActorInfo): { word: string; tone: Tone } {
  const words = STATES[state] ?? { word: state.replaceAll("_", " "), tone: "quiet" as const };
  if (state !== "live" || healthy) return words;
  return { word: "Unhealthy", tone: "warn" };
}
