// The page of the actors: a live tree of who works in the broker, and how they are.

import assert from 'node:assert/strict';

import { scene } from './harness.mjs';

const test = scene({
  devices: { router: 'embedded', kiosk: 'embedded' },
  faults: true,
  // A device that goes is given up soon.
  broker: {
    'timing.link_ping': '500ms',
    'timing.link_unstable': '1s',
    'timing.link_dead': '2s',
    'timing.link_resume_within': '3s',
  },
});

/** A line of the tree, by what stands in it. */
const line = (tab, text) => tab.page.getByRole('row').filter({ hasText: text });

/** The page of the actors, in a window of its own. */
async function tree(stage, query = '') {
  return (await stage.window()).open(`/actors${query}`);
}

test("a device's connection stands in the tree, goes with its agent, and comes back with it", async (stage) => {
  stage.announce(/link/);
  const { world } = stage;
  const device = world.device('kiosk');
  const tab = await tree(stage);
  await line(tab, device.id).waitFor();
  const [above] = await line(tab, 'Device directory').allInnerTexts();
  assert.match(above, /Device directory\s*2/, 'with how many stand below it');
  await device.agent.stop();
  await line(tab, device.id).waitFor({ state: 'detached' });
  await line(tab, world.device('router').id).waitFor();
  await world.startAgent(device);
  await line(tab, device.id).waitFor();
});

test('an actor that panicked is shown at once as unhealthy, with what happened and when', async (stage) => {
  stage.announce(/panicked|made to fail|taken up again/);
  const terminal = await stage.shell('router');
  const session = await terminal.session();
  const tab = await tree(stage);
  await line(tab, session).waitFor();
  await tab.page.getByRole('checkbox', { name: /Only the unhealthy/ }).check();
  await tab.says(/Every actor is well/);
  await stage.world.panic(session);
  await line(tab, session).waitFor();
  await tab.says(/Unhealthy .*1 panicked \d+ s ago/s);
  await tab.says(/Only the unhealthy \(1\)/);
  const told = await line(tab, session).locator('time').getAttribute('title');
  assert.match(told, /\d{4}.*\d:\d\d:\d\d/, 'when exactly');
  await tab.page.getByRole('button', { name: /SSH sessions/ }).click();
  await tab.until(() => location.search === '?kind=ssh_session&only=unhealthy');
  await tab.page.reload();
  await line(tab, session).waitFor();
  assert.equal(await line(tab, 'Device').count(), 0, 'of this kind only');
  // The shell goes on, and leads to where it can be ended.
  await terminal.is('live');
  await line(tab, session).getByRole('link').click();
  await tab.says(/Sessions .*In use/s);
});

test('those who look are told apart, each as long as they do', async (stage) => {
  const tab = await tree(stage);
  await line(tab, 'Device directory').waitFor();
  assert.equal(await line(tab, 'User connection').count(), 0);
  const terminal = await stage.shell('router');
  await line(tab, 'User connections').waitFor();
  assert.equal(await line(tab, /User connection\s/).count(), 1);
  await terminal.page.close();
  await line(tab, 'User connection').first().waitFor({ state: 'detached' });
});

/** Waits until the keyboard is at this line, as a screen reader is told of it. */
function isAt(tab, wanted) {
  const look = (name) => {
    const table = document.querySelector('[role=treegrid]');
    const row = document.getElementById(table?.getAttribute('aria-activedescendant') ?? '');
    return row && `${row.ariaLevel} ${row.querySelector('.name-words').textContent.trim()}` === name;
  };
  return tab.until(look, wanted, { what: 'the keyboard to be at' });
}

test('the tree is gone through, opened and folded by the keyboard alone', async (stage) => {
  const [router, kiosk] = ['router', 'kiosk'].map((name) => stage.world.device(name).id);
  const tab = await tree(stage, '?q=device');
  const { keyboard } = tab.page;
  await line(tab, kiosk).waitFor();
  const inTree = () => tab.page.evaluate(() => document.activeElement.getAttribute('role') === 'treegrid');
  for (let steps = 0; !(await inTree()); steps += 1) {
    assert.ok(steps < 30, 'Tab does not come to the tree');
    await keyboard.press('Tab');
  }
  const directory = '1 Device directory';
  await isAt(tab, directory);
  await keyboard.press('ArrowRight');
  await keyboard.press('ArrowDown');
  const connections = await tab.page.getByRole('row', { name: /Device connection/ }).allInnerTexts();
  assert.equal(connections.length, 2);
  await keyboard.press('Home');
  await isAt(tab, directory);
  await keyboard.press('End');
  await tab.until((ids) => ids.some((id) => document.querySelector('[aria-selected=true]').innerText.includes(id)), [router, kiosk]);
  await keyboard.press('ArrowLeft');
  await isAt(tab, directory);
  await keyboard.press('ArrowLeft');
  await line(tab, kiosk).waitFor({ state: 'detached' });
  assert.equal(await line(tab, 'Device directory').getAttribute('aria-expanded'), 'false');
  await keyboard.press('Enter');
  await line(tab, kiosk).waitFor();
  await keyboard.press('Tab');
  assert.ok(!(await inTree()), 'Tab leaves it');
});

/** A broker with very many devices, as its API would tell of them. */
function fleet(devices) {
  const actor = (number, kind, id, parent) => ({
    number, kind, id, parent, state: 'live', healthy: number !== 9000,
    mailbox: { depth: 0, high: 1, capacity: 64 }, restarts: 0, last_failure: null, uptime_seconds: 60,
  });
  const directory = { kind: 'device_directory', id: 'all' };
  return [
    actor(1, 'device_directory', 'all', null),
    actor(2, 'session_supervisor', 'all', null),
    ...Array.from({ length: devices }, (_, n) => actor(n + 3, 'device_connection', `d-${n}`, directory)),
  ];
}

test('ten thousand actors are folded, and only what is seen of them is drawn', async (stage) => {
  const window = await stage.window();
  const actors = fleet(10_000);
  await window.context.route('**/api/v1/actors?*', async (route) => {
    const query = new URL(route.request().url()).searchParams;
    const rest = actors.filter(({ number }) => number > Number(query.get('after') ?? 0));
    const page = rest.slice(0, Number(query.get('limit')));
    const next = rest.length > page.length ? page.at(-1).number : null;
    await route.fulfill({ json: { at: new Date().toISOString(), actors: page, totals: [], next } });
  });
  const tab = await window.open('/actors');
  await tab.says(/Device directory\s*10,000\s*1 unhealthy/);
  assert.equal(await tab.page.getByRole('row').count(), 3, 'head, directory, supervisor');
  await tab.page.getByRole('treegrid').focus();
  await tab.page.keyboard.press('ArrowRight');
  await line(tab, /d-0(?!\d)/).waitFor();
  assert.equal(await tab.page.getByRole('treegrid').getAttribute('aria-rowcount'), '10003');
  await tab.page.keyboard.press('End');
  await tab.page.keyboard.press('ArrowUp');
  await line(tab, /d-9999(?!\d)/).waitFor();
  assert.ok(await tab.page.getByRole('row').count() < 60, 'few lines are drawn');
  await tab.page.getByRole('searchbox', { name: 'Search' }).fill('d-77 connection');
  await tab.until(() => document.querySelector('[role=treegrid]').getAttribute('aria-rowcount') === '113');
  await tab.page.getByRole('searchbox', { name: 'Search' }).fill('');
  await tab.page.getByRole('checkbox', { name: /Only the unhealthy/ }).check();
  await line(tab, /d-8997(?!\d)/).waitFor();
  assert.equal(await tab.page.getByRole('row').count(), 3, 'head, directory, the one');
});

test('while nobody looks at the page it asks for nothing, and is up to date when somebody does', async (stage) => {
  const tab = await tree(stage);
  await line(tab, 'Device directory').waitFor();
  const asked = [];
  tab.page.on('request', (request) => asked.push(request.url()));
  const shown = (state) => tab.page.evaluate((visibility) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => visibility === 'hidden' });
    document.dispatchEvent(new Event('visibilitychange'));
  }, state);
  await tab.page.waitForResponse(/actors/);
  await shown('hidden');
  asked.length = 0;
  const terminal = await stage.shell('router');
  await terminal.run('sleep 1.5');
  assert.deepEqual(asked.filter((url) => /api/.test(url)), []);
  await shown('visible');
  await line(tab, await terminal.session()).waitFor();
});

test('a stream that is lost is told, the list goes on without it, and it comes back by itself', async (stage) => {
  const window = await stage.window();
  window.expect(/ERR_|Failed to load|MIME/);
  let broken = true;
  await window.context.route('**/api/v1/events', (route) => (broken ? route.abort() : route.continue()));
  const tab = await window.open('/actors');
  await tab.says(/The stream of events is lost; trying again/);
  const terminal = await stage.shell('kiosk');
  await line(tab, await terminal.session()).waitFor();
  broken = false;
  await tab.until(() => !/stream of events is lost/.test(window.__test.words()), null, { within: 20_000 });
});

test('while the broker is away the page says so and how old it is, and comes back by itself', async (stage) => {
  const { world } = stage;
  stage.announce(/link|broker|WebSocket|connection/);
  const window = await stage.window();
  window.expect(/ERR_|Failed to load/);
  const tab = await window.open('/actors');
  await line(tab, world.device('router').id).waitFor();
  await world.broker.stop({ signal: 'SIGKILL' });
  await tab.says(/The broker cannot be reached; trying again\. What you see is from \d/);
  await world.runBroker();
  await tab.until(() => !/cannot be reached/.test(window.__test.words()), null, { within: 20_000 });
  await line(tab, world.device('router').id).waitFor({ timeout: 30_000 });
  await line(tab, world.device('kiosk').id).waitFor({ timeout: 30_000 });
});

test('who may not see the actors is told so, with the remedy', async (stage) => {
  const window = await stage.window();
  window.expect(/403/);
  await window.context.route('**/api/v1/actors?*', (route) => route.fulfill({
    status: 403,
    json: { code: 'policy', message: 'You may not see the actors. Ask an administrator for access.', request_id: '01ABC' },
  }));
  const tab = await window.open('/actors');
  await tab.says(/This cannot be shown You may not see the actors\. Ask an administrator for access\. Request id 01ABC/);
  await window.context.unroute('**/api/v1/actors?*');
  await tab.page.getByRole('button', { name: 'Try again now' }).click();
  await line(tab, 'Device directory').waitFor();
});
