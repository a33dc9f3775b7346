// Bytes that terminals get wrong: characters in pieces, questions of programs, replays.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { eventually, packages, scene } from './harness.mjs';

const test = scene();

const { Terminal } = packages('@xterm/headless');
const { Unicode11Addon } = packages('@xterm/addon-unicode11');

const TORTURE = [
  'dash — quotes “double” ‘single’ dots … done',
  'CJK 、。「東京」漢字かなカナ한국어',
  'ZWJ 👩‍👩‍👧 👨‍🚀 flag 🇩🇪 tone 👍🏽 heart ❤️',
  'combining e\u0301 a\u0308\u0323 Z\u0351\u036b',
  'four bytes 𝒳𝔘𠜎 two bytes äöüß',
  '\x1b[1;31mred —\x1b[0m \x1b[38;2;10;200;30m“green”\x1b[0m tab\t…|',
].join('\r\n');

const SHORT = '“—…、。👩‍👩‍👧漢”|';

/** Writes its file byte by byte, so slowly that no two bytes travel together. */
const TORTURER = `
import { readFileSync, writeSync } from 'node:fs';
const pace = new Int32Array(new SharedArrayBuffer(4));
for (const byte of readFileSync(process.argv[2])) {
  writeSync(1, Buffer.of(byte));
  Atomics.wait(pace, 0, 0, Number(process.argv[3]));
}
`;

/** Every cell of a terminal of that size that got the text in one piece. */
async function reference(text, cols, rows) {
  const terminal = new Terminal({ cols, rows, allowProposedApi: true });
  terminal.loadAddon(new Unicode11Addon());
  terminal.unicode.activeVersion = '11';
  await new Promise((done) => terminal.write(text, done));
  const buffer = terminal.buffer.active;
  return Array.from({ length: rows }, (_, y) =>
    Array.from({ length: cols }, (_, x) => {
      const cell = buffer.getLine(y).getCell(x);
      return `${cell.getChars()}/${cell.getWidth()}`;
    }),
  );
}

test('characters that travel byte by byte fill the same cells as in one piece', async (stage, t) => {
  const tab = await stage.shell('device', '?renderer=dom');
  const program = stage.world.file('torturer.mjs', TORTURER);
  // Each byte long after the other, each alone, a few together, and all as fast as it goes.
  for (const [pace, text] of [[40, SHORT], [8, TORTURE], [1, TORTURE], [0, TORTURE]]) {
    const file = stage.world.file('torture.txt', text);
    await tab.page.evaluate(() => window.__test.record(100_000));
    await tab.enter(`stty raw -echo; printf '\\e[H\\e[2J'; ${process.execPath} ${program} ${file} ${pace}; read -rN1; stty sane; clear`);
    await tab.until((all) => window.__test.recordedText().endsWith(all), text, { within: 20_000, what: 'the last byte' });
    await tab.until(() => window.__test.screen().join('\n').includes('|'), null, { what: 'it parsed' });
    const { cols, rows } = await tab.page.evaluate(() => ({ cols: window.__moorline.term.cols, rows: window.__moorline.term.rows }));
    assert.deepEqual(await tab.page.evaluate(() => window.__test.cells()), await reference(text, cols, rows), `pace ${pace}`);
    const pieces = await tab.page.evaluate(() => window.__test.recorded.pieces);
    t.diagnostic(`with ${pace} ms between bytes: ${pieces} pieces of ${Buffer.byteLength(text)} bytes`);
    if (pace >= 8) assert.ok(pieces > text.length / 2, 'they did not travel alone');
    await tab.type('q');
    await tab.prompted();
  }
});

test('a mode that is asked for (DECRQM) is answered by the bundle as it ships', async (stage) => {
  const tab = await stage.shell();
  const ask = (mode) => tab.run(String.raw`printf '\e[?${mode}$p'; read -rsd y answer; printf '%q\n' "$answer"`);
  assert.deepEqual(await ask(2026), [String.raw`$'\E[?2026;2$'`]);
  assert.deepEqual(await ask(25), [String.raw`$'\E[?25;1$'`]);
  assert.deepEqual(await ask(9999), [String.raw`$'\E[?9999;0$'`]);
});

test('questions of a program are answered once, and not again by the replay after a reload', async (stage) => {
  const tab = await stage.shell();
  const got = stage.world.path('answers');
  const read = () => readFileSync(got, 'latin1');
  await tab.enter(`stty raw -echo; printf 'ask\\e[c\\e[>c\\e[6n\\e]10;?\\a\\e[?2026$p\\e[5n'; dd bs=1 of=${got} 2>/dev/null`);
  await eventually('the answers', () => read().endsWith('\x1b[0n'));
  const answers = read();
  assert.match(answers, /\x1b\[\?[\d;]+c.*\x1b\[>[\d;]+c.*\x1b\[\d+;\d+R/s);
  for (let reload = 0; reload < 2; reload += 1) {
    await tab.page.reload();
    await tab.is('live');
    await tab.shows('ask');
  }
  await tab.type('Z');
  await eventually('the key', () => read().includes('Z'));
  assert.equal(read().slice(answers.length), 'Z', 'the replay was answered');
});

test('a title is shown without what could deceive, and a bell rings for the eye', async (stage) => {
  const tab = await stage.shell();
  await tab.run(String.raw`printf '\e]0;my\u202etitle\x01%s\a' "$(head -c 500 /dev/zero | tr '\0' x)"`);
  await tab.until(() => document.title.startsWith('mytitlexxx'), null, { what: 'the title' });
  assert.ok((await tab.page.title()).length < 300);
});

test('every control character and every length of UTF-8 that is typed reaches the program as it is', async (stage) => {
  const tab = await stage.shell();
  const got = stage.world.path('bytes');
  await tab.enter(`stty raw -echo; printf 'go\\r\\n'; head -c 257 > ${got}; stty sane; echo`);
  await tab.shows('\ngo');
  await tab.page.evaluate(() => window.__moorline.term.input(String.fromCharCode(...Array.from({ length: 128 }, (_, n) => n))));
  const rest = 'äöü…“”漢字👩‍👩‍👧';
  const missing = 257 - 128 - Buffer.byteLength(rest);
  await tab.page.evaluate((text) => window.__moorline.term.input(text), rest + 'x'.repeat(missing));
  await tab.prompted();
  const expected = Buffer.concat([Buffer.from(Array.from({ length: 128 }, (_, n) => n)), Buffer.from(rest + 'x'.repeat(missing))]);
  assert.deepEqual(readFileSync(got), expected);
});
