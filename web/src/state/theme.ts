// Light and dark: as the system has it, or as the person chose.

import { computed, effect, signal } from "@preact/signals";

export type ThemeChoice = "system" | "light" | "dark";

const KEY = "moorline.theme";
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(systemIsDark.matches);
systemIsDark.addEventListener("change", (event) => {
  systemDark.value = event.matches;
});

export const themeChoice = signal<ThemeChoice>(stored());

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

/** Keeps the page and the browser's memory equal to the choice. */
export function startTheme(): void {
  effect(() => {
    document.documentElement.dataset.theme = themeChoice.value;
    try {
      localStorage.setItem(KEY, themeChoice.value);
    } catch {
      // A browser that keeps nothing still shows the choice until the page goes.
    }
  });
}

function stored(): ThemeChoice {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system";
  }
}
