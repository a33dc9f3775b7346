// Many devices, many tabs, and who hears of whose end.

import assert from 'node:assert/strict';

import { eventually, gone, isAlive, scene } from './harness.mjs';

const DEVICES = { router: 'embedded', kiosk: 'embedded', server: 'openssh' };
const test = scene({ devices: DEVICES });

/** Starts children in the shell; gives the numbers of all. */
async function settle(tab) {
  // One of them ignores being hung up: the keeper does not leave it at that.
  const lines = await tab.run("sleep 4711 & one=$!; (trap '' HUP; exec sleep 4712) & echo $$ $one $!");
  const pids = lines.at(-1).split(' ').map(Number);
  assert.ok(pids.length === 3 && pids.every(isAlive), `the processes ${lines} run`);
  return pids;
}

test('the devices page lists all devices with their state in words, and opens a shell on one', async (stage) => {
  const tab = await stage.open('/');
  for (const name of Object.keys(DEVICES)) {
    const row = tab.page.getByRole('row').filter({ hasText: name });
    await row.getByText('Online').waitFor();
    await row.getByText(DEVICES[name] === 'openssh' ? 'System' : 'Embedded').waitFor();
  }
  await tab.page.getByRole('link', { name: 'Open a shell on server' }).click();
  await tab.shell();
  assert.deepEqual(await tab.run('echo on the server'), ['on the server']);
  assert.ok(await tab.page.getByRole('heading', { name: 'server' }).isVisible());
});

test('ten tabs on three devices at once: each has its own shell, and none hears of the end of another', async (stage) => {
  const names = Array.from({ length: 10 }, (_, n) => Object.keys(DEVICES)[n % 3]);
  const tabs = await Promise.all(names.map((name) => stage.shell(name)));
  const shells = [];
  for (const [n, tab] of tabs.entries()) shells.push(...(await tab.run(`mine=${n}; echo $$`)));
  assert.equal(new Set(shells).size, 10, 'ten shells');
  // They end one by one, in every way there is; after each the others answer for themselves.
  const ends = [
    (tab) => tab.enter('exit'),
    async (tab) => stage.world.ask('DELETE', `sessions/${await tab.session()}`),
    (tab) => tab.enter('kill -9 $$'),
    async (tab) => {
      await tab.page.getByRole('button', { name: 'End session' }).click();
      await tab.page.getByRole('dialog').getByRole('button', { name: 'End it' }).click();
    },
  ];
  for (let ended = 0; ended < 8; ended += 1) {
    await tabs[ended].page.bringToFront();
    await ends[ended % ends.length](tabs[ended]);
    await tabs[ended].is('ended');
    for (const [n, tab] of tabs.entries()) {
      if (n <= ended) continue;
      assert.equal(await tab.state(), 'live');
      assert.deepEqual(await tab.run('echo $mine'), [String(n)]);
    }
  }
}, { timeout: 90_000 });

for (const name of ['router', 'server']) {
  const { [name]: kind } = DEVICES;
  test(`killing a session shows who and why within 1 s and leaves no process on the device (${kind})`, async (stage, t) => {
    const [tab, other] = [await stage.shell(name), await stage.shell(name)];
    const [pids, untouched] = [await settle(tab), await settle(other)];
    const session = await tab.session();
    const watch = tab.page.evaluate(() => new Promise((done) => {
      const look = setInterval(() => {
        if (!/demo ended this session: maintenance/.test(window.__test.words())) return;
        clearInterval(look);
        done(Date.now());
      }, 10);
    }));
    const begun = Date.now();
    const answer = await stage.world.ask('DELETE', `sessions/${session}?reason=maintenance`);
    assert.deepEqual(answer, { killed: true });
    const took = (await watch) - begun;
    t.diagnostic(`told after ${took} ms`);
    assert.ok(took <= 1000, `told after ${took} ms`);
    assert.equal(await tab.state(), 'ended');
    await gone(pids, 10_000);
    assert.ok(untouched.every(isAlive), 'the other session of the device lives');
    assert.deepEqual(await other.run('echo well'), ['well']);
    assert.deepEqual(await stage.world.ask('DELETE', `sessions/${session}`), { killed: false }, 'a second kill is no error');
    const { ending } = await stage.world.ask('GET', `sessions/${session}`);
    assert.deepEqual([ending.code, ending.by], ['killed', 'demo']);
  });
}

test('when the agent is killed, the tab says that the link to the device is lost and goes on with the next one, and the others stay', async (stage) => {
  stage.announce(/ssh failed|link|keeper/);
  const [tab, other] = [await stage.shell('kiosk'), await stage.shell('router')];
  const { agent } = stage.world.device('kiosk');
  agent.kill('SIGKILL');
  await agent.ended;
  await tab.is('device_lost');
  await tab.says(/Device link lost for 0:\d\d\. Shell kept for (0:\d\d|24 h|23 h 59 min)/);
  assert.deepEqual(await other.run('echo well'), ['well']);
  await eventually('the list to say so', async () => {
    const { state } = await stage.world.ask('GET', `devices/${stage.world.device('kiosk').id}`);
    return state === 'away';
  });
  const list = await stage.open('/devices');
  await list.page.getByRole('row').filter({ hasText: 'kiosk' }).getByText(/away|link lost/i).waitFor();
  // The keeper has the shell: a new agent process is the way to it again.
  await stage.world.startAgent(stage.world.device('kiosk'));
  await tab.is('live', 30_000);
  await tab.page.bringToFront();
  assert.deepEqual(await tab.run('echo and on'), ['and on']);
});
