// A headless Chromium, and what no page of ours may do in any test.

import { createRequire } from 'node:module';

import { install } from './in-page.mjs';
import { Tab } from './tab.mjs';
import { ROOT, TEMPORARY } from './world.mjs';

const packages = createRequire(`${ROOT}/web/package.json`);
const { chromium } = packages('playwright-core');

/** The packages of the page, for tests that need the same ones. */
export { packages };

const FLAGS = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-dev-shm-usage',
  '--disable-gpu',
  '--disable-sync',
  '--no-first-run',
];

/** A new browser with an empty profile of its own. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.MOORLINE_CHROMIUM ?? '/usr/bin/chromium',
    env: { ...process.env, TMPDIR: TEMPORARY },
    args: [...FLAGS, ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
  });
}

/** The tabs of one test, all of one profile, and what they did. */
export class Window {
  tabs = [];
  faults = [];
  expected = [];

  static async open(browser, world, options = {}) {
    const window = new Window();
    window.world = world;
    window.context = await browser.newContext({ viewport: { width: 1000, height: 700 }, ...options });
    window.context.setDefaultTimeout(10_000);
    await window.context.addInitScript(install);
    window.context.on('request', (request) => window.requested(request.url()));
    window.context.on('page', (page) => window.watch(page));
    return window;
  }

  /** Opens a page of the broker in a new tab. */
  async open(path) {
    const page = await this.context.newPage();
    const tab = new Tab(page);
    this.tabs.push(tab);
    await page.goto(this.world.url(path));
    return tab;
  }

  /** A message of the console with this pattern is part of the test. */
  expect(pattern) {
    this.expected.push(pattern);
  }

  requested(url) {
    const { protocol, host } = new URL(url);
    const ours = host === new URL(this.world.url('/')).host || ['data:', 'blob:', 'about:'].includes(protocol);
    if (!ours) this.fault(`a request to another host: ${url}`);
  }

  watch(page) {
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) {
        this.fault(`console: ${message.text()} (${message.location().url})`);
      }
    });
    page.on('pageerror', (error) => this.fault(`uncaught: ${error.stack ?? error}`));
    page.on('websocket', (socket) => this.requested(socket.url().replace(/^ws/, 'http')));
    page.on('crash', () => this.fault('the page crashed'));
  }

  fault(text) {
    if (!this.expected.some((pattern) => pattern.test(text))) this.faults.push(text);
  }

  /** What went wrong in the tabs, the violations of their policies included. */
  async complaints() {
    for (const { page } of this.tabs) {
      if (page.isClosed() || !page.url().startsWith('http')) continue;
      const violations = await page.evaluate(() => window.__violations ?? []).catch(() => []);
      for (const violation of violations) this.fault(`policy violated: ${violation}`);
    }
    return this.faults;
  }

  /** What the tabs show, for the report of a failed test. */
  async pictures(folder, name) {
    const paths = [];
    for (const [number, { page }] of this.tabs.entries()) {
      const path = `${folder}/${name.replace(/\W+/g, '_').slice(0, 80)}-${number}.png`;
      const taken = await page.screenshot({ path, timeout: 5_000 }).catch(() => null);
      if (taken) paths.push(path);
    }
    return paths;
  }

  async close() {
    await this.context.close();
  }
}
