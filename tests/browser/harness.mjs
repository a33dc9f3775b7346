// What every test of this folder stands on: a world of real programs and a real browser for each
// file, and for each test a window of its own and a look at the logs afterwards.
//
// In reading order: world.mjs (broker, agents, sshd), relay.mjs (bad networks), browser.mjs
// (Chromium and what no page may do), tab.mjs (a terminal as a person uses it), in-page.mjs (what
// is looked at inside the page), logs.mjs, process.mjs, wait.mjs.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launch, Window } from './harness/browser.mjs';
import { World } from './harness/world.mjs';

export { launch, packages, Window } from './harness/browser.mjs';
export { descendants, gone, isAlive } from './harness/process.mjs';
export { Relay } from './harness/relay.mjs';
export { Tab } from './harness/tab.mjs';
export { eventually } from './harness/wait.mjs';
export { PASSWORD, ROOT, World } from './harness/world.mjs';

/** What a test is given. */
class Stage {
  announced = [];
  windows = [];

  constructor(world, browser) {
    this.world = world;
    this.browser = browser;
  }

  /** Lines of a log with this pattern are part of the test. */
  announce(pattern) {
    this.announced.push(pattern);
  }

  /** Another window with a profile of its own. */
  async window(options) {
    const window = await Window.open(this.browser, this.world, options);
    this.windows.push(window);
    return window;
  }

  /** Opens a page in the test's first window. */
  async open(path) {
    if (this.windows.length === 0) await this.window();
    return this.windows[0].open(path);
  }

  /** A tab with a shell on the device, its prompt shown. */
  async shell(device = 'device', query = '') {
    const tab = await this.open(`/d/${this.world.device(device).id}${query}`);
    return tab.shell();
  }

  /** What the programs and pages did that no test may leave unsaid. */
  async complaints() {
    const ofPages = await Promise.all(this.windows.map((window) => window.complaints()));
    return [...ofPages.flat(), ...this.world.complaints(this.announced)];
  }

  async report(name) {
    for (const window of this.windows) {
      const pictures = await window.pictures(this.world.dir, name);
      console.error(`what the tabs showed: ${pictures.join(' ')}\n${window.faults.join('\n')}`);
    }
    console.error(this.world.tails());
  }

  async clear() {
    for (const window of this.windows) await window.close();
    this.world.relay?.plan(() => ({}));
    this.world.relay?.heal();
    await this.world.endSessions();
    this.world.complaints([]);
  }
}

/** The world of this file; gives the function that declares its tests. */
export function scene(setup = {}) {
  let world;
  let browser;
  let failed = false;

  before(async () => {
    world = await World.start(setup);
    browser = await launch();
  }, { timeout: 60_000 });
  after(async () => {
    await browser?.close();
    await world?.stop({ keep: failed });
  }, { timeout: 60_000 });

  /** Declares a test named as the sentence that it proves. */
  return (sentence, body, { timeout = 60_000 } = {}) =>
    test(sentence, { timeout }, async (t) => {
      const stage = new Stage(world, browser);
      try {
        await body(stage, t);
        assert.deepEqual(await stage.complaints(), [], 'nobody announced this');
      } catch (error) {
        failed = true;
        await stage.report(sentence);
        throw error;
      } finally {
        await stage.clear();
      }
    });
}
