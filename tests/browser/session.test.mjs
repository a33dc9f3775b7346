// One session, from the address of the broker to its end: reached, reloaded, taken over, ended.

import assert from 'node:assert/strict';

import { eventually, scene } from './harness.mjs';

const test = scene();

test('with one device in demo mode, / is a shell, and every step to it was told with its time', async (stage) => {
  const tab = await stage.open('/');
  await tab.is('live');
  await tab.enter('echo $((6 * 7)) $TERM $COLORTERM');
  await tab.shows('\n42 xterm-256color truecolor');
  assert.match(new URL(tab.page.url()).pathname, /^\/s\/[a-z0-9-]+$/, 'a reload is to be back here');
  const { steps } = await stage.world.ask('GET', `sessions/${await tab.session()}`);
  assert.deepEqual(steps.map(({ step }) => step), ['broker', 'device', 'host_key', 'login', 'shell']);
});

test('the exit status of the shell is shown, and Enter opens a new session', async (stage) => {
  const tab = await stage.shell();
  const first = await tab.session();
  await tab.enter('exit 3');
  await tab.is('ended');
  await tab.says(/Exited with status 3/);
  const { ending, state } = await stage.world.ask('GET', `sessions/${first}`);
  assert.deepEqual([state, ending.code, ending.exit], ['ended', 'exited', { status: 3 }]);
  await tab.page.keyboard.press('Enter');
  await tab.until((old) => window.__moorline?.session && window.__moorline.session !== old, first);
  await tab.shell();
  assert.deepEqual(await tab.run('echo new'), ['new']);
});

test('a program that a signal ended is told by its name', async (stage) => {
  const tab = await stage.shell();
  await tab.enter('kill -KILL $$');
  await tab.is('ended');
  await tab.says(/signal KILL/);
});

test('a reload is back in the same shell with its screen, its scrollback and its variables', async (stage) => {
  const tab = await stage.shell();
  await tab.run('secret=kept; seq 1 200');
  const [session, before] = [await tab.session(), await tab.screen()];
  await tab.page.reload();
  await tab.is('live');
  assert.equal(await tab.session(), session);
  await tab.until((wanted) => window.__test.screen().join('\n') === wanted, before.join('\n'), { what: 'the same screen' });
  const numbers = (await tab.everything()).filter((line) => /^\d+$/.test(line));
  assert.deepEqual(numbers, Array.from({ length: 200 }, (_, n) => `${n + 1}`), 'the scrollback is there');
  assert.deepEqual(await tab.run('echo $secret $?'), ['kept 0']);
  // What is drawn anew is as wide as its text: in a narrower window no empty lines appear.
  await tab.page.setViewportSize({ width: 500, height: 700 });
  await tab.until(() => window.__moorline.term.cols < 70, null, { what: 'the narrower terminal' });
  const after = (await tab.everything()).slice(-60).join(' ');
  assert.match(after, /196 197 198 199 200 \[3\]> /);
});

test('a reload inside vim shows the same screen, and vim goes on', async (stage) => {
  const tab = await stage.shell();
  const file = stage.world.file('poem.txt', Array.from({ length: 300 }, (_, n) => `verse ${n}`).join('\n'));
  await tab.enter(`vim -u NONE -N ${file}`);
  await tab.shows('verse 20');
  await tab.type('100Gihello ');
  await tab.shows('hello verse 99');
  const before = await tab.screen();
  await tab.page.reload();
  await tab.is('live');
  await tab.until((wanted) => window.__test.screen().join('\n') === wanted, before.join('\n'), { what: 'the same screen' });
  assert.equal(await tab.page.evaluate(() => window.__moorline.term.buffer.active.type), 'alternate');
  await tab.type('again ');
  await tab.shows('hello again verse 99');
  await tab.press('Escape');
  await tab.type(':wq\n');
  await tab.prompted();
  assert.deepEqual(await tab.run(`grep -n again ${file}`), ['100:hello again verse 99']);
  const modes = await tab.page.evaluate(() => window.__moorline.term.buffer.active.type);
  assert.equal(modes, 'normal', 'vim has left the alternate screen');
});

test('bracketed paste that was on before a reload is on after it', async (stage) => {
  const tab = await stage.shell();
  await tab.until(() => window.__moorline.term.modes.bracketedPasteMode, null, { what: "readline's bracketed paste" });
  await tab.page.reload();
  await tab.is('live');
  await tab.until(() => window.__moorline.term.modes.bracketedPasteMode, null, { what: 'bracketed paste' });
});

test('a second tab takes the terminal over, the first one says so, and takes it back', async (stage) => {
  const first = await stage.shell();
  await first.run('echo from the first tab');
  const session = await first.session();
  const second = await stage.open(`/s/${session}`);
  await second.is('live');
  await second.shows('from the first tab');
  await first.is('taken_over');
  await first.says(/Taken over/);
  await second.run('echo from the second tab');
  await first.page.bringToFront();
  await first.page.getByRole('button', { name: 'Take back' }).click();
  await first.is('live');
  await second.is('taken_over');
  await first.shows('from the second tab');
  await first.run('echo the first again');
  const lines = (await first.everything()).filter((line) => /^(from the|the first)/.test(line));
  assert.deepEqual(lines, ['from the first tab', 'from the second tab', 'the first again'], 'nothing is lost or doubled');
});

test('a tab that looks on sees what happens and types nothing', async (stage) => {
  const driver = await stage.shell();
  const watcher = await stage.open(`/s/${await driver.session()}`);
  await watcher.is('live');
  await driver.page.bringToFront();
  await driver.page.getByRole('button', { name: 'Look on' }).click();
  await driver.is('watching');
  const now = watcher;
  await now.run('echo seen by both');
  await driver.shows('seen by both');
  await driver.page.evaluate(() => window.__moorline.term.input('echo never\r'));
  await now.run('echo after');
  await driver.shows('after');
  assert.ok(!(await now.everything()).some((line) => line.includes('never')), 'a watcher typed');
});

test('a session that is over is told as such when its address is opened', async (stage) => {
  const tab = await stage.shell();
  const session = await tab.session();
  await tab.enter('exit');
  await tab.is('ended');
  await eventually('the API to say so', async () => (await stage.world.ask('GET', `sessions/${session}`)).state === 'ended');
  const later = await stage.open(`/s/${session}`);
  await later.says(/This session is over/);
  await later.says(/Exited with status 0/);
});

test('an address of no session and an address of no device say so with a remedy', async (stage) => {
  const window = await stage.window();
  window.expect(/404/);
  const session = await window.open('/s/s-nothing');
  await session.says(/There is no such thing here\. Go back to the list/);
  const device = await window.open('/d/d-nothing');
  await device.says(/There is no device of that id\. Pick a device from the list/);
});

test('a part of the page that cannot be loaded is said, and the page can be loaded again', async (stage) => {
  const window = await stage.window();
  window.expect(/net::ERR_FAILED|preload CSS|Failed to fetch dynamically/);
  await window.context.route(/assets\/pane-.*/, (route) => route.abort());
  const tab = await window.open(`/d/${stage.world.device().id}`);
  await tab.says(/Reload the page/);
  await window.context.unroute(/assets\/pane-.*/);
  await tab.page.getByRole('button', { name: /Reload/ }).click();
  await tab.shell();
});
