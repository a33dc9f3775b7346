import assert from "node:assert/strict";
import { test } from "node:test";

import { repeat } from "./repeat";
import { FakePage, settled } from "./testing";

/** A question whose answers the test gives. */
function questions(page: FakePage, pace = { everyMs: 1000, newsMs: 200 }) {
  const open: (() => void)[] = [];
  let asked = 0;
  const repeated = repeat(
    () => {
      asked += 1;
      return new Promise<void>((answer) => open.push(answer));
    },
    () => pace,
    page,
  );
  return {
    repeated,
    asked: () => asked,
    async answer(afterMs = 0) {
      page.pass(afterMs);
      open.shift()?.();
      await settled();
    },
  };
}

test("a question is asked at once, and again some time after its answer", async () => {
  const page = new FakePage();
  const { asked, answer } = questions(page);
  assert.equal(asked(), 1);
  page.pass(60_000);
  assert.equal(asked(), 1, "one at a time");
  await answer();
  page.pass(30_000);
  assert.equal(asked(), 2, "however long it took");
});

test("what takes long is asked more rarely", async () => {
  const page = new FakePage();
  const { asked, answer } = questions(page);
  await answer(400);
  page.pass(3599);
  assert.equal(asked(), 1);
  page.pass(1);
  assert.equal(asked(), 2);
});

test("news is asked for soon, but a flood of it is not a flood of questions", async () => {
  const page = new FakePage();
  const { asked, answer, repeated } = questions(page);
  await answer();
  for (let n = 0; n < 100; n += 1) repeated.soon();
  page.pass(199);
  assert.equal(asked(), 1);
  page.pass(1);
  assert.equal(asked(), 2);
  repeated.soon(); // while the answer is under way: it may not have the news
  await answer();
  page.pass(200);
  assert.equal(asked(), 3);
});

test("nothing is asked while the page is hidden, and at once when it is shown", async () => {
  const page = new FakePage();
  const { asked, answer, repeated } = questions(page);
  page.show(false);
  await answer();
  repeated.soon();
  page.pass(60_000);
  assert.equal(asked(), 1);
  page.show(true);
  assert.equal(asked(), 2);
});

test("after its stop nothing is asked", async () => {
  const page = new FakePage();
  const { asked, answer, repeated } = questions(page);
  await answer();
  repeated.stop();
  repeated.now();
  page.show(false);
  page.show(true);
  page.pass(60_000);
  assert.equal(asked(), 1);
});
