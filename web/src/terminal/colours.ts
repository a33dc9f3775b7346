// The terminal's colours in both themes. Where a program picks two that are hard to tell apart,
// xterm.js moves the foreground until they differ by 4.5 to 1 (WCAG 1.4.3).

import type { ITheme } from "@xterm/xterm";

const dark: ITheme = {
  background: "#0e1216",
  foreground: "#dde3ea",
  cursor: "#7cc4ee",
  cursorAccent: "#0e1216",
  selectionBackground: "#2d4a60",
  selectionInactiveBackground: "#26333e",
  black: "#3b4550",
  red: "#f2777a",
  green: "#7fc98b",
  yellow: "#e3c169",
  blue: "#77aef0",
  magenta: "#cb9bf0",
  cyan: "#68c8cf",
  white: "#c7d0da",
  brightBlack: "#8593a1",
  brightRed: "#ff9a9c",
  brightGreen: "#9fe0a9",
  brightYellow: "#f4d88b",
  brightBlue: "#9cc8ff",
  brightMagenta: "#dfbbff",
  brightCyan: "#90e2e7",
  brightWhite: "#f4f7fa",
};

const light: ITheme = {
  background: "#ffffff",
  foreground: "#1c2329",
  cursor: "#0b6397",
  cursorAccent: "#ffffff",
  selectionBackground: "#b9daf0",
  selectionInactiveBackground: "#dbe6ee",
  black: "#1c2329",
  red: "#b3261e",
  green: "#1e6b34",
  yellow: "#7a5600",
  blue: "#0b57a4",
  magenta: "#8033a8",
  cyan: "#0a6570",
  white: "#59636e",
  brightBlack: "#5c6670",
  brightRed: "#c9342b",
  brightGreen: "#267a3f",
  brightYellow: "#8a6100",
  brightBlue: "#1767bd",
  brightMagenta: "#9440bd",
  brightCyan: "#107783",
  brightWhite: "#3a434c",
};

export const colours = { dark, light };
