import assert from "node:assert/strict";
import { test } from "node:test";

import { signal } from "@preact/signals";

import { Refusal } from "../api";
import { FakePage, FakeSource, settled } from "./testing";
import { Watching } from "./watching";

function stage(ask: () => Promise<void>) {
  const page = new FakePage();
  const source = new FakeSource();
  const watching = new Watching(
    ask,
    {},
    { everyMs: 1000, newsMs: 100 },
    signal(true),
    page,
    () => source,
  );
  return { page, source, watching, stop: watching.start() };
}

test("a list that is not told says why, until it is told again", async () => {
  let answer = () => Promise.reject(new TypeError("fetch failed")) as Promise<void>;
  const { page, watching } = stage(() => answer());
  await settled();
  assert.deepEqual([watching.trouble.value?.is, watching.heardAt.value], ["unreachable", null]);
  answer = () => Promise.resolve();
  page.pass(1000);
  await settled();
  assert.equal(watching.trouble.value, null);
  assert.ok(watching.heardAt.value !== null);
});

test("who was refused is told the broker's own words, and does not ask each second", async () => {
  let asked = 0;
  const { page, watching } = stage(() => {
    asked += 1;
    return Promise.reject(new Refusal("policy", "You may not see this.", "01A"));
  });
  await settled();
  assert.deepEqual(watching.trouble.value, {
    is: "refused",
    text: "You may not see this.",
    requestId: "01A",
  });
  page.pass(14_999);
  assert.equal(asked, 1);
  page.pass(1);
  assert.equal(asked, 2);
});

test("a stream that opens, and one that has left something out, is reason to ask", async () => {
  let asked = 0;
  const { page, source, stop } = stage(async () => {
    asked += 1;
  });
  await settled();
  source.opens();
  page.pass(100);
  await settled();
  assert.equal(asked, 2);
  source.says("overflow", "{}");
  page.pass(100);
  await settled();
  assert.equal(asked, 3);
  stop();
  assert.equal(source.readyState, 2);
});
