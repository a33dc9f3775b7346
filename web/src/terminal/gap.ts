// How output that is gone for good is shown: as a dim ruler between what was seen before and the
// screen as it is now.

import { amount } from "../state/time";

// Leaves whatever mode the screen was in: alternate screen, margins, mouse, focus and paste
// reports, hidden cursor. The snapshot that follows sets what is in force.
const PLAIN_SCREEN = "\x1b[?1049l\x1b[!p\x1b[?9;1000;1002;1003;1004;1005;1006;1015;2004l\x1b[?25h";

/** The line itself, as wide as the screen where its text leaves room. */
export function ruler(bytes: number, cols: number): string {
  const words = ` ${amount(bytes)} skipped while you were away `;
  const dashes = Math.max(4, cols - words.length);
  const left = "─".repeat(Math.floor(dashes / 2));
  return `${left}${words}${"─".repeat(Math.ceil(dashes / 2))}`;
}

/**
 * What is written before the snapshot instead of a reset: the old screen and the ruler move up
 * into the scrollback, and the snapshot finds an empty screen.
 */
export function gapSequence(bytes: number, cols: number, rows: number): string {
  const line = `\x1b[${rows};1H\r\n\x1b[0;2m${ruler(bytes, cols)}\x1b[0m`;
  return `${PLAIN_SCREEN}${line}${"\r\n".repeat(rows)}\x1b[H\x1b[2J`;
}
