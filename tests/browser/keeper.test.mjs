// Sessions that outlive the broker, the agent, the network and the tab, as a person sees them.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import { eventually, scene } from './harness.mjs';

const test = scene({ browserRelay: true, broker: { 'timing.adrift_for': '5m', 'keeper.orphaned_for': '5m' } });

/** What a browser says when its connection breaks; nothing of ours. */
const BROKEN = /WebSocket connection to .* failed|net::ERR_|Failed to load resource/;
/** What programs say that lose each other. */
const LOST = /link|connect|broker|device|keeper|session|stream/i;

async function kill(program) {
  program.kill('SIGKILL');
  await program.ended;
}

/** Everything on the screen that a person could tell apart, and what the program has asked for. */
function picture(tab) {
  return tab.page.evaluate(() => {
    const { term } = window.__moorline;
    const { type, cursorX, cursorY } = term.buffer.active;
    const { bracketedPasteMode, mouseTrackingMode } = term.modes;
    return { cells: window.__test.cells(), type, cursorX, cursorY, bracketedPasteMode, mouseTrackingMode };
  });
}

/** A tab in which vim has half a sentence in a file. */
async function vimWithHalfASentence(stage, file) {
  const tab = await stage.shell();
  stage.windows[0].expect(BROKEN);
  stage.announce(LOST);
  assert.doesNotMatch(await tab.words(), /hangs on the broker/);
  await tab.enter(`vim -u NONE -N --cmd 'set mouse=a title titlestring=half' --cmd 'let &t_BE="\\e[?2004h"' ${file}`);
  await tab.shows('~');
  await tab.type('ihalf a sent');
  await tab.shows('half a sent');
  await tab.until(() => window.__moorline.term.modes.mouseTrackingMode !== 'none', null, { what: 'the mouse mode' });
  return tab;
}

async function sentenceIsFinished(tab, file) {
  await tab.type('ence');
  await tab.press('Escape');
  await tab.enter(':wq');
  await eventually('the file', () => existsSync(file));
  assert.equal(readFileSync(file, 'utf8'), 'half a sentence\n');
}

test('vim with half a sentence survives kill -9 of the broker and a reload, cell for cell', async (stage, t) => {
  const file = stage.world.path('broker.txt');
  const tab = await vimWithHalfASentence(stage, file);
  const before = await picture(tab);
  await kill(stage.world.broker);
  await tab.is('reconnecting');
  await tab.says(/Your shell is kept for/);
  assert.deepEqual(await picture(tab), before, 'the screen stays readable, and of its size');
  await pause(1_000); // the time that the broker is gone: part of what is tested
  const began = performance.now();
  await stage.world.runBroker();
  await tab.is('live', 20_000);
  t.diagnostic(`live again ${Math.round(performance.now() - began)} ms after the broker's start`);
  assert.deepEqual(await picture(tab), before, 'after the broker');
  await tab.page.reload();
  await tab.is('live', 20_000);
  await tab.shows('half a sent');
  await tab.until(() => document.title.startsWith('half'), null, { what: 'the title' });
  assert.deepEqual(await picture(tab), before, 'after the reload');
  await sentenceIsFinished(tab, file);
}, { timeout: 90_000 });

test('vim with half a sentence survives kill -9 of the agent, and the page says for how long it is kept', async (stage) => {
  const file = stage.world.path('agent.txt');
  const tab = await vimWithHalfASentence(stage, file);
  const before = await picture(tab);
  const device = stage.world.device();
  await kill(device.agent);
  await tab.until(() => ['device_lost', 'waiting', 'reconnecting'].includes(window.__test.state()), null, { what: 'a state of loss' });
  await tab.says(/kept/i);
  assert.deepEqual(await picture(tab), before);
  await stage.world.startAgent(device);
  await tab.is('live', 30_000);
  assert.deepEqual(await picture(tab), before);
  await sentenceIsFinished(tab, file);
}, { timeout: 90_000 });

test('a second browser takes the shell over with its screen, title and modes, and the first takes it back', async (stage) => {
  const file = stage.world.path('second.txt');
  const first = await vimWithHalfASentence(stage, file);
  const session = await first.session();
  const second = await (await stage.window()).open(`/s/${session}`);
  await second.is('live');
  await second.shows('half a sent');
  await second.until(() => document.title.startsWith('half'), null, { what: 'the title' });
  const [one, other] = [await picture(first), await picture(second)];
  assert.equal(other.bracketedPasteMode, one.bracketedPasteMode);
  assert.equal(other.mouseTrackingMode, one.mouseTrackingMode);
  await first.is('taken_over');
  await first.says(/Taken over by you, in another tab/);
  await first.page.getByRole('button', { name: 'Take back' }).click();
  await first.is('live');
  await second.is('taken_over');
  await sentenceIsFinished(first, file);
});

/** Writes each question after its name, so that none is lost in another's answer. */
const QUESTIONS = '\\e[c\\e[>c\\e[5n\\e[6n\\e[?2026$p\\e]10;?\\a\\e]11;?\\a\\e]4;1;?\\a\\e[18t\\e[?1004h';

/** How a page may be away, and what brings it back. */
const AWAYS = {
  'a reload': {
    leave: ({ page }) => page.goto('about:blank'),
    comeBack: ({ page }) => page.goBack(),
  },
  'a break of its network': {
    leave: async (tab, { relay }) => {
      relay.cut({ refuse: true });
      await tab.is('reconnecting');
    },
    comeBack: async (_tab, { relay }) => relay.heal(),
  },
};

for (const [away, { leave, comeBack }] of Object.entries(AWAYS)) {
  test(`what was asked during ${away} is answered to no program, and what is asked after it is`, async (stage) => {
    const { world } = stage;
    const tab = await stage.shell();
    stage.windows[0].expect(BROKEN);
    stage.announce(LOST);
    const file = world.path(`answers-${away.length}.txt`);
    // Asks while nobody looks, and again at a word; every byte that comes is kept.
    const script = world.file(`ask-${away.length}.sh`, [
      'stty raw -echo',
      `cat < /dev/tty > ${file} & reader=$!`,
      `until [ -e ${file}.first ]; do sleep 0.05; done; printf '${QUESTIONS}'; : > ${file}.asked`,
      `until [ -e ${file}.second ]; do sleep 0.05; done; printf '\\e[?1004l\\e[5n'`,
      `until [ -e ${file}.third ]; do sleep 0.05; done; kill $reader; stty sane; echo the end`,
    ].join('\n'));
    await tab.enter(`bash ${script}`);
    await eventually('the reader', () => existsSync(file));
    await leave(tab, world);
    writeFileSync(`${file}.first`, '');
    await eventually('the questions', () => existsSync(`${file}.asked`));
    await comeBack(tab, world);
    await tab.is('live', 15_000);
    writeFileSync(`${file}.second`, '');
    // Answers come in the order of the questions: none is before the one to the live question.
    await eventually('the answer to a live question', () => readFileSync(file, 'latin1').endsWith('\x1b[0n'));
    assert.equal(readFileSync(file, 'latin1').replace(/\x1b\[[IO]/g, ''), '\x1b[0n');
    writeFileSync(`${file}.third`, '');
    await tab.shows('the end');
  });
}

test('a session that nobody is attached to is listed, and taken up again', async (stage) => {
  const tab = await stage.shell();
  await tab.run('echo left alone');
  const list = await (await stage.window()).open('/devices');
  await tab.page.close();
  await list.says(/nobody attached, kept/);
  await list.page.getByRole('link', { name: 'Take up again' }).first().click();
  await list.is('live');
  await list.shows('left alone');
  await list.run('echo and on');
});
