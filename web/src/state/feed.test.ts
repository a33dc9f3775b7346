import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "./feed";
import { FakePage, FakeSource } from "./testing";

function stage() {
  const page = new FakePage();
  const sources: FakeSource[] = [];
  const heard: unknown[] = [];
  let opened = 0;
  const feed = new Feed(
    { actor: (data) => heard.push(data) },
    () => {
      opened += 1;
    },
    page,
    () => {
      const source = new FakeSource();
      sources.push(source);
      return source;
    },
  );
  feed.start();
  return {
    page,
    feed,
    sources,
    heard,
    opened: () => opened,
    last: () => sources.at(-1) as FakeSource,
  };
}

test("events are heard, and one that is no JSON is heard as nothing", () => {
  const { last, heard, feed } = stage();
  last().opens();
  last().says("actor", '{"id":"s-1"}');
  last().says("actor", "{");
  assert.deepEqual(heard, [{ id: "s-1" }, null]);
  assert.equal(feed.state.value, "open");
});

test("a break is told, and so is the return, after which everything is to be asked anew", () => {
  const { last, feed, opened, sources } = stage();
  last().opens();
  last().fails(0);
  assert.equal(feed.state.value, "lost");
  last().opens();
  assert.equal(feed.state.value, "open");
  assert.deepEqual([opened(), sources.length], [2, 1], "the browser's own retry");
});

test("an answer that says no is asked again, more and more rarely", () => {
  const { page, last, sources, feed } = stage();
  const pauses = [1000, 2000, 4000, 8000, 15_000, 15_000];
  for (const [number, pause] of pauses.entries()) {
    last().fails(2);
    page.pass(pause - 1);
    assert.equal(sources.length, number + 1);
    page.pass(1);
    assert.equal(sources.length, number + 2);
  }
  last().opens();
  last().fails(2);
  page.pass(1000);
  assert.equal(sources.length, pauses.length + 2, "a success makes it patient no more");
  assert.equal(feed.state.value, "lost");
});

test("a hidden page holds no stream, and one that is shown again has it back", () => {
  const { page, last, sources, opened } = stage();
  last().opens();
  page.show(false);
  assert.equal(last().readyState, 2);
  page.pass(60_000);
  assert.equal(sources.length, 1);
  page.show(true);
  last().opens();
  assert.deepEqual([sources.length, opened()], [2, 2]);
});

test("after its stop it neither retries nor comes back", () => {
  const { page, last, sources, feed } = stage();
  last().fails(2);
  feed.stop();
  page.show(true);
  page.pass(60_000);
  assert.equal(sources.length, 1);
});
