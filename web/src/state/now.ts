// The time of day, for what counts up or down on the screen.

import { signal } from "@preact/signals";

/** `Date.now()`, brought up to date every second. */
export const now = signal(Date.now());

/** Starts the clock; it runs as long as the page. */
export function startClock(): void {
  setInterval(() => {
    now.value = Date.now();
  }, 1000);
}
