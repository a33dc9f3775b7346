// The broker speaks TLS itself: what a browser makes of it.

import assert from 'node:assert/strict';

import { eventually, PASSWORD, scene } from './harness.mjs';

// The calls of the tests themselves: that agents and clients check the certificate is shown end to end.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';

const test = scene({ people: true, secure: true });

test('over https one logs in, and works in a terminal that a renewed certificate does not break', async (stage) => {
  stage.announce(/nobody can log in yet/);
  const window = await stage.window({ ignoreHTTPSErrors: true });
  window.expect(/40[01349]/);
  const tab = await window.open(`/d/${stage.world.device().id}`);
  await tab.says(/Log in/);
  await tab.page.getByLabel('Name').fill('anna');
  await tab.page.getByLabel('Password').fill(PASSWORD);
  await tab.page.getByRole('button', { name: 'Log in', exact: true }).click();
  await tab.shell();
  assert.deepEqual(await tab.run('echo $((6*7))'), ['42']);

  const cookies = await window.context.cookies();
  const { secure, httpOnly, sameSite, path } = cookies.find(({ name }) => name === '__Host-moorline') ?? {};
  assert.deepEqual({ secure, httpOnly, sameSite, path }, { secure: true, httpOnly: true, sameSite: 'Strict', path: '/' });
  assert.ok(!cookies.some(({ name }) => name === 'moorline'), 'there is a cookie for plain http as well');

  const sockets = [];
  tab.page.on('websocket', (socket) => sockets.push(socket.url()));
  stage.world.certify();
  await eventually('the new certificate to be taken', async () => {
    const { entries } = await stage.world.ask('GET', 'audit?what=certificate_renew');
    return entries.length > 0;
  });
  assert.deepEqual(await tab.run('echo $((6*9))'), ['54']);
  assert.deepEqual(sockets, [], 'the terminal had to come back');

  // A page that is loaded anew sees the new one, and is in the same shell.
  await tab.page.reload();
  await tab.is('live');
  assert.ok(sockets.length > 0 && sockets.every((url) => url.startsWith('wss://127.0.0.1:')), sockets.join(' '));
});
