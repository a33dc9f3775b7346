import assert from "node:assert/strict";
import { test } from "node:test";

import type { ActorInfo } from "../api";
import { ActorList } from "./actor-list";

const NOW = Date.parse("2026-01-01T12:00:00Z");

function told(id: string, number: number, more: Partial<ActorInfo> = {}): ActorInfo {
  return {
    kind: "ssh_session",
    id,
    number,
    parent: { kind: "session_supervisor", id: "all" },
    state: "live",
    healthy: true,
    mailbox: { depth: 0, high: 0, capacity: 64 },
    restarts: 0,
    last_failure: null,
    uptime_seconds: 60,
    ...more,
  };
}

function listOf(...actors: ActorInfo[]): ActorList {
  const list = new ActorList();
  // The broker's clock is an hour behind this page's.
  list.replace({ at: "2026-01-01T11:00:00Z", actors, totals: [] }, NOW);
  return list;
}

const shown = (list: ActorList) =>
  [...list.actors.values()].map(({ id, number, state }) => `${id}/${number} ${state}`);

test("times are told by the clock of the page, whatever the broker's says", () => {
  const failure = { at: "2026-01-01T10:59:50Z", cause: "panicked" };
  const [actor] = listOf(told("s-1", 1, { last_failure: failure })).actors.values();
  assert.deepEqual([actor?.beganAt, actor?.failedAt], [NOW - 60_000, NOW - 10_000]);
});

test("actors come, change and go as the events tell", () => {
  const list = listOf(told("s-1", 1));
  assert.equal(list.change(told("s-2", 2), NOW), true);
  assert.equal(list.change(told("s-1", 1, { state: "failed" }), NOW), true);
  assert.deepEqual(shown(list), ["s-1/1 failed", "s-2/2 live"]);
  assert.equal(list.change(told("s-1", 1, { state: "ended" }), NOW), true);
  assert.deepEqual(shown(list), ["s-2/2 live"]);
});

test("the end of a predecessor does not take its successor away, in whichever order they are told", () => {
  const list = listOf(told("s-1", 5));
  assert.equal(list.change(told("s-1", 4, { state: "ended" }), NOW), false);
  assert.equal(list.change(told("s-1", 4, { state: "failed" }), NOW), false);
  assert.deepEqual(shown(list), ["s-1/5 live"]);
  list.change(told("s-1", 5, { state: "ended" }), NOW);
  list.change(told("s-1", 6), NOW);
  assert.deepEqual(shown(list), ["s-1/6 live"]);
});

test("the end of one that was never listed is no news", () => {
  assert.equal(listOf().change(told("s-1", 1, { state: "ended" }), NOW), false);
});
