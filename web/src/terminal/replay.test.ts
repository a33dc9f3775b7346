import assert from "node:assert/strict";
import { test } from "node:test";
import headless from "@xterm/headless";
import { Replay } from "./replay";

/** What programs ask of a terminal, each with an answer of xterm.js. */
const QUERIES: Record<string, string> = {
  "primary device attributes": "\x1b[c",
  "secondary device attributes": "\x1b[>c",
  "status report": "\x1b[5n",
  "cursor report": "\x1b[6n",
  "private cursor report": "\x1b[?6n",
  "private mode": "\x1b[?2004$p",
  "ansi mode": "\x1b[4$p",
  "status string": "\x1bP$qm\x1b\\",
};

class Page {
  readonly term = new headless.Terminal({ cols: 80, rows: 24, allowProposedApi: true });
  readonly replay = new Replay(this.term);
  readonly sent: string[] = [];
  readonly dropped: string[] = [];

  constructor() {
    this.term.onData((data) => (this.replay.answers(data) ? this.dropped : this.sent).push(data));
  }

  replayed(data: string): Promise<void> {
    return new Promise((done) => this.replay.write(data, done));
  }

  live(data: string): Promise<void> {
    return new Promise((done) => this.term.write(data, done));
  }
}

for (const [name, query] of Object.entries(QUERIES)) {
  test(`a question in a replay is not answered, the same one live is: ${name}`, async () => {
    const page = new Page();
    await page.replayed(`before${query}after`);
    assert.deepEqual(page.sent, []);
    assert.equal(page.dropped.length, 1, "the terminal would have answered");
    await page.live(query);
    assert.equal(page.sent.length, 1);
  });
}

test("live output that waits to be parsed before and after a replay is answered", async () => {
  const page = new Page();
  await Promise.all([page.live("\x1b[5n"), page.replayed("\x1b[c\x1b[6n"), page.live("\x1b[6n")]);
  assert.deepEqual(page.sent, ["\x1b[0n", "\x1b[1;1R"]);
  assert.equal(page.dropped.length, 2);
});

test("a question that a replay begins and live output ends is answered", async () => {
  const page = new Page();
  await page.replayed("\x1b[5");
  await page.live("n");
  assert.deepEqual(page.sent, ["\x1b[0n"]);
});

test("modes and title of a replay are in force after it", async () => {
  const page = new Page();
  const titles: string[] = [];
  page.term.onTitleChange((title) => titles.push(title));
  await page.replayed("\x1b]2;vim notes.txt\x07\x1b[?2004h\x1b[?1002h\x1b[?1004h");
  assert.deepEqual(titles, ["vim notes.txt"]);
  const { bracketedPasteMode, mouseTrackingMode, sendFocusMode } = page.term.modes;
  assert.deepEqual([bracketedPasteMode, mouseTrackingMode, sendFocusMode], [true, "drag", true]);
});

test("what a person types while a replay is drawn is no answer", async () => {
  const page = new Page();
  const drawn = page.replayed("\x1b[c");
  page.term.input("x");
  await drawn;
  page.term.input("\x1b[A");
  assert.deepEqual(page.sent, ["x", "\x1b[A"]);
});
