// What strangers try: pages of other sites, links of programs, and who reads the logs.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import http from 'node:http';

import { scene } from './harness.mjs';

const test = scene({ devices: { device: 'embedded', server: 'openssh' }, filter: 'trace' });

/** A page of another site on this machine. */
async function otherSite() {
  const server = http.createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>elsewhere</title><link rel="icon" href="data:,">');
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

test('a page of another origin can neither open a terminal, nor a session, nor read a list', async (stage) => {
  stage.announce(/origin/i);
  const mine = await stage.shell();
  const session = await mine.session();
  const site = await otherSite();
  const window = await stage.window();
  window.expect(/another host|WebSocket connection|CORS|Failed to load|net::ERR_|403/);
  try {
    const page = await window.context.newPage();
    await page.goto(`http://127.0.0.1:${site.address().port}/`);
    const found = await page.evaluate(async ({ port, session, device }) => {
      const base = `127.0.0.1:${port}/api/v1`;
      const socket = new WebSocket(`ws://${base}/sessions/${session}/terminal`, 'moorline.term.v1');
      const opened = await new Promise((done) => {
        socket.onopen = () => done('opened');
        socket.onclose = ({ code }) => done(code);
      });
      const attempt = (method, type) =>
        fetch(`http://${base}/sessions`, {
          method,
          ...(type && { headers: { 'Content-Type': type }, body: JSON.stringify({ device, cols: 80, rows: 24 }) }),
        }).then((answer) => answer.status, () => 'refused');
      const silent = await fetch(`http://${base}/sessions`, {
        method: 'POST',
        mode: 'no-cors',
        body: JSON.stringify({ device, cols: 80, rows: 24 }),
      }).then((answer) => answer.type, () => 'refused');
      return [opened, await attempt('GET'), await attempt('POST', 'application/json'), await attempt('POST', 'text/plain'), silent];
    }, { port: stage.world.port, session, device: stage.world.device().id });
    assert.deepEqual(found.slice(0, 4), [1006, 'refused', 'refused', 'refused']);
    const { sessions } = await stage.world.ask('GET', 'sessions?state=live');
    assert.deepEqual(sessions.map(({ id }) => id), [session], 'a session was made');
    assert.deepEqual(await mine.run('echo untouched'), ['untouched']);
  } finally {
    site.close();
    site.closeAllConnections();
  }
});

test('links of programs open for http, https and mailto only, and only with Ctrl', async (stage) => {
  const tab = await stage.shell();
  await tab.page.evaluate(() => {
    window.__opened = [];
    window.open = (target, ...how) => window.__opened.push([target, ...how]);
  });
  const targets = {
    safe: 'https://example.org/safe',
    plain: 'http://example.org/plain',
    post: 'mailto:anna@example.org',
    script: 'javascript:alert(1)',
    file: 'file:///etc/passwd',
    data: 'data:text/html,<script>alert(1)</script>',
    upper: 'JaVaScRiPt:alert(1)',
    blob: 'blob:https://example.org/1',
  };
  const links = Object.entries(targets).map(([word, target]) => `\x1b]8;;${target}\x1b\\${word}-link\x1b]8;;\x1b\\`);
  const file = stage.world.file('links.txt', `${links.join('\r\n')}\r\nin text https://example.org/text here\r\n`);
  await tab.run(`clear; cat ${file}`);
  const words = [...Object.keys(targets).map((word) => `${word}-link`), 'https://example.org/text'];
  for (const word of words) {
    await click(tab, word);
    await click(tab, word, ['Control']);
  }
  const opened = await tab.page.evaluate(() => window.__opened);
  assert.deepEqual(opened.map(([target]) => target), [targets.safe, targets.plain, targets.post, 'https://example.org/text']);
  assert.ok(opened.every(([, frame, features]) => frame === '_blank' && /noopener/.test(features)));
  assert.equal(tab.page.context().pages().length, 1);
});

/** Clicks into the middle of the word where it stands on the screen. */
async function click(tab, word, modifiers = []) {
  const at = await tab.page.evaluate((text) => {
    const { term } = window.__moorline;
    const screen = term.element.querySelector('.xterm-screen').getBoundingClientRect();
    const row = window.__test.screen().findIndex((line) => line.includes(text));
    const column = window.__test.screen()[row].indexOf(text) + text.length / 2;
    return {
      x: screen.x + (column * screen.width) / term.cols,
      y: screen.y + ((row + 0.5) * screen.height) / term.rows,
    };
  }, word);
  // The link is looked for when the pointer comes to it.
  await tab.page.mouse.move(at.x + 40, at.y + 200);
  await tab.page.mouse.move(at.x, at.y, { steps: 3 });
  await tab.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  for (const key of modifiers) await tab.page.keyboard.down(key);
  await tab.page.mouse.click(at.x, at.y);
  for (const key of modifiers) await tab.page.keyboard.up(key);
}

for (const device of ['device', 'server']) {
  test(`nothing that was typed, pasted or shown is in any log, at any level (${device})`, async (stage) => {
    const canary = () => `canary${randomBytes(9).toString('hex')}`;
    const [typed, pasted, shown] = [canary(), canary(), canary()];
    const tab = await stage.shell(device);
    await tab.type(`echo ${typed}`);
    await tab.press('Enter');
    await tab.shows(`\n${typed}`);
    await tab.paste(`echo ${pasted}`);
    await tab.press('Enter');
    await tab.shows(`\n${pasted}`);
    const file = stage.world.file('canary.txt', shown);
    await tab.enter(`printf '\\e]0;%s\\a' "$(cat ${file})"; cat ${file}; echo`);
    await tab.shows(`\n${shown}`);
    await tab.page.reload();
    await tab.shows(shown);
    await tab.enter('exit');
    await tab.is('ended');
    // The broker's and this device's: the other one may have had nothing to do yet.
    const chatty = stage.world.logs.filter((log) => log.text().includes('"DEBUG"'));
    assert.ok(chatty.length >= 2, 'the logs are as chatty as they can be');
    assert.ok(!stage.world.logs.some((log) => log.text().includes('"TRACE"')), 'no library writes down what it carries');
    assert.deepEqual([typed, pasted, shown].flatMap((word) => stage.world.leaks(word)), []);
  });
}

test('no ticket and no resume token is in any log or address', async (stage) => {
  const addresses = [];
  const tickets = [];
  const window = await stage.window();
  window.context.on('request', (request) => addresses.push(request.url()));
  window.context.on('page', (page) => page.on('websocket', (socket) => addresses.push(socket.url())));
  window.context.on('response', async (response) => {
    if (response.request().method() !== 'POST') return;
    const answer = await response.json().catch(() => ({}));
    if (answer.ticket) tickets.push(answer.ticket);
  });
  const tab = await (await window.open(`/d/${stage.world.device().id}`)).shell();
  const resume = () => tab.page.evaluate(() => Object.entries({ ...sessionStorage }).filter(([key]) => key.includes('resume')).map(([, value]) => value));
  const tokens = await resume();
  await tab.page.reload();
  await tab.is('live');
  tokens.push(...(await resume()), ...tickets);
  const long = tokens.join(' ').match(/[\w+/=-]{16,}/g) ?? [];
  assert.ok(long.length >= 3, `tokens were found: ${long.length}`);
  for (const token of long) {
    assert.deepEqual(stage.world.leaks(token), []);
    assert.ok(!addresses.some((address) => address.includes(token)), 'a token is in an address');
  }
});

test('a name that leads here by trickery (DNS rebinding) is answered with nothing', async (stage) => {
  stage.announce(/host/i);
  const answer = await new Promise((done, failed) => {
    const request = http.get({ host: '127.0.0.1', port: stage.world.port, path: '/api/v1/devices', headers: { Host: 'rebound.example' } }, done);
    request.on('error', failed);
  });
  assert.equal(answer.statusCode, 421);
  answer.resume();
});
