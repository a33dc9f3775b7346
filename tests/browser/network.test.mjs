// The network between browser and broker at its worst.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';

import { eventually, scene } from './harness.mjs';

const test = scene({ browserRelay: true });

const CUTS = 50;

/** Numbers from a seed, so that a run can be had again: MOORLINE_SEED=... */
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a browser says when its connection breaks; nothing of ours. */
const BROKEN = /WebSocket connection to .* failed|net::ERR_|Failed to load resource/;

/** Types a line whenever the terminal takes input, as a person who does not wait for the next try. */
function keepTyping() {
  const typed = [];
  let lostAt = 0;
  const timer = setInterval(() => {
    const state = window.__test.state();
    [...document.querySelectorAll('button')].find((button) => button.textContent === 'Retry now')?.click();
    if (state === 'live' || state === 'unstable') lostAt = 0;
    else if (lostAt === 0) lostAt = performance.now();
    // What is typed within the first second of a break is to be sent after it.
    if (lostAt !== 0 && performance.now() - lostAt > 1000) return;
    if (typed.length >= 400) return;
    const line = `t${typed.length}`;
    typed.push(line);
    window.__moorline.term.input(`${line}\r`);
  }, 20);
  window.__typing = { typed, stop: () => clearInterval(timer) };
}

test('50 cuts at random bytes lose no number and no key, and double none', async (stage, t) => {
  const seed = Number(process.env.MOORLINE_SEED ?? randomInt(2 ** 31));
  const random = randomFrom(seed);
  t.diagnostic(`MOORLINE_SEED=${seed}`);
  const window = await stage.window();
  window.expect(BROKEN);
  const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
  const { relay } = stage.world;
  const file = stage.world.path('typed.txt');

  // Of five connections one is cut within its greeting, one while it sends, three while they receive.
  relay.plan(() => {
    if (relay.cuts >= CUTS) return {};
    const dice = random();
    if (dice < 0.2) return { down: 1 + Math.floor(random() * 600) };
    if (dice < 0.4) return { up: 600 + Math.floor(random() * 600), down: 30_000 };
    return { down: 600 + Math.floor(random() * 30_000) };
  });
  await tab.page.evaluate(() => window.__test.record(4_000_000));
  await tab.enter(`stty -echo; seq 1 200000; echo 'seq ''over'; while read -r l && [ "$l" != end ]; do echo "$l"; done > ${file}; stty echo; echo 'all ''over'`);
  // Not before the program runs: what is typed while the shell still edits its line keeps its CR.
  await tab.until(() => window.__test.recordedText().includes('\r1\r\n2\r\n'), null, { what: 'the first numbers' });
  await tab.page.evaluate(keepTyping);
  relay.cut();
  await eventually(`${CUTS} cuts`, () => relay.cuts >= CUTS, 90_000);
  await tab.is('live', 15_000);
  await tab.until(() => window.__test.recordedText().includes('seq over'), null, { within: 60_000, what: 'the last number' });
  await tab.page.evaluate(() => window.__typing.stop());
  await tab.is('live', 15_000);
  await tab.enter('end');
  await tab.until(() => window.__test.recordedText().includes('all over'), null, { what: 'the last key' });

  const { text, typed, rebuilt } = await tab.page.evaluate(() => ({
    text: window.__test.recordedText(),
    typed: window.__typing.typed,
    rebuilt: window.__test.recorded.rebuilt,
  }));
  assert.equal(rebuilt, 0, 'nothing fell out of the ring');
  const numbers = text.slice(text.indexOf('\r1\r\n2\r\n') + 1, text.indexOf('seq over')).trim().split('\r\n');
  const wrong = numbers.findIndex((number, at) => number !== String(at + 1));
  assert.equal(wrong, -1, `MOORLINE_SEED=${seed}: after ${numbers[wrong - 1]} came ${numbers[wrong]}`);
  assert.equal(numbers.length, 200_000);
  await tab.prompted();
  await tab.run('clear');
  assert.ok(typed.length > 20, `only ${typed.length} lines were typed`);
  assert.deepEqual(await tab.run(`cat ${file}`), typed, `MOORLINE_SEED=${seed}`);
  t.diagnostic(`${relay.cuts} cuts, ${typed.length} lines typed`);
}, { timeout: 180_000 });

test('a black hole is noticed within 15 s, and everything is there when it heals', async (stage, t) => {
  const window = await stage.window();
  window.expect(BROKEN);
  const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
  const file = stage.world.path('hole.txt');
  // Output goes on all through the hole.
  await tab.enter(`for n in $(seq 1 400); do echo "hole $n"; sleep 0.05; done; cat > ${file}`);
  await tab.shows('hole 5');
  const fell = await tab.page.evaluate(() => performance.now());
  stage.world.relay.stall();
  await tab.page.evaluate(() => {
    const seen = {};
    window.__states = seen;
    setInterval(() => (seen[window.__test.state()] ??= performance.now()), 20);
  });
  await tab.is('unstable', 15_000);
  await tab.says(/unstable/i);
  await tab.is('reconnecting', 20_000);
  await tab.says(/Reconnecting/);
  // The page notes its states every 20 ms: the last one may not be noted yet.
  const noted = await tab.page.waitForFunction(() => window.__states.reconnecting && window.__states);
  const { unstable, reconnecting } = await noted.jsonValue();
  t.diagnostic(`unstable after ${((unstable - fell) / 1000).toFixed(1)} s, reconnecting after ${((reconnecting - fell) / 1000).toFixed(1)} s`);
  assert.ok(reconnecting - fell <= 15_000 + 500, `noticed after ${reconnecting - fell} ms`);
  stage.world.relay.heal();
  await tab.is('live', 15_000);
  await tab.shows('hole 400', 40_000);
  const lines = (await tab.everything()).filter((line) => line.startsWith('hole '));
  assert.deepEqual(lines, Array.from({ length: 400 }, (_, n) => `hole ${n + 1}`));
  await tab.enter('typed after it');
  await tab.press('Control+d');
  await tab.prompted();
  assert.deepEqual(await tab.run(`cat ${file}`), ['typed after it']);
}, { timeout: 90_000 });

test('what is typed just before a black hole arrives after it, once', async (stage) => {
  const window = await stage.window();
  window.expect(BROKEN);
  const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
  stage.world.relay.stall();
  await tab.type('echo typed into the dark');
  await tab.press('Enter');
  // Not waited out: the button of a person who is told by somebody else that the network is back.
  stage.world.relay.cut({ refuse: true });
  await tab.is('reconnecting');
  stage.world.relay.heal();
  await tab.prompted(15_000);
  const lines = (await tab.everything()).filter((line) => line === 'typed into the dark');
  assert.equal(lines.length, 1);
});

test('while the connection is down, the screen can be read, and what is typed late is said not to be sent', async (stage) => {
  const window = await stage.window();
  window.expect(BROKEN);
  const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
  await tab.run('echo still readable');
  stage.world.relay.cut({ refuse: true });
  await tab.is('reconnecting');
  await tab.says(/Your shell is kept for (24 h|23 h 59 min)/);
  await tab.shows('still readable');
  await tab.says(/What you type now is not sent/);
  await tab.type('x');
  await tab.says(/Not sent/);
  stage.world.relay.heal();
  await tab.page.getByRole('button', { name: 'Retry now' }).click({ timeout: 2_000 }).catch(() => {}); // it may be back by itself
  await tab.is('live', 15_000);
  assert.deepEqual(await tab.run('echo back'), ['back'], 'the x was not sent');
});
