// Outside demo mode: how one gets in, and what is there for whom.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { PASSWORD, packages, scene } from './harness.mjs';

const test = scene({ people: true });

const AXE = readFileSync(packages.resolve('axe-core/axe.min.js'), 'utf8');

/** A window in which refused requests are part of the test. */
async function window(stage, options) {
  stage.announce(/nobody can log in yet/);
  const window = await stage.window(options);
  window.expect(/40[01349]/);
  return window;
}

async function logIn(tab, name, password = PASSWORD) {
  await tab.says(/Log in/);
  await tab.page.getByLabel('Name').fill(name);
  await tab.page.getByLabel('Password').fill(password);
  await tab.page.getByRole('button', { name: 'Log in', exact: true }).click();
}

async function clean(tab, what) {
  await tab.page.evaluate(AXE);
  const violations = await tab.page.evaluate(async () => {
    const found = await window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(' | ')}`);
  });
  assert.deepEqual(violations, [], what);
  const [inner, outer] = await tab.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inner <= outer, `${what}: the page is ${inner} wide in a window of ${outer}`);
}

test('a login that ends puts the terminal away, and the next one is back in the same shell', async (stage) => {
  stage.announce(/login_expired/);
  const tab = await (await window(stage)).open(`/d/${stage.world.device().id}`);
  await logIn(tab, 'anna', 'not the password');
  await tab.says(/The name or the password is not right/);
  await logIn(tab, 'anna');
  await tab.shell();
  await tab.run('token=kept');
  const session = await tab.session();
  const { logins } = await stage.world.ask('GET', 'me/logins');
  for (const { id, this: own } of logins) if (!own) await stage.world.ask('DELETE', `me/logins/${id}`);
  await tab.says(/Your login has expired/);
  assert.ok(!(await tab.words()).includes('token=kept'), 'the screen is still there');
  await logIn(tab, 'anna');
  await tab.is('live');
  assert.equal(await tab.session(), session);
  tab.number = 0;
  assert.deepEqual(await tab.run('echo "$token"'), ['kept']);
});

test('whoever is invited sets a password by a link whose secret leaves the address at once', async (stage) => {
  const made = await stage.world.ask('POST', 'people', { name: 'olga', roles: ['operator'] });
  const tab = await (await window(stage)).open(`/welcome#${made.invitation}`);
  await tab.says(/Choose the password/);
  assert.ok(!tab.page.url().includes('#'), tab.page.url());
  await clean(tab, 'the invitation');
  await tab.page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await tab.page.getByLabel('The same password again').fill('something else');
  await tab.page.getByRole('button', { name: /Set the password/ }).click();
  await tab.says(/The two passwords differ/);
  await tab.page.getByLabel('The same password again').fill(PASSWORD);
  await tab.page.getByRole('button', { name: /Set the password/ }).click();
  // An operator without a grant: there is no device, and there are no pages of administrators.
  await tab.says(/Account/);
  assert.ok(!/Grants|Audit/.test(await tab.words()), await tab.words());
  await tab.page.getByRole('button', { name: 'Log out olga' }).click();
  await tab.says(/You have logged out/);
  await logIn(tab, 'olga');
  await tab.says(/Account/);
  const again = await (await window(stage)).open(`/welcome#${made.invitation}`);
  await again.says(/This link was used before, or is over/);
});

for (const [colorScheme, width] of [['light', 320], ['dark', 1280]]) {
  test(`an administrator gives and takes, and axe finds nothing on any page, ${colorScheme} at ${width}`, async (stage) => {
    const name = `nina${width}`;
    const tab = await (await window(stage, { colorScheme, viewport: { width, height: 720 } })).open('/people');
    await tab.says(/Log in/);
    await clean(tab, 'the login');
    await logIn(tab, 'anna');
    await tab.says(/Invite somebody/);
    await tab.page.getByLabel('Name').fill(name);
    await tab.page.getByLabel('operator').check();
    await tab.page.getByRole('button', { name: 'Invite', exact: true }).click();
    await tab.says(new RegExp(`A link for ${name}`));
    assert.match(await tab.words(), /\/welcome#[\w-]{43}/);
    await clean(tab, 'people');
    await tab.page.getByRole('row', { name }).getByRole('button', { name: 'Change' }).click();
    const dialog = tab.page.getByRole('dialog');
    assert.ok(await dialog.getByLabel('operator').isChecked(), 'the role is not ticked');
    await clean(tab, 'the dialog of a person');
    await dialog.getByLabel('Groups').fill(`night,of${width}`);
    await dialog.getByLabel('watcher').check();
    await dialog.getByRole('button', { name: 'Save' }).click();
    await tab.says(new RegExp(`of${width}`));
    await tab.says(/operator, watcher/);
    const go = (place) => tab.page.getByRole('navigation').getByRole('link', { name: place }).click();
    await go('Grants');
    await tab.page.getByLabel('To whom').fill(`person:${name}`);
    await tab.page.getByLabel('On devices').fill('lab');
    await tab.page.getByLabel('As logins').fill('pi');
    await tab.page.getByRole('button', { name: 'Give', exact: true }).click();
    await tab.says(/it gives nothing/);
    await tab.page.getByLabel('shell').check();
    await tab.page.getByRole('button', { name: 'Give', exact: true }).click();
    await tab.says(new RegExp(`person:${name}`));
    await clean(tab, 'grants');
    await tab.page.getByRole('button', { name: 'Take back' }).click();
    await tab.until((who) => !window.__test.words().includes(`person:${who}`), name);
    await go('Install keys');
    await tab.page.getByLabel('What it is for').fill('the roof');
    await tab.page.getByLabel('How many devices').fill('2');
    await tab.page.getByLabel('Days until it ends').fill('400');
    await tab.page.getByRole('button', { name: 'Make', exact: true }).click();
    await tab.says(/must end within a year/);
    await tab.page.getByLabel('Days until it ends').fill('7');
    await tab.page.getByLabel('Tags of its devices').fill('lab, roof');
    await tab.page.getByRole('button', { name: 'Make', exact: true }).click();
    await tab.says(/run this on the device/);
    assert.match(await tab.words(), /printf %s 'mli_[a-z2-7]{16}_[\w-]{43}' \| moorline-agent enroll --broker ws:/);
    await tab.says(/0 of 2 times/);
    await clean(tab, 'install keys');
    await tab.page.getByRole('button', { name: 'I have it' }).click();
    assert.ok(!/mli_/.test(await tab.words()), 'the key is still there');
    await tab.page.getByRole('button', { name: 'End the install key for the roof' }).click();
    await tab.until(() => !window.__test.words().includes('the roof'));
    await go('Account');
    await tab.says(/this one/);
    await tab.page.getByLabel('What it is for').fill('ci');
    await tab.page.getByLabel('Days until it ends').fill('30');
    await tab.page.getByRole('button', { name: 'Make', exact: true }).click();
    await tab.says(/mlt_/);
    await clean(tab, 'account');
    await go('Audit');
    await tab.says(/grant remove/);
    await clean(tab, 'audit');
  });
}

test('a device that waits is approved, renamed, tagged and revoked on the page', async (stage) => {
  stage.announce(/device_revoked|device refused/);
  const expires = new Date(Date.now() + 3_600_000).toISOString();
  const made = await stage.world.ask('POST', 'install-keys', { label: 'lab', mode: 'pending', tags: ['lab'], expires });
  const agent = await stage.world.enrol('newcomer', made.key);
  const tab = await (await window(stage)).open('/devices');
  await logIn(tab, 'anna');
  await tab.says(/Waits for approval/);
  await clean(tab, 'a device that waits');
  await tab.page.getByRole('button', { name: 'Approve newcomer' }).click();
  await tab.until(() => !window.__test.words().includes('Waits for approval'));
  await tab.page.getByRole('button', { name: 'Manage newcomer' }).click();
  await tab.page.getByLabel('Name').fill('roof-\u202e1');
  await tab.page.getByRole('button', { name: 'Save' }).click();
  await tab.says(/This is no name for a device/);
  await clean(tab, 'the dialog of a device');
  await tab.page.getByLabel('Name').fill('roof-1');
  await tab.page.getByLabel('Tags').fill('lab,roof');
  await tab.page.getByRole('button', { name: 'Save' }).click();
  await tab.says(/lab, roof/);
  await tab.page.getByRole('button', { name: 'Manage roof-1' }).click();
  await tab.page.getByRole('button', { name: 'Revoke…' }).click();
  await tab.says(/its key is refused for ever/);
  await tab.page.getByRole('button', { name: 'Revoke it' }).click();
  await tab.says(/Revoked/);
  assert.equal(await tab.page.getByRole('link', { name: 'Open a shell on roof-1' }).count(), 0);
  await tab.page.getByRole('button', { name: 'Manage roof-1' }).click();
  await tab.page.getByRole('button', { name: 'Forget…' }).click();
  await tab.page.getByRole('button', { name: 'Forget it' }).click();
  await tab.until(() => !window.__test.words().includes('roof-1'));
  await agent.stop();
});

/** What an authenticator shows so many steps from now (RFC 6238). */
function codeOf(secret, steps = 0) {
  const bits = [...secret].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const tag = createHmac('sha1', key).update(counter).digest();
  const number = tag.readUInt32BE(tag[19] & 0xf) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, '0');
}

test('a second factor is set up with a picture, asked for at the next login, and reset by an administrator', async (stage) => {
  const made = await stage.world.ask('POST', 'people', { name: 'tom', roles: ['operator'] });
  await stage.world.accept(made.invitation);
  const tab = await (await window(stage)).open('/account');
  await logIn(tab, 'tom');
  await tab.says(/Set up a second factor/);
  const field = (name) => tab.page.getByLabel(name, { exact: true });
  const press = (name) => tab.page.getByRole('button', { name, exact: true }).click();
  await field('Your password').fill('not the password');
  await press('Set up');
  await tab.says(/The password is not right/);
  await field('Your password').fill(PASSWORD);
  await press('Set up');
  await tab.says(/Scan the picture/);
  const secret = /\b[A-Z2-7]{32}\b/.exec(await tab.words())[0];
  const picture = tab.page.getByRole('img', { name: /secret for your authenticator/ });
  assert.ok(await picture.evaluate((image) => image.complete && image.naturalWidth > 0), 'there is no picture');
  await clean(tab, 'the picture');
  await field('The code that it shows now').fill('000000');
  await press('Confirm');
  await tab.says(/The code is not right/);
  await field('The code that it shows now').fill(codeOf(secret, -1));
  await press('Confirm');
  await tab.says(/Recovery codes/);
  const codesOf = (words) => words.match(/\b[a-z2-7]{4}(-[a-z2-7]{4}){3}\b/g);
  const first = codesOf(await tab.words());
  assert.equal(first.length, 10);
  await clean(tab, 'the recovery codes');
  await press('I have it');
  await tab.says(/10 of your\s+recovery codes are left/);
  await clean(tab, 'an account with a second factor');
  // Other recovery codes for one of those: from then on they count, and none of the first.
  const renewal = tab.page.locator('form', { hasText: 'Make new recovery codes' });
  await renewal.getByLabel('Your password').fill(PASSWORD);
  await renewal.getByLabel('A code, or a recovery code').fill(first[3]);
  await press('Make new ones');
  await tab.says(/Recovery codes/);
  const recovery = codesOf(await tab.words());
  assert.ok(recovery.length === 10 && !recovery.some((code) => first.includes(code)), `${recovery}`);
  await press('I have it');
  await tab.says(/10 of your\s+recovery codes are left/);
  await tab.page.getByRole('button', { name: 'Log out tom' }).click();
  for (const code of [codeOf(secret), recovery[3]]) {
    await logIn(tab, 'tom');
    await tab.says(/This account needs a code as well/);
    await clean(tab, 'the second step');
    await field('Code').fill(code);
    await press('Log in');
    await tab.says(/Turn the second factor off/);
    await tab.page.getByRole('button', { name: 'Log out tom' }).click();
  }
  const root = await (await window(stage)).open('/people');
  await logIn(root, 'anna');
  await root.says(/password, second factor/);
  await root.page.getByRole('button', { name: 'Reset second factor' }).click();
  await root.says(/Be sure that it is tom/);
  await root.page.getByRole('button', { name: 'Reset', exact: true }).click();
  await root.until(() => !window.__test.words().includes('second factor'), null);
  await logIn(tab, 'tom');
  await tab.says(/Set up a second factor/);
});
