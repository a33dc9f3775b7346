import assert from "node:assert/strict";
import { test } from "node:test";

import {
  type Actor,
  type ActorFilter,
  keyOf,
  kindWords,
  moveFor,
  rowsOf,
  stateWords,
} from "./actors";

const ALL: ActorFilter = { kind: null, unhealthy: false, words: [] };
const NOTHING = new Map<string, boolean>();

let started = 0;

function actor(kind: string, id: string, parent: string | null, more: Partial<Actor> = {}): Actor {
  started += 1;
  const [parentKind = "", parentId = ""] = parent?.split(" ") ?? [];
  return {
    kind,
    id,
    number: started,
    parent: parent === null ? null : { kind: parentKind, id: parentId },
    state: "running",
    healthy: true,
    mailbox: { depth: 0, high: 1, capacity: 64 },
    restarts: 0,
    last_failure: null,
    uptime_seconds: 1,
    beganAt: 0,
    failedAt: null,
    ...more,
  };
}

const mapOf = (...actors: Actor[]) => new Map(actors.map((one) => [keyOf(one), one]));

function fleet(devices: number): Map<string, Actor> {
  const connections = Array.from({ length: devices }, (_, n) =>
    actor("device_connection", `d-${n}`, "device_directory all"),
  );
  return mapOf(
    actor("device_directory", "all", null),
    actor("session_supervisor", "all", null),
    ...connections,
    actor("ssh_session", "s-1", "session_supervisor all", { state: "live" }),
    actor("ssh_session", "s-2", "session_supervisor all", { state: "live", healthy: false }),
  );
}

const idsOf = (rows: ReturnType<typeof rowsOf>) =>
  rows.map(
    ({ level, kind, actor }) => `${level} ${!actor || actor.id === "all" ? kind : actor.id}`,
  );

test("children stand below their parents, in the order in which they were started", () => {
  const rows = rowsOf(fleet(2), ALL, NOTHING);
  assert.deepEqual(idsOf(rows), [
    "1 device_directory",
    "2 d-0",
    "2 d-1",
    "1 session_supervisor",
    "2 s-1",
    "2 s-2",
  ]);
  assert.deepEqual(
    rows.map(({ position, siblings }) => [position, siblings]),
    [
      [1, 2],
      [1, 2],
      [2, 2],
      [2, 2],
      [1, 2],
      [2, 2],
    ],
  );
});

test("a large group is folded until somebody opens it, a small one open until somebody folds it", () => {
  const actors = fleet(51);
  const folded = rowsOf(actors, ALL, NOTHING);
  assert.deepEqual(idsOf(folded), ["1 device_directory", "1 session_supervisor", "2 s-1", "2 s-2"]);
  assert.deepEqual([folded[0]?.children, folded[0]?.open], [51, false]);
  const opened = new Map([
    ["device_directory all", true],
    ["session_supervisor all", false],
  ]);
  assert.equal(rowsOf(actors, ALL, opened).length, 53);
});

test("a filter shows what it wants with those above it, and opens them", () => {
  const actors = fleet(10_000);
  const unhealthy = rowsOf(actors, { ...ALL, unhealthy: true }, NOTHING);
  assert.deepEqual(idsOf(unhealthy), ["1 session_supervisor", "2 s-2"]);
  assert.deepEqual(
    unhealthy.map(({ onlyForOthers }) => onlyForOthers),
    [true, false],
  );
  assert.equal(rowsOf(actors, { ...ALL, kind: "device_connection" }, NOTHING).length, 10_001);
  assert.deepEqual(
    idsOf(rowsOf(actors, { ...ALL, words: ["d-77", "connection"] }, NOTHING)).length,
    112,
  );
  assert.deepEqual(rowsOf(actors, { ...ALL, words: ["nothing"] }, NOTHING), []);
});

test("a parent counts the unhealthy below it, folded or not", () => {
  const rows = rowsOf(fleet(51), ALL, new Map([["session_supervisor all", false]]));
  assert.deepEqual(
    rows.map(({ unhealthyBelow }) => unhealthyBelow),
    [0, 1],
  );
});

test("those without a parent stand below a line for their kind", () => {
  const actors = mapOf(
    actor("user_connection", "u-1", null),
    actor("device_directory", "all", null),
    actor("user_connection", "u-2", null, { healthy: false }),
    actor("ssh_session", "s-9", "session_supervisor all"), // which nobody told of
  );
  const rows = rowsOf(actors, ALL, NOTHING);
  assert.deepEqual(idsOf(rows), [
    "1 user_connection",
    "2 u-1",
    "2 u-2",
    "1 device_directory",
    "1 ssh_session",
    "2 s-9",
  ]);
  assert.deepEqual([rows[0]?.actor, rows[0]?.children, rows[0]?.unhealthyBelow], [null, 2, 1]);
  assert.deepEqual(idsOf(rowsOf(actors, { ...ALL, unhealthy: true }, NOTHING)), [
    "1 user_connection",
    "2 u-2",
  ]);
});

test("the keys of a tree move, open and fold", () => {
  const rows = rowsOf(fleet(2), ALL, NOTHING);
  const folded = rowsOf(fleet(51), ALL, NOTHING);
  const move = (key: string, at: number) => moveFor(key, rows, at, 3);
  assert.deepEqual(move("ArrowDown", 0), { to: 1 });
  assert.deepEqual(move("ArrowDown", 5), { to: 5 });
  assert.deepEqual(move("ArrowUp", 0), { to: 0 });
  assert.deepEqual(move("PageDown", 1), { to: 4 });
  assert.deepEqual(move("PageUp", 1), { to: 0 });
  assert.deepEqual(move("End", 1), { to: 5 });
  assert.deepEqual(move("Home", 4), { to: 0 });
  assert.deepEqual(move("ArrowRight", 0), { to: 1 });
  assert.deepEqual(move("ArrowRight", 1), null);
  assert.deepEqual(moveFor("ArrowRight", folded, 0, 3), { open: true });
  assert.deepEqual(move("ArrowLeft", 0), { open: false });
  assert.deepEqual(move("ArrowLeft", 2), { to: 0 });
  assert.deepEqual(move("x", 2), null);
  assert.deepEqual(moveFor("ArrowDown", [], 0, 3), null);
});

test("one that lives and needs to be looked at says so", () => {
  assert.equal(stateWords(actor("a", "1", null, { state: "live" })).word, "Live");
  assert.equal(stateWords(actor("a", "1", null, { state: "live", healthy: false })).tone, "warn");
  assert.equal(stateWords(actor("a", "1", null, { state: "gave_up", healthy: false })).tone, "bad");
  assert.equal(stateWords(actor("a", "1", null, { state: "being_born" })).word, "being born");
});

test("a kind that this page does not know is called by its own words", () => {
  assert.equal(kindWords("ssh_session"), "SSH session");
  assert.equal(kindWords("ssh_session", true), "SSH sessions");
  assert.equal(kindWords("port_forward"), "Port forward");
});
