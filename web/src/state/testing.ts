// A page, its clock and its stream of events, for tests of what waits, repeats and listens.

import type { Source } from "./feed";
import type { Surroundings } from "./repeat";

export class FakePage implements Surroundings {
  private at = 0;
  private isHidden = false;
  private timers = new Map<number, { at: number; then: () => void }>();
  private watchers = new Set<() => void>();
  private lastTimer = 0;

  now(): number {
    return this.at;
  }

  hidden(): boolean {
    return this.isHidden;
  }

  onVisibility(changed: () => void): () => void {
    this.watchers.add(changed);
    return () => this.watchers.delete(changed);
  }

  setTimeout(then: () => void, ms: number): number {
    this.lastTimer += 1;
    this.timers.set(this.lastTimer, { at: this.at + ms, then });
    return this.lastTimer;
  }

  clearTimeout(timer: number | undefined): void {
    if (timer !== undefined) this.timers.delete(timer);
  }

  /** Lets time pass, and every timer of that time run in its order. */
  pass(ms: number): void {
    const until = this.at + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= until);
      const next = due.sort(([, a], [, b]) => a.at - b.at)[0];
      if (!next) break;
      this.timers.delete(next[0]);
      this.at = next[1].at;
      next[1].then();
    }
    this.at = until;
  }

  show(shown: boolean): void {
    this.isHidden = !shown;
    for (const changed of [...this.watchers]) changed();
  }
}

/** A stream whose other end is the test. */
export class FakeSource implements Source {
  readyState = 0;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  private heard = new Map<string, (event: { data: string }) => void>();

  addEventListener(name: string, heard: (event: { data: string }) => void): void {
    this.heard.set(name, heard);
  }

  close(): void {
    this.readyState = 2;
  }

  opens(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  fails(readyState: number): void {
    this.readyState = readyState;
    this.onerror?.();
  }

  says(name: string, data: string): void {
    this.heard.get(name)?.({ data });
  }
}

/** Everything that waits for a promise which is kept has gone on. */
export function settled(): Promise<void> {
  return new Promise((done) => setImmediate(done));
}
