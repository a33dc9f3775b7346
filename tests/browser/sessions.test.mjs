// The page of the sessions: those that run and those that are over; looking on, taking up, ending.

import assert from 'node:assert/strict';

import { eventually, gone, isAlive, scene } from './harness.mjs';

const test = scene({
  devices: { router: 'embedded', kiosk: 'embedded' },
  // A device that goes is given up soon.
  broker: {
    'timing.link_ping': '500ms',
    'timing.link_unstable': '1s',
    'timing.link_dead': '2s',
    'timing.link_resume_within': '3s',
  },
});

/** A line of the list of the sessions, by what stands in it. */
const line = (tab, text) => tab.page.getByRole('row').filter({ hasText: text });

/** The page of the sessions, in a window of its own. */
async function list(stage, query = '') {
  return (await stage.window()).open(`/sessions${query}`);
}

/** Ends a session from the list, with a reason. */
async function end(tab, session, reason) {
  await line(tab, session).getByRole('button', { name: /^End/ }).click();
  await tab.says(/End this session\?/);
  await tab.page.getByRole('textbox', { name: /Reason/ }).fill(reason);
  await tab.page.getByRole('button', { name: 'End it' }).click();
}

test('a running session is listed with who, where and how it is, and follows what happens to it', async (stage) => {
  const tab = await list(stage);
  await tab.says(/No session is running/);
  const terminal = await stage.shell('router');
  const session = await terminal.session();
  await tab.says(/In use/);
  const text = await line(tab, session).innerText();
  for (const part of ['demo', 'router', 'kept on the device', 'ago']) assert.ok(text.includes(part), `${part}: ${text}`);
  const told = await line(tab, session).locator('time').getAttribute('title');
  assert.match(told, /\d{4}.*\d:\d\d:\d\d/, 'the exact time, to whoever points at it');
  await terminal.page.close();
  await tab.says(/Nobody attached/);
});

test('whoever is attached reads who ended the session and why, and so does the list of the ended ones', async (stage) => {
  const terminal = await stage.shell('router');
  const session = await terminal.session();
  const tab = await list(stage);
  await line(tab, session).getByRole('button', { name: /^End/ }).click();
  await tab.says(/What runs in it on router is ended at once/);
  await tab.says(/Whoever is attached is told that you ended it, and the reason/);
  await tab.page.getByRole('textbox', { name: /Reason/ }).fill('maintenance at 14:00');
  await tab.page.getByRole('button', { name: 'End it' }).click();
  await terminal.is('ended');
  await terminal.says(/demo ended this session: maintenance at 14:00/);
  await tab.says(/The shell of demo on router is ended\./);
  await tab.says(/No session is running/);
  await tab.page.getByRole('button', { name: 'Ended' }).click();
  await tab.says(/Killed demo ended this session: maintenance at 14:00/);
  const cells = await line(tab, session).getByRole('cell').allInnerTexts();
  assert.ok(cells.includes('demo'), `by whom: ${cells.join(' | ')}`);
});

test('a session can be ended by the keyboard alone, and kept by it as well', async (stage) => {
  const terminal = await stage.shell('kiosk');
  const tab = await list(stage);
  const { keyboard } = tab.page;
  const button = line(tab, await terminal.session()).getByRole('button', { name: /^End/ });
  const focused = () => button.evaluate((element) => element === document.activeElement);
  await button.waitFor();
  for (let steps = 0; !(await focused()); steps += 1) {
    assert.ok(steps < 20, 'Tab does not come to the button');
    await keyboard.press('Tab');
  }
  await keyboard.press('Enter');
  await tab.says(/End this session\?/);
  await keyboard.type('never mind');
  await keyboard.press('Escape');
  await tab.until(() => document.querySelector('dialog') === null);
  assert.equal(await terminal.state(), 'live');
  assert.ok(await focused(), 'the focus is back at the button');
  await keyboard.press('Enter');
  await tab.says(/End this session\?/);
  await keyboard.type('by keys');
  await keyboard.press('Enter');
  await terminal.says(/demo ended this session: by keys/);
});

test('what is in the way of an end is said in the dialog, which waits for another try', async (stage) => {
  const terminal = await stage.shell('router');
  const tab = await list(stage);
  stage.windows.at(-1).expect(/400/);
  await end(tab, await terminal.session(), 'with a bell \u0007');
  await tab.says(/This reason cannot be shown\. Give at most 200 printable characters\./);
  assert.equal(await terminal.state(), 'live');
  await tab.page.getByRole('textbox', { name: /Reason/ }).fill('without');
  await tab.page.getByRole('button', { name: 'End it' }).click();
  await terminal.says(/demo ended this session: without/);
});

test('a session whose device is away is over at once, and what runs in it ends when the device is back', async (stage) => {
  const { world } = stage;
  stage.announce(/link|device|agent/);
  const terminal = await stage.shell('router');
  const session = await terminal.session();
  const running = Number((await terminal.run('sleep 1000 & echo $!')).at(-1));
  assert.ok(isAlive(running));
  const tab = await list(stage);
  const device = world.device('router');
  await device.agent.stop({ signal: 'SIGKILL' });
  await tab.says(/Not reachable now/);
  await line(tab, session).getByRole('button', { name: /^End/ }).click();
  await tab.says(/router is away\. The session is over at once; what runs in it is ended as soon as router is back\./);
  await tab.page.getByRole('button', { name: 'End it' }).click();
  await tab.says(/is ended; what runs in it ends when router is back/);
  await terminal.is('ended');
  const { state } = await world.ask('GET', `sessions/${session}`);
  assert.equal(state, 'ended');
  assert.ok(isAlive(running), 'nobody could tell the device yet');
  await world.startAgent(device);
  await gone([running], 20_000);
});

test('looking on leaves the terminal to whoever has it, taking up does not', async (stage) => {
  const driver = await stage.shell('router');
  const tab = await list(stage);
  await line(tab, await driver.session()).getByRole('link', { name: /^Look on/ }).click();
  await tab.is('watching');
  assert.equal(await driver.state(), 'live');
  await driver.run('echo seen by both');
  await tab.shows('seen by both');
  await tab.page.reload();
  await tab.is('watching');
  await tab.page.goBack();
  await tab.says(/In use/);
  await line(tab, await driver.session()).getByRole('link', { name: /^Take up/ }).click();
  await tab.is('live');
  await driver.is('taken_over');
});

test('one who looks on and takes control has it after a reload as well', async (stage) => {
  const driver = await stage.shell('router');
  const tab = await (await stage.window()).open(`/s/${await driver.session()}?role=watcher`);
  await tab.is('watching');
  await tab.page.getByRole('button', { name: 'Take control' }).click();
  await tab.is('live');
  await tab.page.reload();
  await tab.is('live');
});

test('a search finds what matches, stands in the address, and says when nothing does', async (stage) => {
  const one = await stage.shell('router');
  const two = await (await stage.open(`/d/${stage.world.device('kiosk').id}`)).shell();
  const [router, kiosk] = [await one.session(), await two.session()];
  const tab = await list(stage);
  await line(tab, kiosk).waitFor();
  const search = tab.page.getByRole('searchbox', { name: 'Search' });
  await search.fill('ROUTER demo');
  await line(tab, kiosk).waitFor({ state: 'detached' });
  await line(tab, router).waitFor();
  await tab.until(() => location.search === '?q=ROUTER+demo');
  await tab.page.reload();
  await line(tab, router).waitFor();
  assert.equal(await line(tab, kiosk).count(), 0);
  await search.fill('nobody');
  await tab.says(/No session matches/);
  await tab.page.getByRole('button', { name: 'Clear the search' }).click();
  await line(tab, kiosk).waitFor();
  await tab.page.getByRole('combobox', { name: 'State' }).selectOption('Nobody attached');
  await tab.says(/No session matches/);
});

test('the ended ones are read page by page, and searched by the broker', async (stage) => {
  const { world } = stage;
  const device = world.device('kiosk').id;
  const ids = [];
  for (let n = 0; n < 55; n += 1) {
    const { id } = await world.ask('POST', 'sessions', { device, cols: 80, rows: 24 });
    await world.ask('DELETE', `sessions/${id}?reason=case-${n}-`);
    ids.push(id);
  }
  const tab = await list(stage, '?show=ended');
  const reasons = async () => {
    const texts = await tab.page.locator('.ending .sentence').allInnerTexts();
    return texts.map((text) => Number(/case-(\d+)-/.exec(text)?.[1])).filter((number) => !Number.isNaN(number));
  };
  await tab.says(/case-54-/);
  await tab.page.getByRole('button', { name: 'Show older ones' }).click();
  await tab.says(/case-0-/);
  assert.deepEqual(await reasons(), Array.from({ length: 55 }, (_, n) => 54 - n), 'each once, the last one first');
  // What ends meanwhile comes on top, and what was read stays.
  const { id } = await world.ask('POST', 'sessions', { device, cols: 80, rows: 24 });
  await world.ask('DELETE', `sessions/${id}?reason=case-55-`);
  await tab.says(/case-55-/);
  assert.deepEqual(await reasons(), Array.from({ length: 56 }, (_, n) => 55 - n));
  await tab.page.getByRole('searchbox', { name: 'Search' }).fill('KIOSK case-7-');
  await tab.until(() => document.querySelectorAll('.ending').length === 1);
  assert.deepEqual(await reasons(), [7]);
});

test('while the broker is away the list stays, says how old it is, and goes on by itself', async (stage) => {
  const { world } = stage;
  stage.announce(/link|broker|WebSocket|connection/);
  const terminal = await stage.shell('router');
  const session = await terminal.session();
  const tab = await list(stage);
  for (const window of stage.windows) window.expect(/ERR_|WebSocket|Failed to load/);
  await line(tab, session).waitFor();
  await world.broker.stop({ signal: 'SIGKILL' });
  await tab.says(/The broker cannot be reached; trying again\. What you see is from \d/);
  await line(tab, session).waitFor();
  await world.runBroker();
  await tab.until(() => !/cannot be reached/.test(window.__test.words()), null, { within: 20_000 });
  await eventually('the devices', async () => {
    const { devices } = await world.ask('GET', 'devices');
    return devices.every(({ state }) => state === 'online');
  });
});
