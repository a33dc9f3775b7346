import assert from "node:assert/strict";
import { test } from "node:test";

import type { SessionInfo } from "../api";
import { continued, refreshed } from "./ended-list";

const page = (ids: string, next: string | null) => ({
  sessions: [...ids].map((id) => ({ id }) as SessionInfo),
  next,
});
const told = ({ sessions, next }: { sessions: readonly SessionInfo[]; next: string | null }) =>
  `${sessions.map(({ id }) => id).join("")} ${next}`;

test("what ends meanwhile comes on top, and what was read before stays below", () => {
  const two = continued(refreshed(null, page("fe", "e")), page("dc", "c"));
  assert.equal(told(two), "fedc c");
  assert.equal(told(refreshed(two, page("gf", "f"))), "gfedc c");
  assert.equal(told(refreshed(two, page("fe", "e"))), "fedc c");
});

test("when more ended than a page holds, the list begins anew and has no hole", () => {
  const two = continued(refreshed(null, page("fe", "e")), page("dc", null));
  assert.equal(told(refreshed(two, page("kj", "j"))), "kj j");
});

test("a single page says by itself how it goes on", () => {
  const one = refreshed(null, page("ba", null));
  assert.equal(told(refreshed(one, page("cb", "b"))), "cba null", "the oldest was read before");
  assert.equal(told(refreshed(one, page("ba", null))), "ba null");
});

test("a session that two pages tell of is listed once", () => {
  assert.equal(told(continued(page("fed", "d"), page("dcb", null))), "fedcb null");
});
