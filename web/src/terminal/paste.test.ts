import assert from "node:assert/strict";
import { test } from "node:test";

import { bracket, cleanPaste, preview, runsAtOnce } from "./paste";

test("a paste cannot end its own bracket", () => {
  assert.equal(cleanPaste("a\x1b[201~rm -rf /\n"), "arm -rf /\r");
  assert.equal(cleanPaste("a\x9b201~b\x1b[200~c"), "abc");
  const nested = cleanPaste("\x1b[20\x1b[201~1~x");
  assert.ok(!nested.includes("\x1b"), nested);
  assert.ok(!bracket(nested).slice(6, -6).includes("\x1b"));
});

test("of the control characters only tab and line break are pasted", () => {
  const all = Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code)).join("");
  const kept = [...cleanPaste(all)].filter((c) => c < " " || (c >= "\x7f" && c < "\xa0"));
  assert.deepEqual(kept, ["\t", "\r", "\r"]);
});

test("every kind of line break becomes one CR", () => {
  assert.equal(cleanPaste("a\r\nb\nc\rd\n\n"), "a\rb\rc\rd\r\r");
});

test("text beyond ASCII is left as it is", () => {
  assert.equal(cleanPaste("é—漢字👩‍🚀"), "é—漢字👩‍🚀");
});

test("one line is pasted without asking, a line break is asked about", () => {
  assert.equal(runsAtOnce(cleanPaste("ls -l")), false);
  assert.equal(runsAtOnce(cleanPaste("ls -l\n")), true);
});

test("the preview shows the first lines and counts all", () => {
  const { lines, total } = preview(
    cleanPaste(Array.from({ length: 20 }, (_, i) => `${i}`).join("\n")),
  );
  assert.deepEqual([lines.length, lines[0], total], [8, "0", 20]);
  assert.equal(preview("x\r").total, 1);
});
