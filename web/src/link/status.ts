// What a person may want to know about a terminal's connection: the raw material of the words
// on the screen. A new object at each change; nothing in it is ever changed in place.

import type { Ending, LegState, Role, Size, Step } from "./protocol";

/** Where the terminal is.
 *
 * - `connecting`: the first connection, until the shell is there (`steps` tick off)
 * - `live`: attached, the shell is there (see also `network` and `device`)
 * - `reconnecting`: the connection broke; it is being made again, the shell is kept. `waiting`: the
 *   broker is there again and says what it waits for, the shell is not
 * - `taken_over`: another tab types now; `takeControl()` takes it back, `requestView()` looks on
 * - `ended`: the session is over, `ending` says why
 * - `failed`: it cannot go on, `failure` says why and what to do
 * - `closed`: `close()` was called
 */
export type Phase =
  | "connecting"
  | "live"
  | "reconnecting"
  | "taken_over"
  | "ended"
  | "failed"
  | "closed";

/** What becomes of what is typed.
 *
 * - `on`: it goes out
 * - `queued`: the connection is down for less than 2 s; it goes out when it is back
 * - `blocked`: down for longer, or the device's link is lost: `typed` and `pasted` refuse ("not sent")
 * - `off`: a watcher, not yet live, or over
 */
export type InputState = "on" | "queued" | "blocked" | "off";

/** One finished step of the setup. */
export interface StepDone {
  step: Step;
  ms: number;
}

/** Why it cannot go on (`failed`), or what went wrong last (`reconnecting`). */
export interface Failure {
  /** The number of `codes.ts`; 1006 when the network just broke. */
  number: number;
  /** The name of `codes.ts`. */
  code: string;
  text: string;
  remedy: string;
  requestId: string | null;
}

/** Everything about a terminal's connection. Times are milliseconds of `Date.now()`. */
export interface LinkStatus {
  phase: Phase;
  session: string;
  input: InputState;
  /** Bytes typed or pasted that the program has not taken yet, and since when the oldest waits. */
  inputWaiting: number;
  inputWaitingSince: number | null;
  steps: readonly StepDone[];
  /** Between page and broker: `unstable` when an answer is 3 s late. */
  network: "steady" | "unstable";
  networkSince: number;
  /** Since when the connection is down, the number of the try, when the next one is, until when the shell is kept. */
  lostSince: number | null;
  attempt: number;
  retryAt: number | null;
  keptUntil: number | null;
  /** The broker took the hello, and has yet to reach the shell: `device` says why. */
  waiting: boolean;
  /** Between broker and device. `deviceKeptUntil`: until when the device may come back. */
  device: LegState;
  deviceSince: number;
  deviceKeptUntil: number | null;
  deviceName: string;
  login: string;
  /** The shell outlives the broker. */
  keeper: boolean;
  role: Role | null;
  viewers: { drivers: number; watchers: number };
  /** The size that the driver has set (watchers show this one). */
  size: Size;
  takenOverBy: string | null;
  ending: Ending | null;
  failure: Failure | null;
  /** Bytes of output that the host has and this terminal has not parsed, as of the last answer. */
  behind: number;
  /** Round trip page to broker, and broker to device. */
  rttMs: number | null;
  deviceRttMs: number | null;
}
