import assert from "node:assert/strict";
import { test } from "node:test";

import { amount, countdown, span } from "./time";

test("a countdown counts whole seconds and stops at nought", () => {
  assert.equal(countdown(581_000), "9:41");
  assert.equal(countdown(580_001), "9:41");
  assert.equal(countdown(3_723_000), "1:02:03");
  assert.equal(countdown(-5), "0:00");
});

test("a span is said as one would say it", () => {
  assert.equal(span(4_200), "4 s");
  assert.equal(span(12 * 60_000 + 59_000), "12 min");
  assert.equal(span(47 * 3_600_000), "47 h");
  assert.equal(span(49 * 3_600_000), "2 days");
});

test("an amount has at most one decimal", () => {
  assert.equal(amount(1), "1 byte");
  assert.equal(amount(312_400), "312 KB");
  assert.equal(amount(1_300_000), "1.3 MB");
});
