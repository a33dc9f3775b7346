// Questions that are asked again and again while somebody looks.

/** How often: a question that takes long is asked more rarely. */
export interface Pace {
  /** From an answer to the next question, in ms. */
  everyMs: number;
  /** The same when there is news: so long at least. */
  newsMs: number;
}

/** A question costs the broker and this page no more than a tenth of their time, or a quarter when there is news. */
const PAUSE_PER_COST = 9;
const NEWS_PAUSE_PER_COST = 3;
const PAUSE_MAX_MS = 30_000;

export interface Repeated {
  /** There is news: asks soon. */
  soon(): void;
  /** The person wants to know: asks at once. */
  now(): void;
  stop(): void;
}

/** What this stands on; a test has its own. */
export interface Surroundings {
  now(): number;
  hidden(): boolean;
  /** Tells when the page is shown or hidden; gives what ends that. */
  onVisibility(changed: () => void): () => void;
  setTimeout(then: () => void, ms: number): number;
  clearTimeout(timer: number | undefined): void;
}

/** Asks until it is stopped; never while the page is hidden, and at once when it is shown again. */
export function repeat(
  ask: () => Promise<void>,
  pace: () => Pace,
  around: Surroundings = browserSurroundings,
): Repeated {
  let timer: number | undefined;
  let stopped = false;
  let asking = false;
  let news = false;
  let answeredAt = 0;
  let cost = 0;

  function later(least: number, perCost: number): void {
    around.clearTimeout(timer);
    if (stopped || around.hidden()) return;
    const pause = Math.min(Math.max(least, perCost * cost), PAUSE_MAX_MS);
    timer = around.setTimeout(run, Math.max(0, answeredAt + pause - around.now()));
  }

  async function run(): Promise<void> {
    around.clearTimeout(timer);
    if (asking) news = true;
    if (stopped || asking || around.hidden()) return;
    const began = around.now();
    asking = true;
    news = false;
    await ask();
    asking = false;
    answeredAt = around.now();
    cost = answeredAt - began;
    if (news) later(pace().newsMs, NEWS_PAUSE_PER_COST);
    else later(pace().everyMs, PAUSE_PER_COST);
  }

  const unwatch = around.onVisibility(() => void run());
  void run();
  return {
    soon() {
      if (asking) news = true;
      else later(pace().newsMs, NEWS_PAUSE_PER_COST);
    },
    now: () => void run(),
    stop() {
      stopped = true;
      around.clearTimeout(timer);
      unwatch();
    },
  };
}

/** A page in a browser. */
export const browserSurroundings: Surroundings = {
  now: () => performance.now(),
  hidden: () => document.hidden,
  onVisibility(changed) {
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  },
  setTimeout: (then, ms) => window.setTimeout(then, ms),
  clearTimeout: (timer) => window.clearTimeout(timer),
};
