// How the pages are for everybody: contrast, names, order, width. axe-core on each page in both
// themes and at both ends of the widths.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { packages, scene } from './harness.mjs';

const test = scene({ devices: { router: 'embedded', kiosk: 'embedded' } });

const AXE = readFileSync(packages.resolve('axe-core/axe.min.js'), 'utf8');
const WIDTHS = [320, 1280];
const THEMES = ['light', 'dark'];

// The inside of xterm.js is excluded, and nothing else: it draws one span per run of colour,
// hides the rows from readers by `aria-hidden` unless screen reader mode is on, and keeps the
// contrast of whatever colours a program picks by itself (`minimumContrastRatio: 4.5`).
const EXCLUDED = ['.xterm-screen', '.xterm-helpers', '.xterm-viewport', '.xterm-scrollable-element'];

async function clean(tab, what) {
  await tab.page.evaluate(AXE);
  const violations = await tab.page.evaluate(async (exclude) => {
    const found = await window.axe.run({ exclude }, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] });
    return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(' | ')}`);
  }, EXCLUDED);
  assert.deepEqual(violations, [], what);
  const [inner, outer] = await tab.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(inner <= outer, `${what}: the page is ${inner} wide in a window of ${outer}`);
}

for (const colorScheme of THEMES) {
  for (const width of WIDTHS) {
    const name = `${colorScheme} at ${width}`;
    const options = { colorScheme, viewport: { width, height: 720 } };

    test(`axe finds nothing on the devices page, ${name}`, async (stage) => {
      const window = await stage.window(options);
      await window.open(`/d/${stage.world.device('kiosk').id}`).then((tab) => tab.shell());
      const tab = await window.open('/');
      await tab.says(/kiosk.*Online/s);
      await tab.says(/Take up/);
      await clean(tab, 'the list with a running shell');
      await tab.page.getByRole('button', { name: 'End', exact: true }).click();
      await tab.says(/End this session\?/);
      await clean(tab, 'the question');
    });

    test(`axe finds nothing on the pages of the sessions and the actors, ${name}`, async (stage) => {
      const window = await stage.window(options);
      const sessions = await window.open('/sessions');
      await sessions.says(/No session is running/);
      await clean(sessions, 'no session');
      const terminal = await (await window.open(`/d/${stage.world.device('kiosk').id}`)).shell();
      await sessions.page.bringToFront();
      await sessions.says(/In use/);
      await clean(sessions, 'a running session');
      const actors = await window.open('/actors');
      await actors.says(/SSH session /);
      await clean(actors, 'the tree');
      await actors.page.getByRole('treegrid').focus();
      await actors.page.keyboard.press('End');
      await clean(actors, 'the tree with the keyboard in it');
      await actors.page.getByRole('searchbox', { name: 'Search' }).fill('nothing at all');
      await actors.says(/No actor matches/);
      await clean(actors, 'no match');
      await sessions.page.bringToFront();
      await sessions.page.getByRole('button', { name: /^End:/ }).click();
      await sessions.says(/End this session\?/);
      await clean(sessions, 'the question');
      await sessions.page.getByRole('textbox', { name: /Reason/ }).fill('maintenance');
      await sessions.page.getByRole('button', { name: 'End it' }).click();
      await terminal.is('ended');
      await sessions.page.getByRole('button', { name: 'Ended' }).click();
      await sessions.says(/demo ended this session: maintenance/);
      await clean(sessions, 'the ended ones');
    });

    test(`axe finds nothing on the terminal page in any of its states, ${name}`, async (stage) => {
      const window = await stage.window(options);
      window.expect(/404/);
      const tab = await (await window.open(`/d/${stage.world.device('router').id}`)).shell();
      await tab.run('ls --color=always /');
      await clean(tab, 'live');
      await tab.enter("bind 'set enable-bracketed-paste off'; cat");
      await tab.until(() => !window.__moorline.term.modes.bracketedPasteMode);
      await tab.paste('one\ntwo\n');
      await tab.says(/Paste 2 lines\?/);
      await clean(tab, 'the question about a paste');
      await tab.page.keyboard.press('Escape');
      const other = await window.open(`/s/${await tab.session()}`);
      await other.is('live');
      await tab.is('taken_over');
      await clean(tab, 'taken over');
      await stage.world.ask('DELETE', `sessions/${await other.session()}?reason=maintenance`);
      await other.is('ended');
      await clean(other, 'ended');
      const nothing = await window.open('/d/d-nothing');
      await nothing.says(/There is no device of that id/);
      await clean(nothing, 'failed');
    });
  }
}

test('the terminal can be entered and left by the keyboard alone', async (stage) => {
  const tab = await stage.shell('router');
  const focused = () => tab.page.evaluate(() => document.activeElement?.className ?? '');
  assert.match(await focused(), /xterm-helper-textarea/, 'one can type at once');
  await tab.page.keyboard.press('Tab');
  assert.match(await focused(), /xterm-helper-textarea/, 'Tab is the program\'s');
  await tab.page.keyboard.press('Control+Shift+L');
  const label = await tab.page.evaluate(() => document.activeElement?.getAttribute('aria-label'));
  assert.match(label, /Ctrl\+Shift\+L to leave/);
  await tab.page.keyboard.press('Enter');
  assert.match(await focused(), /xterm-helper-textarea/);
  await tab.page.keyboard.press('Control+Shift+L');
  await tab.page.keyboard.press('Shift+Tab');
  assert.doesNotMatch(await focused(), /xterm-helper-textarea/);
});

test('a screen reader is told the state, once, in a polite region', async (stage) => {
  const tab = await stage.shell('router');
  const told = () => tab.page.getByRole('status').allInnerTexts();
  assert.ok((await told()).some((text) => /^Live\./.test(text)), (await told()).join());
  await tab.enter('exit 4');
  await tab.is('ended');
  await tab.until(() => [...document.querySelectorAll('[role=status]')].some((one) => /^Ended\..*status 4/.test(one.textContent)));
});

test('what cannot work without scripts says so', async (stage) => {
  const window = await stage.window({ javaScriptEnabled: false });
  const page = await window.context.newPage();
  await page.goto(stage.world.url('/'));
  assert.match(await page.locator('body').innerText(), /JavaScript/);
});
