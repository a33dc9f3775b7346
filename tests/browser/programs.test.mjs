// Programs that own the whole screen, and the screen's size.

import assert from 'node:assert/strict';

import { scene } from './harness.mjs';

const test = scene();

const alternate = () => window.__moorline.term.buffer.active.type === 'alternate';
const normal = () => window.__moorline.term.buffer.active.type === 'normal';

test('vim shows its screen, edits with its keys, and leaves the old screen behind', async (stage) => {
  const tab = await stage.shell();
  await tab.run('echo before vim');
  await tab.enter('vim -u NONE -N --cmd "set ruler"');
  await tab.until(alternate, null, { what: 'the alternate screen' });
  await tab.shows('~');
  await tab.type('ione two');
  await tab.press('Enter');
  await tab.type('three');
  await tab.press('ArrowUp');
  await tab.press('Home');
  await tab.type('zero ');
  await tab.press('Escape');
  await tab.shows('zero one two\nthree');
  await tab.type(`:w ${stage.world.path('vim.txt')}\n`);
  await tab.shows('written');
  await tab.type(':q\n');
  await tab.until(normal, null, { what: 'the old screen' });
  await tab.prompted();
  await tab.shows('before vim');
  assert.deepEqual(await tab.run(`cat ${stage.world.path('vim.txt')}`), ['zero one two', 'three']);
});

test('less pages, searches and quits', async (stage) => {
  const tab = await stage.shell();
  const file = stage.world.file('long.txt', Array.from({ length: 500 }, (_, n) => `row ${n + 1}.`).join('\n'));
  await tab.enter(`less ${file}`);
  await tab.shows('row 10.');
  await tab.press('PageDown');
  const { rows } = await tab.page.evaluate(() => ({ rows: window.__moorline.term.rows }));
  await tab.shows(`row ${rows}.`);
  await tab.type('/row 400\n');
  await tab.shows('row 400.');
  await tab.type('G');
  await tab.shows('row 500.');
  await tab.type('q');
  await tab.until(normal, null, { what: 'the old screen' });
  await tab.prompted();
});

test('top shows its table, and again after its pause, and quits', async (stage) => {
  const tab = await stage.shell();
  await tab.enter('top -d 0.5');
  await tab.shows('load average');
  await tab.shows('PID');
  const time = async () => (await tab.screen())[0].match(/\d\d:\d\d:\d\d/)?.[0];
  const first = await time();
  await tab.until((old) => !window.__test.screen()[0].includes(old), first, { what: 'the next second' });
  await tab.type('q');
  await tab.prompted();
});

test('tmux splits its screen, survives a reload with both halves, and quits', async (stage) => {
  const tab = await stage.shell();
  const socket = stage.world.path('tmux');
  await tab.enter(`tmux -S ${socket} -f /dev/null new-session 'exec bash --norc --noprofile'`);
  await tab.shows('[0] 0:bash');
  await tab.enter('echo left$((1 + 1))');
  await tab.shows('left2');
  await tab.press('Control+b');
  await tab.type('%');
  await tab.shows('│');
  await tab.enter('exec bash --norc --noprofile');
  await tab.enter('echo right$((1 + 1))');
  await tab.shows('right2');
  await tab.page.reload();
  await tab.is('live');
  await tab.shows('left2');
  await tab.shows('right2');
  await tab.enter(`tmux -S ${socket} kill-server`);
  await tab.until(normal, null, { what: 'the old screen' });
  await tab.prompted();
});

test('a new size reflows the lines and reaches the program, the last one always', async (stage) => {
  const tab = await stage.shell();
  const long = 'abcdefghij'.repeat(15);
  await tab.run(`echo ${long}`);
  const sizes = [
    { width: 640, height: 400 },
    { width: 1200, height: 640 },
    { width: 500, height: 700 },
    { width: 860, height: 520 },
  ];
  const seen = new Set();
  for (const size of sizes) {
    await tab.page.setViewportSize(size);
    await agreed(tab);
    const { cols } = await size_(tab);
    seen.add(cols);
    const lines = await tab.everything();
    assert.ok(lines.includes(long), `the long line is whole at ${cols} columns`);
  }
  assert.equal(seen.size, sizes.length, 'every size was another one');
});

test('while the window is dragged, what stty says at the end is the size at the end', async (stage) => {
  const tab = await stage.shell();
  for (let width = 1000; width >= 520; width -= 24) {
    await tab.page.setViewportSize({ width, height: 700 - (1000 - width) / 2 });
  }
  await agreed(tab);
});

test('a program is told of the new size at once', async (stage) => {
  const tab = await stage.shell();
  await tab.enter(`trap 'stty size' WINCH; while :; do read -t 1; done`);
  await tab.page.setViewportSize({ width: 700, height: 420 });
  const look = () => {
    const { cols, rows } = window.__moorline.term;
    return cols < 100 && window.__test.screen().includes(`${rows} ${cols}`);
  };
  await tab.until(look, null, { what: 'the size on the screen' });
  await tab.press('Control+c');
  await tab.prompted();
});

const size_ = (tab) =>
  tab.page.evaluate(() => ({ cols: window.__moorline.term.cols, rows: window.__moorline.term.rows }));

/** Asks the device for the size again and again until it is the terminal's, which must be that of its frame. */
async function agreed(tab) {
  const fits = () => {
    const host = window.__moorline.term.element.parentElement.getBoundingClientRect();
    const screen = window.__moorline.term.element.querySelector('.xterm-screen').getBoundingClientRect();
    return screen.width <= host.width && host.width - screen.width < 40 && screen.height <= host.height;
  };
  await tab.until(fits, null, { what: 'the terminal to fill its frame' });
  for (let tries = 1; ; tries += 1) {
    const [said] = await tab.run('stty size');
    const { cols, rows } = await size_(tab);
    if (said === `${rows} ${cols}`) return;
    assert.ok(tries < 20, `the device says ${said}, the terminal is ${rows} ${cols}`);
  }
}
