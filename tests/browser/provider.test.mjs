// Logging in by a provider on another site, with what a browser sends from there and what it does not.

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { PASSWORD, scene } from './harness.mjs';
import { Provider } from './harness/provider.mjs';

const provider = await Provider.open();
after(() => provider.close());

const test = scene({
  people: true,
  broker: {
    'oidc.issuer': provider.issuer,
    'oidc.client_id': 'moorline',
    'oidc.create': true,
    'oidc.roles': '*=operator',
    'oidc.label': 'By the bakery',
  },
});

async function window(stage) {
  stage.announce(/nobody can log in yet/);
  const window = await stage.window();
  window.expect(/40[134]/);
  window.expect(new RegExp(`to another host: ${provider.issuer}/`));
  return window;
}

const letIn = (tab) => tab.page.getByRole('link', { name: 'Let me in' }).click();

test('whoever the provider lets in is back on the page that they wanted', async (stage) => {
  provider.claims = { sub: '1', preferred_username: 'bea' };
  const tab = await (await window(stage)).open('/devices');
  await tab.page.getByRole('link', { name: 'By the bakery' }).click();
  await letIn(tab);
  await tab.says(/Account/);
  assert.equal(new URL(tab.page.url()).pathname, '/devices');
  const cookies = await tab.page.context().cookies();
  assert.deepEqual(cookies.map(({ name, httpOnly, sameSite }) => [name, httpOnly, sameSite]), [['moorline', true, 'Strict']]);
  await tab.page.getByRole('navigation').getByRole('link', { name: 'Account' }).click();
  await tab.says(/by the provider/);
  assert.ok(!/Change the password|second factor/.test(await tab.words()), 'there is no password');
});

test('one who is nobody here is told so on the login page', async (stage) => {
  provider.claims = { sub: '2', preferred_username: 'anna' };
  const tab = await (await window(stage)).open('/devices');
  await tab.page.getByRole('link', { name: 'By the bakery' }).click();
  await letIn(tab);
  await tab.says(/Nobody here belongs to that account of the login provider/);
  assert.ok(!tab.page.url().includes('refused'), tab.page.url());
  assert.deepEqual(await tab.page.context().cookies(), []);
});

test('an account is linked on the account page, and unlinked again', async (stage) => {
  provider.claims = { sub: '2', preferred_username: 'anna' };
  const tab = await (await window(stage)).open('/account');
  await tab.says(/Log in/);
  await tab.page.getByLabel('Name').fill('anna');
  await tab.page.getByLabel('Password').fill(PASSWORD);
  await tab.page.getByRole('button', { name: 'Log in', exact: true }).click();
  await tab.says(/Link with “By the bakery”/);
  await tab.page.getByLabel('Your own password').fill(PASSWORD);
  await tab.page.getByRole('button', { name: 'Link', exact: true }).click();
  await letIn(tab);
  await tab.says(/Linked with “By the bakery”/);
  await tab.page.getByRole('button', { name: 'Log out anna' }).click();
  await tab.page.getByRole('link', { name: 'By the bakery' }).click();
  await letIn(tab);
  await tab.page.getByRole('button', { name: 'Log out anna' }).waitFor();
  await tab.page.getByRole('navigation').getByRole('link', { name: 'Account' }).click();
  await tab.page.getByRole('button', { name: 'Unlink' }).click();
  await tab.says(/Your login has expired|Log in to go on/);
});

test('an administrator unlinks somebody on the page of people, and the provider lets them in no more', async (stage) => {
  provider.claims = { sub: '3', preferred_username: 'cleo' };
  const cleo = await (await window(stage)).open('/account');
  await cleo.page.getByRole('link', { name: 'By the bakery' }).click();
  await letIn(cleo);
  await cleo.page.getByRole('button', { name: 'Log out cleo' }).waitFor();
  const tab = await (await window(stage)).open('/people');
  await tab.says(/Log in/);
  await tab.page.getByLabel('Name').fill('anna');
  await tab.page.getByLabel('Password').fill(PASSWORD);
  await tab.page.getByRole('button', { name: 'Log in', exact: true }).click();
  await tab.page.getByRole('row', { name: 'cleo' }).getByRole('button', { name: 'Change' }).click();
  await tab.page.getByRole('button', { name: 'Unlink the provider…' }).click();
  await tab.says(/There is no password: give them a link/);
  await tab.page.getByRole('button', { name: 'Unlink it' }).click();
  await tab.page.getByRole('row', { name: /cleo.*nothing yet/ }).waitFor();
  // With the next thing that the page asks for.
  await cleo.page.getByRole('navigation').getByRole('link', { name: 'Devices' }).click();
  await cleo.says(/Your login has expired|Log in to go on/);
  await cleo.page.getByRole('link', { name: 'By the bakery' }).click();
  await letIn(cleo);
  await cleo.says(/Nobody here belongs to that account of the login provider/);
});
