// A snapshot drawn on xterm.js shows what xterm.js shows of the output itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import headless from "@xterm/headless";
import { golden } from "./testing";

type Terminal = InstanceType<typeof headless.Terminal>;

const screens = golden("screens.txt")
  .split("\n== ")
  .slice(1)
  .map((text) => {
    const [name = "", ...lines] = text.split("\n");
    const field = (wanted: string) =>
      lines.find((line) => line.startsWith(`${wanted}: `))?.slice(wanted.length + 2) ?? "";
    const [cols = 0, rows = 0] = field("size").split(" ").map(Number);
    const [output, snapshot] = [JSON.parse(field("output")), JSON.parse(field("snapshot"))];
    return { name, cols, rows, output: output as string, snapshot: snapshot as string };
  });

async function drawn(cols: number, rows: number, ...outputs: string[]): Promise<Terminal> {
  const terminal = new headless.Terminal({ cols, rows, allowProposedApi: true });
  for (const output of outputs) {
    await new Promise<void>((done) => terminal.write(output, done));
  }
  return terminal;
}

/** Everything that a person could tell apart. */
function shown(terminal: Terminal) {
  const buffer = terminal.buffer.active;
  const lines = Array.from({ length: buffer.length }, (_, row) => cellsOf(terminal, row));
  const { cursorX, cursorY, type, baseY } = buffer;
  return { lines, cursorX, cursorY, type, baseY, modes: { ...modesOf(terminal) } };
}

function modesOf({ modes }: Terminal) {
  const { applicationCursorKeysMode, applicationKeypadMode, bracketedPasteMode } = modes;
  const { insertMode, mouseTrackingMode, originMode, sendFocusMode, wraparoundMode } = modes;
  return {
    applicationCursorKeysMode,
    applicationKeypadMode,
    bracketedPasteMode,
    insertMode,
    mouseTrackingMode,
    originMode,
    sendFocusMode,
    wraparoundMode,
  };
}

function cellsOf(terminal: Terminal, row: number): string {
  const line = terminal.buffer.active.getLine(row);
  const cells: string[] = [];
  for (let col = 0; line && col < line.length; col++) {
    const cell = line.getCell(col);
    if (!cell || cell.getWidth() === 0) continue;
    const look = [
      cell.getFgColorMode(),
      cell.getFgColor(),
      cell.getBgColorMode(),
      cell.getBgColor(),
      cell.isBold(),
      cell.isInverse(),
    ];
    const plain = look.every((value) => !value || value === -1);
    cells.push((cell.getChars() || " ") + (plain ? "" : `<${look.join(",")}>`));
  }
  return cells.join("").trimEnd();
}

assert.ok(screens.length >= 10);

for (const { name, cols, rows, output, snapshot } of screens) {
  test(`xterm.js draws the snapshot as it draws the output: ${name}`, async () => {
    const [original, copy] = [await drawn(cols, rows, output), await drawn(cols, rows, snapshot)];
    assert.deepEqual(shown(copy), shown(original));
  });

  test(`and goes on as the original would: ${name}`, async () => {
    // Text, an end of line, a restored cursor, the end of the alternate screen, a tab.
    const rest = "m\u0007Z\u001b[31mred\r\nnext\tq\u001b8R\u001b[?1049lback\r\n1\r\n2\r\n3";
    const original = await drawn(cols, rows, output, rest);
    const copy = await drawn(cols, rows, snapshot, rest);
    assert.deepEqual(shown(copy), shown(original));
  });
}
