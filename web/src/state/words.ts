// What the state of a terminal is called, and what one can do about it: `LinkStatus` in, words out.

import {
  codeByName,
  type Ending,
  type Failure,
  type LinkStatus,
  type Step,
  type StepDone,
} from "../link";
import { countdown, remaining, span } from "./time";

export type Tone = "quiet" | "good" | "warn" | "bad";

/** The one word that names the state; also what `window.__moorline.state()` says. */
export type StateName =
  | "connecting"
  | "live"
  | "watching"
  | "unstable"
  | "reconnecting"
  /** The broker is there; the device, and so the shell, is not. */
  | "waiting"
  | "device_lost"
  | "taken_over"
  | "ended"
  | "failed"
  | "closed";

export interface Words {
  state: StateName;
  /** The chip: a word or two. */
  word: string;
  tone: Tone;
  /** A sentence that stays the same while the state lasts; read out once by screen readers. */
  sentence: string;
  /** What becomes of what is typed; empty while it goes out. */
  typing: string;
}

/** The name of a state. The worst of what is the case counts. */
export function stateOf(status: LinkStatus): StateName {
  const starts = status.phase === "reconnecting" || status.phase === "connecting";
  if (starts && status.waiting && status.device === "lost") return "waiting";
  if (status.phase !== "live") return status.phase;
  if (status.device === "lost") return "device_lost";
  if (status.network === "unstable" || status.device === "unstable") return "unstable";
  return status.role === "watcher" ? "watching" : "live";
}

/** The words for a state, `now` in the same clock as the status; `me` is the person who reads them. */
export function wordsFor(status: LinkStatus, now: number, me: string | null = null): Words {
  const state = stateOf(status);
  const words =
    state === "taken_over" ? takenOver(status.takenOverBy, me) : said(state, status, now);
  return { state, ...words, typing: typingWords(status) };
}

/** Whether the shell was promised for a time that is over now. */
export function mayBeOver(status: LinkStatus, now: number): boolean {
  const until = status.device === "lost" ? status.deviceKeptUntil : status.keptUntil;
  return status.phase === "reconnecting" && until !== null && until <= now;
}

type Said = Omit<Words, "state" | "typing">;

function said(state: Exclude<StateName, "taken_over">, status: LinkStatus, now: number): Said {
  switch (state) {
    case "connecting":
      return { word: "Connecting", tone: "quiet", sentence: connectingWords(status) };
    case "live":
      return { word: "Live", tone: "good", sentence: "" };
    case "watching":
      return { word: "Watching", tone: "quiet", sentence: "Somebody else types; you look on." };
    case "unstable":
      return {
        word: `Unstable, ${span(now - unstableSince(status))}`,
        tone: "warn",
        sentence: unstableWords(status),
      };
    case "waiting":
      return { word: "Device away", tone: "warn", sentence: waitingWords(status, now) };
    case "reconnecting":
      return { word: "Reconnecting", tone: "warn", sentence: reconnectingWords(status, now) };
    case "device_lost":
      return { word: "Device link lost", tone: "warn", sentence: deviceLostWords(status, now) };
    case "ended":
      return { word: "Ended", tone: "quiet", sentence: endingWords(status.ending) };
    case "failed":
      return { word: "Failed", tone: "bad", sentence: status.failure?.text ?? "It cannot go on." };
    case "closed":
      return { word: "Left", tone: "quiet", sentence: "You left; the shell is kept." };
  }
}

/** Nothing while all goes well. */
function connectingWords(status: LinkStatus): string {
  if (status.attempt < 1) return "";
  return `${status.failure?.text ?? "The broker does not answer."} Trying again (try ${status.attempt}).`;
}

function unstableSince(status: LinkStatus): number {
  return status.network === "unstable" ? status.networkSince : status.deviceSince;
}

function unstableWords(status: LinkStatus): string {
  return status.network === "unstable"
    ? "The broker answers late. What you type is kept until it is taken."
    : `The link to ${status.deviceName || "the device"} answers late. What you type is kept until it is taken.`;
}

/** "Reconnecting (try 2). Your shell is kept for 9:41." */
function reconnectingWords(status: LinkStatus, now: number): string {
  if (mayBeOver(status, now)) return OVER;
  const tries = status.attempt > 0 ? ` (try ${status.attempt})` : "";
  return `${doingWords(status)}${tries}. ${keptWords(status, status.keptUntil, now)}`;
}

function doingWords(status: LinkStatus): string {
  if (status.waiting) return "Taking your shell up again";
  const why = status.failure?.code;
  if (why === "interrupted") return "The way to the shell broke off; coming back";
  return why === "going_away" ? "The broker is being restarted; reconnecting" : "Reconnecting";
}

/** "router-7 is away. Your shell is kept for 23 h 59 min and goes on when the device is back." */
function waitingWords(status: LinkStatus, now: number): string {
  const away = `${status.deviceName || "The device"} is away.`;
  return `${away} ${keptWords(status, status.deviceKeptUntil, now)}`;
}

const OVER = "The time that your shell is kept is over.";

/** A plain shell is the broker's own: what ends the broker ends it. */
function keptWords(status: LinkStatus, until: number | null, now: number): string {
  if (until !== null && until <= now) return OVER;
  const but = status.keeper || status.waiting ? "" : " unless the broker was ended";
  return `Your shell is kept${until === null ? "" : ` for ${remaining(until - now)}`}${but}.`;
}

/** "Device link lost for 0:12. Shell kept for 0:48." */
function deviceLostWords(status: LinkStatus, now: number): string {
  const lost = `Device link lost for ${countdown(now - status.deviceSince)}.`;
  if (status.deviceKeptUntil === null) return `${lost} Shell kept.`;
  return `${lost} Shell kept for ${remaining(status.deviceKeptUntil - now)}; it goes on by itself when the device is back.`;
}

function takenOver(by: string | null, me: string | null): Said {
  const who = by !== null && by === me ? "you, in another tab" : by;
  const sentence = who
    ? `Taken over by ${who}. The shell goes on there.`
    : "This terminal was opened somewhere else.";
  return { word: "Taken over", tone: "warn", sentence };
}

/** How a session ended, and after how long: "Exited with status 0 after 12 min." */
export function endingWords(ending: Ending | null, lastedMs: number | null = null): string {
  const after = lastedMs === null ? "" : ` after ${span(lastedMs)}`;
  if (ending === null) return `The session was over${after}.`;
  if (ending.exit && "status" in ending.exit) {
    return `Exited with status ${ending.exit.status}${after}.`;
  }
  if (ending.exit && "signal" in ending.exit) {
    return `Ended by signal ${ending.exit.signal}${after}.`;
  }
  return lastedMs === null ? ending.text : `${ending.text.replace(/\.?$/, ".")} That was${after}.`;
}

/** What one can do after an ending or a failure. */
export function remedyFor(code: string): string {
  return codeByName(code)?.remedy ?? "";
}

/** A failure of the page's own making, in the link's form. */
export function failureOf(code: string, text: string, requestId: string | null): Failure {
  return { number: codeByName(code)?.number ?? 0, code, text, remedy: remedyFor(code), requestId };
}

function typingWords(status: LinkStatus): string {
  if (status.input === "queued") return "What you type is sent as soon as it is back.";
  if (status.input === "blocked") return "What you type now is not sent.";
  return "";
}

const STEPS: readonly { step: Step; words: string }[] = [
  { step: "broker", words: "Broker reached" },
  { step: "device", words: "Device answers" },
  { step: "host_key", words: "Host key checked" },
  { step: "login", words: "Logged in" },
  { step: "shell", words: "Shell started" },
];

/** Every step of the setup in order, with how long it took once it is done. */
export function stepsFor(
  done: readonly StepDone[],
): { step: Step; words: string; ms: number | null }[] {
  return STEPS.map(({ step, words }) => ({
    step,
    words,
    ms: done.find((d) => d.step === step)?.ms ?? null,
  }));
}
