// What the end of a connection means, and when to try again.

import { type CodeInfo, codeByNumber } from "./codes";

/** What to do when a connection has ended with a code.
 *
 * - `again`: reconnect, waiting longer each time
 * - `at_once`: reconnect now: only the way behind the broker broke, and the device keeps the shell
 * - `soon`: reconnect within 2 s; the broker is being restarted
 * - `once`: reconnect once; a second time in a row is a fault
 * - `new_ticket`: ask for a ticket, then reconnect
 * - `taken_over`: somebody else types now; reconnect only when told to
 * - `ended`: the session is over
 * - `failed`: trying again is of no use
 */
export type Meaning =
  | "again"
  | "at_once"
  | "soon"
  | "once"
  | "new_ticket"
  | "taken_over"
  | "ended"
  | "failed";

const MEANINGS: Record<number, Meaning> = {
  1000: "ended",
  1001: "soon",
  1009: "failed",
  1012: "soon",
  4400: "once",
  4402: "new_ticket",
  4408: "again",
  4409: "taken_over",
  4410: "ended",
  4413: "failed",
  4430: "ended",
  4440: "ended",
  4441: "ended",
  4442: "ended",
  4450: "ended",
  4457: "at_once",
  // The host replaced this connection by one of the same viewer: a copy of this tab.
  4475: "taken_over",
  4474: "again",
  4500: "again",
  4503: "again",
  4505: "again",
  4506: "soon",
};

/** The network broke, or a proxy closed without a word. */
export const NETWORK = 1006;

/** What a close code, or the code of an error message before it, means. */
export function meaningOf(number: number): Meaning {
  const meaning = MEANINGS[number];
  if (meaning) return meaning;
  // A code of ours that is not listed says that it cannot be; anything else is the network.
  return number >= 4400 && number < 4600 ? "failed" : "again";
}

/** The words for a close code. */
export function wordsOf(number: number): CodeInfo {
  const known = codeByNumber(number);
  if (known) return known;
  const [name, sentence, remedy] =
    number === 1000
      ? ["exited", "The shell exited.", "Open a new session."]
      : number === 1001 || number === 1012
        ? ["going_away", "The broker is being restarted.", "This comes back by itself."]
        : ["network", "The connection to Moorline broke.", "This comes back by itself."];
  return { number, name, status: 503, sentence, remedy };
}

// A broker that is started again after a second or two is found within another one: the waits grow
// only when it has been away for longer than that.
const WAITS_MS = [250, 500, ...Array<number>(12).fill(1_000), 2_000, 4_000, 8_000, 10_000];

/** How long to wait before the try of this number (from 0): full jitter, so that a thousand pages
 * do not come back in one second. `random` is in 0..1. */
export function waitBefore(attempt: number, random: number): number {
  const longest = WAITS_MS[Math.min(attempt, WAITS_MS.length - 1)] as number;
  return Math.round(random * longest);
}

/** How long to wait when the broker is being restarted. */
export function waitForRestart(random: number): number {
  return Math.round(random * 2_000);
}
