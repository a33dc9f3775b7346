// What the person chose for this browser: light or dark, and whether the terminal speaks to a
// screen reader.

import { computed, effect, signal } from "@preact/signals";

export type ThemeChoice = "system" | "light" | "dark";

const THEME = "moorline.theme";
const READER = "moorline.reader";
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(systemIsDark.matches);
systemIsDark.addEventListener("change", (event) => {
  systemDark.value = event.matches;
});

export const themeChoice = signal<ThemeChoice>(storedTheme());

/** xterm.js keeps a copy of the screen that readers can follow; it costs time at each line. */
export const readerMode = signal(stored(READER) === "on");

/** The theme that is shown. */
export const theme = computed<"light" | "dark">(() => {
  if (themeChoice.value !== "system") return themeChoice.value;
  return systemDark.value ? "dark" : "light";
});

/** System, light, dark, and round again. */
export function nextTheme(): void {
  const order: ThemeChoice[] = ["system", "light", "dark"];
  themeChoice.value = order[(order.indexOf(themeChoice.value) + 1) % order.length] ?? "system";
}

/** Keeps the page and the browser's memory equal to the choices. */
export function startPreferences(): void {
  effect(() => {
    document.documentElement.dataset.theme = themeChoice.value;
    store(THEME, themeChoice.value);
  });
  effect(() => store(READER, readerMode.value ? "on" : "off"));
}

function storedTheme(): ThemeChoice {
  const value = stored(THEME);
  return value === "light" || value === "dark" ? value : "system";
}

// A browser that keeps nothing still follows the choice until the page goes.
function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {}
}

function stored(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
