// What a paste becomes before it may go to a program.
//
// xterm.js 6.0.0 brackets a paste without taking `ESC[201~` out of it, so that a page can end the
// bracket itself and have the rest run as if typed. So every escape sequence's start and all other
// control characters are taken out here, tab and line break excepted.

/** The pasted text as keys would have typed it: one CR per line break, no other control but tab. */
export function cleanPaste(text: string): string {
  return text
    .replace(/(?:\x1b\[|\x9b)20[01]~/g, "")
    .replace(/\r\n|\n/g, "\r")
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g, "");
}

/** Wraps a cleaned paste for a program that asked for it (DECSET 2004). */
export function bracket(cleaned: string): string {
  return `\x1b[200~${cleaned}\x1b[201~`;
}

/** Whether a shell would begin to run this before the person has seen it. */
export function runsAtOnce(cleaned: string): boolean {
  return cleaned.includes("\r");
}

/** The first lines of a cleaned paste, and how many there are in all. */
export function preview(cleaned: string): { lines: string[]; total: number } {
  const lines = cleaned.replace(/\r$/, "").split("\r");
  return { lines: lines.slice(0, 8).map((line) => line.slice(0, 200)), total: lines.length };
}
