// What the state and the end of a session are called, and what a kill will do.

import type { SessionInfo } from "../api";
import { wordsOf } from "./search";
import { span } from "./time";
import type { Tone } from "./words";

export type SessionState = SessionInfo["state"];

/** Nobody is attached: it waits to be taken up again. */
export const isAlone = ({ state }: SessionInfo) => state !== "live" && state !== "connecting";

/** In a sentence, in small letters. */
export const STATE_WORDS: Record<SessionState, string> = {
  connecting: "being opened",
  live: "in use",
  detached: "nobody attached, kept",
  device_away: "device link lost, kept",
  adrift: "kept on the device, not reachable now",
  ended: "over",
};

/** In a word or two. */
export const STATE_CHIPS: Record<SessionState, { word: string; tone: Tone }> = {
  connecting: { word: "Being opened", tone: "quiet" },
  live: { word: "In use", tone: "good" },
  detached: { word: "Nobody attached", tone: "quiet" },
  device_away: { word: "Device link lost", tone: "warn" },
  adrift: { word: "Not reachable now", tone: "warn" },
  ended: { word: "Over", tone: "quiet" },
};

/** With whom the shell ends; empty while nobody knows. */
export function keptWords({ kept }: SessionInfo): string {
  if (kept === null) return "";
  return kept ? "kept on the device" : "ends with the broker";
}

/** A session as one speaks of it: "The shell of anna on router". */
export function sessionName(session: SessionInfo): string {
  const what = session.command === null ? "The shell" : `“${session.command}”`;
  return `${what} of ${session.person} on ${session.device_name}`;
}

/** What ending it will do, before one does it. */
export function killWords(session: SessionInfo): string[] {
  const { device_name, viewers, state } = session;
  const words: string[] = [];
  if (state === "device_away" || state === "adrift") {
    words.push(
      `${device_name} is away. The session is over at once; what runs in it is ended as soon as ${device_name} is back.`,
    );
  } else {
    words.push(`What runs in it on ${device_name} is ended at once, and cannot be taken up again.`);
  }
  if (viewers === 0) words.push("Nobody is attached; the reason is kept with the session.");
  else {
    const who = viewers === 1 ? "Whoever is attached is" : `The ${viewers} who are attached are`;
    words.push(`${who} told that you ended it, and the reason.`);
  }
  return words;
}

/** What came of it. */
export function killedWords(session: SessionInfo, killed: boolean): string {
  const name = sessionName(session);
  if (!killed) return `${name} was over already.`;
  const later = session.state === "device_away" || session.state === "adrift";
  return later
    ? `${name} is ended; what runs in it ends when ${session.device_name} is back.`
    : `${name} is ended.`;
}

/** What the chip of an ended session says. */
export function endingChip(session: SessionInfo): { word: string; tone: Tone } {
  const { ending } = session;
  if (ending === null) return { word: "Ended", tone: "quiet" };
  const word = ending.code.charAt(0).toUpperCase() + ending.code.slice(1).replaceAll("_", " ");
  if (ending.code === "exited") return { word, tone: "quiet" };
  return { word, tone: "warn" };
}

/** How long it lasted; empty while that is not known. */
export function lastedWords({ started, ended }: SessionInfo): string {
  return ended === null ? "" : span(Date.parse(ended) - Date.parse(started));
}

/** What is searched in a session that goes on, in small letters. */
export function textOf(session: SessionInfo): string {
  const { id, device, device_name, login, person, command, state } = session;
  return [id, device, device_name, login, person, command ?? "", STATE_CHIPS[state].word]
    .join(" ")
    .toLowerCase();
}

/** Those in which each word stands somewhere. */
export function matching(sessions: readonly SessionInfo[], search: string): SessionInfo[] {
  const words = wordsOf(search);
  return sessions.filter((session) => {
    const text = textOf(session);
    return words.every((word) => text.includes(word));
  });
}
