import assert from "node:assert/strict";
import { test } from "node:test";

import { refusalOf } from "./refusal";

test("a refusal in the address is said in the words of its code, and nothing else is", () => {
  let taken = 0;
  const said = (fragment: string) =>
    refusalOf(fragment, () => {
      taken += 1;
    });
  assert.match(
    said("#refused=not_linked"),
    /^Nobody here belongs to that account.*administrator\.$/,
  );
  assert.equal(said("#refused=constructor"), "");
  assert.equal(taken, 2);
  for (const other of [
    "",
    "#",
    "#top",
    "#refused=<b>",
    "#refused=policy&x=1",
    "#xrefused=policy",
  ]) {
    assert.equal(said(other), "", other);
  }
  assert.equal(taken, 2);
});
