// Two tabs of one real browser, each with a shell on a device, reloaded again and again while the
// counted program writes and keys are typed. Told by one line of JSON as its argument:
//
//   { url, pages: [{ path, folder, command }], pauses: [ms, ...] }
//
// It leaves in each page's folder: `typed-in` (every key that was typed), `part-N` (the bytes that
// the terminal was given since the Nth load of the page) and `lines-N` (what stood in the terminal
// then, scrollback and screen). It prints `{ live: [ms, ...] }`, or fails.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { launch, Window } from '../browser/harness/browser.mjs';

const START = '\x1eSTART\x1e\r\n';
const STOP = '\x1eSTOP ';
const LIVE_WITHIN = 60_000;

const told = JSON.parse(process.argv[2]);
const world = { url: (path) => `${told.url}${path}` };

/** Runs in the page, before its own scripts: keeps every byte that the terminal is given. */
function record([start, stop]) {
  const kept = [];
  let tail = '';
  window.__chaos = {
    kept,
    /** Stamp and count of the last whole line. */
    progress: null,
    started: false,
    stopped: false,
  };
  let seen = '';
  const decoder = new TextDecoder();
  const take = (data) => {
    kept.push(data.slice());
    const text = tail + decoder.decode(data, { stream: true });
    const end = text.lastIndexOf('\n');
    tail = text.slice(end + 1);
    for (const [, stamp, taken] of text.slice(0, end + 1).matchAll(/^L \d+ (\d+) (\d+) \S+✓\r$/gm)) {
      window.__chaos.progress = { stamp: Number(stamp), taken: Number(taken) };
    }
    seen = (seen + text).slice(-text.length - 20);
    window.__chaos.started ||= seen.includes(start);
    window.__chaos.stopped ||= seen.includes(stop);
  };
  // The hook stands before anybody can write.
  let hooked = null;
  Object.defineProperty(window, '__moorline', {
    configurable: true,
    get: () => hooked,
    set(value) {
      hooked = value;
      const term = value?.term;
      if (!term || term.__recorded) return;
      term.__recorded = true;
      const write = term.write;
      // The page's own words are strings, its marks are empty; after its words comes a snapshot.
      let snapshot = false;
      term.write = function (data, done) {
        if (typeof data === 'string') snapshot = true;
        else if (data.length > 0) {
          if (!snapshot) take(data);
          snapshot = false;
        }
        return write.call(this, data, done);
      };
    },
  });
}

class Person {
  typed = '';
  loads = 0;
  typing = false;

  constructor(tab, { folder, command }) {
    Object.assign(this, { tab, page: tab.page, folder, command });
  }

  async begin() {
    await this.tab.is('live', LIVE_WITHIN);
    await this.tab.enter(this.command);
    await this.page.waitForFunction(() => window.__chaos.started, null, { timeout: 30_000 });
  }

  /** Types a line; gives how many bytes were typed with it. */
  async types() {
    const line = `k ${String(this.typed.length).padStart(8, '0')} ${Math.random().toString(16).slice(2, 10)}\n`;
    this.typed += line;
    await this.page.evaluate((text) => window.__moorline.term.input(text), line);
    return this.typed.length;
  }

  async typesFor(ms) {
    const until = performance.now() + ms;
    while (performance.now() < until) {
      await this.types();
      await new Promise((done) => setTimeout(done, 40 + 60 * Math.random()));
    }
  }

  /** Loads the page anew; gives after how long the person was live again. */
  async reloads() {
    await this.keep();
    const begun = Date.now();
    await this.page.reload({ waitUntil: 'commit' });
    await this.page.waitForFunction(() => window.__moorline?.state() === 'live', null, { timeout: LIVE_WITHIN });
    const taken = await this.types();
    await this.page.waitForFunction(
      ([after, count]) => {
        const seen = window.__chaos.progress;
        return seen && seen.stamp > after * 1000 && seen.taken >= count;
      },
      [begun, taken],
      { timeout: LIVE_WITHIN, polling: 10 },
    );
    return Date.now() - begun;
  }

  /** Writes down what the terminal was given since the page was loaded. */
  async keep() {
    const { bytes, lines } = await this.page.evaluate(() => {
      const { kept } = window.__chaos;
      let text = '';
      for (const piece of kept) for (const byte of piece) text += String.fromCharCode(byte);
      return { bytes: btoa(text), lines: window.__test.everything() };
    });
    writeFileSync(join(this.folder, `part-${this.loads}`), Buffer.from(bytes, 'base64'));
    writeFileSync(join(this.folder, `lines-${this.loads}`), lines.join('\n'));
    this.loads += 1;
  }

  async finish() {
    writeFileSync(join(this.folder, 'typed-in'), this.typed);
    const all = (count) => (window.__chaos.progress?.taken ?? 0) >= count;
    await this.page.waitForFunction(all, this.typed.length, { timeout: 20_000 }).catch(() => {});
    writeFileSync(join(this.folder, 'stop'), '');
    await this.page.waitForFunction(() => window.__chaos.stopped, null, { timeout: 30_000 });
    await this.keep();
  }
}

const browser = await launch();
const live = [];
try {
  const window = await Window.open(browser, world);
  await window.context.addInitScript(record, [START, STOP]);
  const people = [];
  for (const page of told.pages) people.push(new Person(await window.open(page.path), page));
  for (const person of people) await person.begin();
  for (const pause of told.pauses) {
    const times = await Promise.all(people.map(async (person) => {
      await person.typesFor(pause);
      return person.reloads();
    }));
    live.push(...times);
  }
  for (const person of people) await person.finish();
  process.stdout.write(`${JSON.stringify({ live })}\n`);
} catch (error) {
  console.error(error.stack ?? error);
  process.exitCode = 1;
} finally {
  await browser.close();
}
