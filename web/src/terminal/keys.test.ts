import assert from "node:assert/strict";
import { test } from "node:test";

import { actionOf, type Key } from "./keys";

function press(keys: string, keyCode = 0): Key {
  const parts = keys.split("+");
  const code = parts.at(-1) ?? "";
  return {
    type: "keydown",
    key: code.replace("Key", "").toLowerCase(),
    code,
    keyCode,
    ctrlKey: parts.includes("Ctrl"),
    shiftKey: parts.includes("Shift"),
    altKey: parts.includes("Alt"),
    metaKey: parts.includes("Meta"),
  };
}

test("copy and paste have their keys on every platform", () => {
  for (const keys of ["Ctrl+Shift+KeyC", "Ctrl+Insert", "Meta+KeyC"]) {
    assert.deepEqual(actionOf(press(keys)), { do: "copy" }, keys);
  }
  for (const keys of ["Ctrl+Shift+KeyV", "Shift+Insert", "Meta+KeyV"]) {
    assert.deepEqual(actionOf(press(keys)), { do: "browser" }, keys);
  }
});

test("what programs use stays theirs", () => {
  for (const keys of [
    "Ctrl+KeyC",
    "Ctrl+KeyV",
    "Ctrl+KeyL",
    "KeyC",
    "Tab",
    "Shift+Tab",
    "Insert",
  ]) {
    assert.deepEqual(actionOf(press(keys)), { do: "pass" }, keys);
  }
});

test("AltGr combinations are characters", () => {
  assert.deepEqual(actionOf(press("Ctrl+Alt+Shift+KeyC")), { do: "pass" });
  assert.deepEqual(actionOf(press("Ctrl+Alt+KeyQ", 229)), { do: "pass" });
});

test("Ctrl+Shift+L leaves the terminal", () => {
  assert.deepEqual(actionOf(press("Ctrl+Shift+KeyL")), { do: "leave" });
});

test("an input method does not eat Ctrl-C and Escape", () => {
  assert.deepEqual(actionOf(press("Ctrl+KeyC", 229)), { do: "send", data: "\x03" });
  assert.deepEqual(actionOf(press("Escape", 229)), { do: "send", data: "\x1b" });
  assert.deepEqual(actionOf(press("KeyN", 229)), { do: "pass" });
});
