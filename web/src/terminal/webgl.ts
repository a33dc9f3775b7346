// Drawing by the graphics card, for who asks for it (`?renderer=webgl`). The DOM is the default:
// it is exact, readable by other programs, and never loses its context.

import { WebglAddon } from "@xterm/addon-webgl";
import type { Terminal } from "@xterm/xterm";

/** Switches to the graphics card; back to the DOM when it takes the context away. */
export function drawByWebgl(term: Terminal): void {
  const addon = new WebglAddon();
  addon.onContextLoss(() => addon.dispose());
  term.loadAddon(addon);
}
