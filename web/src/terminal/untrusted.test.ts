import assert from "node:assert/strict";
import { test } from "node:test";

import { cleanTitle, clipboardWrite, safeLink } from "./untrusted";

test("a title keeps its text and loses its tricks", () => {
  assert.equal(cleanTitle("vim \x1b]0;x\x07 \u202egpj.exe"), "vim ]0;x gpj.exe");
  assert.equal(Array.from(cleanTitle("👩".repeat(1000))).length, 256);
});

test("only web and mail addresses are links", () => {
  assert.equal(safeLink("https://example.org/a?b"), "https://example.org/a?b");
  assert.equal(safeLink("mailto:a@example.org"), "mailto:a@example.org");
  for (const bad of [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "data:text/html,x",
    "ssh://x",
    "x",
    "",
  ]) {
    assert.equal(safeLink(bad), null, bad);
  }
});

test("the clipboard can be written and not read", () => {
  assert.equal(clipboardWrite(`c;${btoa("hello")}`), "hello");
  assert.equal(clipboardWrite("c;4oCU"), "—");
  for (const bad of ["c;?", ";?", "c", "c;***", "c;/w==", `c;${"A".repeat(2_000_000)}`]) {
    assert.equal(clipboardWrite(bad), null, bad.slice(0, 10));
  }
});
