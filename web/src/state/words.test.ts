import assert from "node:assert/strict";
import { test } from "node:test";

import type { LinkStatus } from "../link";
import { endingWords, stateOf, stepsFor, wordsFor } from "./words";

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
    device: "steady",
    deviceSince: 0,
    deviceKeptUntil: null,
    deviceName: "router-7",
    login: "root",
    keeper: false,
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
  assert.equal(words.sentence, "Reconnecting (try 40). Your shell may be over by now.");
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
