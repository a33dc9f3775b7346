import assert from "node:assert/strict";
import { test } from "node:test";

import type { LinkStatus } from "../link";
import { endingWords, mayBeOver, stateOf, stepsFor, wordsFor } from "./words";

const NOW = 1_000_000;

function status(changes: Partial<LinkStatus>): LinkStatus {
  return {
    phase: "live",
    session: "s-x",
    input: "on",
    inputWaiting: 0,
    inputWaitingSince: null,
    steps: [],
    network: "steady",
    networkSince: 0,
    lostSince: null,
    attempt: 0,
    retryAt: null,
    keptUntil: null,
    waiting: false,
    device: "steady",
    deviceSince: 0,
    deviceKeptUntil: null,
    deviceName: "router-7",
    login: "root",
    keeper: true,
    role: "driver",
    viewers: { drivers: 1, watchers: 0 },
    size: { cols: 80, rows: 24, xpx: 0, ypx: 0 },
    takenOverBy: null,
    ending: null,
    failure: null,
    behind: 0,
    rttMs: null,
    deviceRttMs: null,
    ...changes,
  };
}

test("a broken connection says which try it is and how long the shell is kept", () => {
  const words = wordsFor(
    status({ phase: "reconnecting", attempt: 2, keptUntil: NOW + 581_000, input: "blocked" }),
    NOW,
  );
  assert.equal(words.sentence, "Reconnecting (try 2). Your shell is kept for 9:41.");
  assert.equal(words.typing, "What you type now is not sent.");
});

test("after its time is over the shell is not promised any more", () => {
  const words = wordsFor(status({ phase: "reconnecting", attempt: 40, keptUntil: NOW - 1 }), NOW);
  assert.equal(words.sentence, "The time that your shell is kept is over.");
});

test("a lost device link outweighs a late answer", () => {
  const lost = status({
    device: "lost",
    network: "unstable",
    deviceSince: NOW - 12_000,
    deviceKeptUntil: NOW + 48_000,
  });
  assert.equal(stateOf(lost), "device_lost");
  assert.match(wordsFor(lost, NOW).sentence, /^Device link lost for 0:12\. Shell kept for 0:48;/);
});

test("an unstable network says for how long", () => {
  const words = wordsFor(status({ network: "unstable", networkSince: NOW - 4_000 }), NOW);
  assert.equal(words.word, "Unstable, 4 s");
});

test("an ending names the status, the signal, or who and why", () => {
  assert.equal(
    endingWords({ code: "exited", text: "x", exit: { status: 3 } }),
    "Exited with status 3.",
  );
  assert.equal(
    endingWords({ code: "exited", text: "x", exit: { signal: "KILL" } }),
    "Ended by signal KILL.",
  );
  assert.equal(
    endingWords({ code: "exited", text: "x", exit: { status: 0 } }, 12 * 60_000),
    "Exited with status 0 after 12 min.",
  );
  const killed = { code: "killed", text: "anna ended this session: maintenance", by: "anna" };
  assert.equal(endingWords(killed), "anna ended this session: maintenance");
  assert.equal(
    endingWords(killed, 5_000),
    "anna ended this session: maintenance. That was after 5 s.",
  );
});

test("every phase has its words", () => {
  for (const phase of [
    "connecting",
    "live",
    "reconnecting",
    "taken_over",
    "ended",
    "failed",
    "closed",
  ] as const) {
    const words = wordsFor(status({ phase }), NOW);
    assert.ok(words.word.length > 0, phase);
    assert.equal(words.state, phase);
  }
});

test("the steps stand in their order, done or not", () => {
  const steps = stepsFor([{ step: "broker", ms: 3 }]);
  assert.deepEqual(
    steps.map((s) => s.step),
    ["broker", "device", "host_key", "login", "shell"],
  );
  assert.deepEqual(
    steps.map((s) => s.ms),
    [3, null, null, null, null],
  );
});

test("a device that is away is named, with how long the shell is kept", () => {
  const away = status({
    phase: "reconnecting",
    waiting: true,
    device: "lost",
    deviceKeptUntil: NOW + 86_340_000,
    input: "blocked",
  });
  const words = wordsFor(away, NOW);
  assert.equal(words.state, "waiting");
  assert.equal(words.sentence, "router-7 is away. Your shell is kept for 23 h 59 min.");
  assert.equal(words.typing, "What you type now is not sent.");
  assert.equal(mayBeOver(away, NOW), false);
  assert.equal(mayBeOver(away, NOW + 86_340_000), true);
});

test("a reload waits for the device in the same words", () => {
  const away = status({ phase: "connecting", waiting: true, device: "lost" });
  assert.equal(wordsFor(away, NOW).state, "waiting");
});

test("a shell that is being taken up again, an interruption and a restart have their words", () => {
  const failure = (code: string) => ({ number: 0, code, text: "", remedy: "", requestId: null });
  const sentence = (changes: Partial<LinkStatus>) =>
    wordsFor(status({ phase: "reconnecting", ...changes }), NOW).sentence;
  assert.match(sentence({ waiting: true }), /^Taking your shell up again\. /);
  assert.match(sentence({ failure: failure("interrupted") }), /^The way to the shell broke off;/);
  assert.match(sentence({ failure: failure("going_away") }), /^The broker is being restarted;/);
  assert.match(sentence({ failure: failure("network") }), /^Reconnecting\. /);
});

test("a shell without a keeper is promised only as long as the broker runs", () => {
  const plain = status({ phase: "reconnecting", keeper: false, keptUntil: NOW + 60_000 });
  assert.equal(
    wordsFor(plain, NOW).sentence,
    "Reconnecting. Your shell is kept for 1:00 unless the broker was ended.",
  );
});

test("who took it over is told as one would say it", () => {
  const taken = status({ phase: "taken_over", takenOverBy: "anna" });
  assert.match(wordsFor(taken, NOW, "anna").sentence, /^Taken over by you, in another tab\./);
  assert.match(wordsFor(taken, NOW, "ben").sentence, /^Taken over by anna\./);
});
