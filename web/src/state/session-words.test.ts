import assert from "node:assert/strict";
import { test } from "node:test";

import type { SessionInfo } from "../api";
import { endingChip, killedWords, killWords, lastedWords, matching } from "./session-words";

function session(more: Partial<SessionInfo> = {}): SessionInfo {
  return {
    id: "s-1",
    device: "d-1",
    device_name: "Router",
    login: "root",
    person: "anna",
    state: "live",
    started: "2026-01-01T10:00:00Z",
    ended: null,
    ending: null,
    viewers: 1,
    kept: true,
    command: null,
    ...more,
  };
}

test("what a kill will do is said before it is done", () => {
  assert.deepEqual(killWords(session()), [
    "What runs in it on Router is ended at once, and cannot be taken up again.",
    "Whoever is attached is told that you ended it, and the reason.",
  ]);
  assert.match(killWords(session({ viewers: 3 }))[1] ?? "", /^The 3 who are attached are told/);
  for (const state of ["device_away", "adrift"] as const) {
    const [first, second] = killWords(session({ state, viewers: 0 }));
    assert.match(first ?? "", /^Router is away\..*over at once.*as soon as Router is back/);
    assert.match(second ?? "", /^Nobody is attached/);
  }
});

test("what came of a kill is said as it was", () => {
  assert.equal(killedWords(session(), true), "The shell of anna on Router is ended.");
  assert.equal(
    killedWords(session({ command: "make" }), false),
    "“make” of anna on Router was over already.",
  );
  assert.match(killedWords(session({ state: "adrift" }), true), /ends when Router is back/);
});

test("every word of a search stands somewhere in what is found", () => {
  const all = [session(), session({ id: "s-2", person: "Bert", state: "detached" })];
  const found = (search: string) => matching(all, search).map(({ id }) => id);
  assert.deepEqual(found("  "), ["s-1", "s-2"]);
  assert.deepEqual(found("bert ROUTER"), ["s-2"]);
  assert.deepEqual(found("in use"), ["s-1"]);
  assert.deepEqual(found("anna bert"), []);
});

test("an ended session says how, and how long it lasted", () => {
  const ended = session({
    state: "ended",
    ended: "2026-01-01T10:12:00Z",
    ending: { code: "gave_up", text: "" },
  });
  assert.deepEqual(endingChip(ended), { word: "Gave up", tone: "warn" });
  assert.equal(lastedWords(ended), "12 min");
  assert.equal(endingChip(session({ ending: null })).word, "Ended");
});
