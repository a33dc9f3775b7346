// Which keys are ours before they are the program's.

/** The part of `KeyboardEvent` that decides. */
export interface Key {
  type: string;
  key: string;
  code: string;
  keyCode: number;
  ctrlKey: boolean;
  shiftKey: boolean;
  altKey: boolean;
  metaKey: boolean;
}

export type KeyAction =
  /** The program's: xterm.js goes on with it. */
  | { do: "pass" }
  /** The browser's: it fires `paste`, which we take (no permission is asked that way). */
  | { do: "browser" }
  | { do: "copy" }
  | { do: "leave" }
  /** xterm.js would lose this one; send these characters for it. */
  | { do: "send"; data: string };

/** What a key does. Of `keydown` alone: the other events of a key of ours are swallowed by the caller. */
export function actionOf(key: Key): KeyAction {
  if (key.altKey) return { do: "pass" }; // AltGr is Ctrl+Alt: never ours
  const ctrlShift = key.ctrlKey && key.shiftKey && !key.metaKey;
  if (ctrlShift && key.code === "KeyC") return { do: "copy" };
  if (ctrlShift && key.code === "KeyV") return { do: "browser" };
  if (ctrlShift && key.code === "KeyL") return { do: "leave" };
  if (key.code === "Insert" && key.ctrlKey && !key.shiftKey) return { do: "copy" };
  if (key.code === "Insert" && key.shiftKey && !key.ctrlKey) return { do: "browser" };
  const command = key.metaKey && !key.ctrlKey;
  if (command && key.code === "KeyC") return { do: "copy" };
  if (command && key.code === "KeyV") return { do: "browser" };
  return lostToTheInputMethod(key);
}

/**
 * While an input method is on, the browser says 229 for every key, and xterm.js 6.0.0 drops
 * Ctrl+letter and Esc (its issue 6065). `code` still names the key.
 */
function lostToTheInputMethod(key: Key): KeyAction {
  if (key.keyCode !== 229 || key.metaKey) return { do: "pass" };
  if (key.code === "Escape" && !key.ctrlKey) return { do: "send", data: "\x1b" };
  const letter = /^Key([A-Z])$/.exec(key.code)?.[1];
  if (!key.ctrlKey || key.shiftKey || letter === undefined) return { do: "pass" };
  return { do: "send", data: String.fromCharCode(letter.charCodeAt(0) - 64) };
}
