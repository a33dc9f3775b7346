import assert from "node:assert/strict";
import { test } from "node:test";

import { Terminal } from "@xterm/headless";

import { gapSequence, ruler } from "./gap";

function write(terminal: Terminal, text: string): Promise<void> {
  return new Promise((done) => terminal.write(text, done));
}

function lines(terminal: Terminal): string[] {
  const buffer = terminal.buffer.active;
  return Array.from(
    { length: buffer.length },
    (_, y) => buffer.getLine(y)?.translateToString(true) ?? "",
  );
}

test("the ruler says how much is gone and fills the line", () => {
  assert.match(ruler(1_300_000, 60), /^─+ 1\.3 MB skipped while you were away ─+$/);
  assert.equal(ruler(1_300_000, 60).length, 60);
});

test("the gap stands in the scrollback between the old screen and the new one", async () => {
  const terminal = new Terminal({ cols: 60, rows: 5, allowProposedApi: true });
  await write(terminal, "before 1\r\nbefore 2\x1b[?1049h\x1b[?2004h in vim");
  await write(terminal, gapSequence(5_000, 60, 5));
  await write(terminal, "after");
  const all = lines(terminal);
  const at = (part: string) => all.findIndex((line) => line.includes(part));
  assert.ok(at("before 2") >= 0 && at("before 2") < at("5 KB skipped"), all.join("|"));
  assert.ok(at("5 KB skipped") < terminal.buffer.active.baseY, "the screen itself is clear");
  assert.equal(at("after"), terminal.buffer.active.baseY);
  assert.equal(terminal.buffer.active.type, "normal");
  assert.equal(terminal.modes.bracketedPasteMode, false);
});
