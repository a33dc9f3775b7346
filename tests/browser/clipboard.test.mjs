// What goes in by paste, and what comes out by copy.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

import { eventually, scene } from './harness.mjs';

const test = scene();
const MAY_USE_CLIPBOARD = { permissions: ['clipboard-read', 'clipboard-write'] };

/** Takes one bracketed paste from the terminal and says what was inside. */
const READER = `
import { createHash } from 'node:crypto';
process.stdin.setRawMode(true);
process.stdout.write('\\x1b[?2004hready\\r\\n');
let all = Buffer.alloc(0);
process.stdin.on('data', (data) => {
  all = Buffer.concat([all, data]);
  const end = all.indexOf('\\x1b[201~');
  if (end < 0 || (process.argv[2] === 'key' && all.at(-1) !== 0x71)) return;
  const inside = all.subarray(all.indexOf('\\x1b[200~') + 6, end);
  const outside = all.subarray(end + 6).toString();
  process.stdout.write('\\x1b[?2004l' + createHash('sha256').update(inside).digest('hex') + '\\r\\n');
  process.stdout.write(inside.length + ' bytes, then ' + JSON.stringify(outside) + '\\r\\n');
  process.exit();
});
`;

const sha256 = (text) => createHash('sha256').update(text).digest('hex');

async function reader(stage, tab, mode = '') {
  const program = stage.world.file('reader.mjs', READER);
  await tab.enter(`${process.execPath} ${program} ${mode}`);
  await tab.shows('ready');
  await tab.until(() => window.__moorline.term.modes.bracketedPasteMode, null, { what: 'bracketed paste' });
}

test('a bracketed paste of 1 MB with the keys of the browser arrives whole', async (stage) => {
  const window = await stage.window(MAY_USE_CLIPBOARD);
  const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
  await reader(stage, tab);
  const text = Array.from({ length: 14_000 }, (_, n) => `${n} Zwölf Boxkämpfer jagen “Viktor” — 東京 👩‍👩‍👧 …\r`).join('');
  assert.ok(Buffer.byteLength(text) > 1 << 20);
  await tab.page.evaluate((pasted) => navigator.clipboard.writeText(pasted), text.replaceAll('\r', '\n'));
  await tab.press('Control+Shift+V');
  await tab.shows(sha256(text), 30_000);
  await tab.shows(`${Buffer.byteLength(text)} bytes, then ""`);
});

test('a paste that holds the end of a paste does not break out of it', async (stage) => {
  const tab = await stage.shell();
  await reader(stage, tab, 'key');
  await tab.paste('one\x1b[201~two\x1b[20\x1b[201~1~three\u009b201~four\x1b]0;title\x07\x03five');
  await tab.type('q');
  await tab.shows('bytes, then "q"');
  const [, said] = /then "(.*)"/.exec((await tab.screen()).join('\n'));
  assert.equal(said, 'q', 'everything but the key was inside');
});

test('a paste of several lines asks first where it would run at once', async (stage) => {
  const tab = await stage.shell();
  const answer = (name) => tab.page.getByRole('dialog').getByRole('button', { name, exact: true }).click();
  await tab.enter("bind 'set enable-bracketed-paste off'; cat");
  await tab.until(() => !window.__moorline.term.modes.bracketedPasteMode, null, { what: 'no bracketed paste' });
  await tab.paste('first line\nsecond line\n');
  await tab.says(/first line\s+second line/);
  await answer('Do not paste');
  await tab.type('typed\n');
  await tab.shows('typed\ntyped');
  assert.ok(!(await tab.screen()).join().includes('first line'), 'what was refused was sent');
  await tab.paste('third line\nfourth line\n');
  await tab.says(/third line\s+fourth line/);
  await answer('Paste');
  await tab.shows('third line\nfourth line\nthird line\nfourth line');
});

test('a paste of one line asks nothing', async (stage) => {
  const tab = await stage.shell();
  await tab.enter("bind 'set enable-bracketed-paste off'; cat");
  await tab.until(() => !window.__moorline.term.modes.bracketedPasteMode, null, { what: 'no bracketed paste' });
  await tab.paste('only line');
  await tab.shows('only line');
});

/** Takes its input slowly, and says on Ctrl-C how much it had taken. */
const SLOW_READER = `
let taken = 0;
process.stdin.on('data', (data) => {
  taken += data.length;
  process.stdin.pause();
  setTimeout(() => process.stdin.resume(), 20);
});
process.on('SIGINT', () => {
  process.stdout.write('interrupted after ' + taken + ' bytes\\r\\n');
  process.exit();
});
process.stdout.write('ready\\r\\n');
`;

test('Ctrl-C overtakes what is left of a paste, which is dropped', async (stage) => {
  const tab = await stage.shell();
  const program = stage.world.file('slow.mjs', SLOW_READER);
  await tab.enter(`bind 'set enable-bracketed-paste off'; stty -icanon -echo; ${process.execPath} ${program}; stty sane`);
  await tab.shows('ready');
  const size = 8 << 20;
  await tab.paste('x'.repeat(size));
  await tab.press('Control+c');
  await tab.says(/Paste cancelled after/);
  await tab.shows('interrupted after');
  const taken = Number(/interrupted after (\d+) bytes/.exec((await tab.screen()).join('\n'))[1]);
  assert.ok(taken < 1 << 20, `${taken} bytes of ${size} went ahead of Ctrl-C`);
  await tab.prompted();
});

for (const keys of ['Control+Shift+C', 'Control+Insert']) {
  test(`${keys} copies what is selected and leaves the browser's own meaning of it out`, async (stage) => {
    const window = await stage.window(MAY_USE_CLIPBOARD);
    const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
    await tab.run('echo copy this line');
    await tab.page.evaluate(() => {
      const row = window.__test.screen().lastIndexOf('copy this line');
      window.__moorline.term.select(5, window.__moorline.term.buffer.active.baseY + row, 4);
      window.addEventListener('keydown', (event) => {
        if (event.key !== 'Control' && event.key !== 'Shift') setTimeout(() => (window.__prevented = event.defaultPrevented));
      }, { capture: true });
    });
    await tab.press(keys);
    await tab.until(() => window.__prevented !== undefined);
    assert.equal(await tab.page.evaluate(() => window.__prevented), true, 'DevTools would open');
    await eventuallyCopied(tab, 'this');
    assert.deepEqual(await tab.run('echo no ^C'), ['no ^C'], 'nothing was sent to the program');
  });
}

async function eventuallyCopied(tab, text) {
  const read = () => tab.page.evaluate(() => navigator.clipboard.readText());
  await eventually(`${text} on the clipboard`, async () => (await read()) === text);
}

test('a program may not read the clipboard, and asks before it writes to it', async (stage) => {
  const window = await stage.window(MAY_USE_CLIPBOARD);
  const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
  await tab.page.evaluate(() => navigator.clipboard.writeText('private'));
  // The second question is one that every terminal answers, so what was answered before it is all there is.
  const answered = await tab.run(String.raw`printf '\e]52;c;?\a\e[5n'; read -rsd n answer; printf '%q\n' "$answer"`);
  assert.deepEqual(answered, [String.raw`$'\E[0'`]);
  await tab.run(String.raw`printf '\e]52;c;%s\a' "$(printf hello | base64)"`);
  await tab.says(/hello/);
  assert.equal(await tab.page.evaluate(() => navigator.clipboard.readText()), 'private');
  await tab.page.getByRole('dialog').getByRole('button', { name: 'Allow' }).click();
  await eventuallyCopied(tab, 'hello');
});
