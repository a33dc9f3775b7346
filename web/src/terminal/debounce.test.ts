import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Debounce } from "./debounce";

test("the last of many changes always runs, once", () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  let size = 0;
  const ran: number[] = [];
  const debounce = new Debounce(() => ran.push(size), 100, 300);
  for (size = 1; size <= 3; size += 1) {
    debounce.call();
    mock.timers.tick(50);
  }
  size = 3;
  mock.timers.tick(1000);
  assert.deepEqual(ran, [3]);
  mock.timers.reset();
});

test("changes without a pause run at the latest after the limit", () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  let runs = 0;
  const debounce = new Debounce(() => (runs += 1), 100, 300);
  for (let ms = 0; ms < 350; ms += 50) {
    debounce.call();
    mock.timers.tick(50);
  }
  assert.equal(runs, 1);
  debounce.cancel();
  mock.timers.tick(1000);
  assert.equal(runs, 1);
  mock.timers.reset();
});
