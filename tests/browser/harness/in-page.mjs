// What tests look at in the page itself. `install` runs in the page, before its own scripts: it
// can name nothing from this file.

export function install() {
  const term = () => window.__moorline?.term;
  const PROMPT = /^\[(\d+)\]> $/;
  const line = (buffer, y) => buffer.getLine(y)?.translateToString(true) ?? '';

  window.__violations = [];
  document.addEventListener('securitypolicyviolation', (event) => {
    window.__violations.push(`${event.violatedDirective} ${event.blockedURI}`);
  });

  window.__test = {
    state: () => window.__moorline?.state(),

    /** What is on the screen, line by line. */
    screen() {
      const buffer = term()?.buffer.active;
      if (!buffer) return [];
      return Array.from({ length: term().rows }, (_, y) => line(buffer, buffer.baseY + y).trimEnd());
    },

    /** What the page says around the terminal. */
    words() {
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ALL, (node) => {
        if (node instanceof Element) {
          const shown = !node.matches('.xterm, script, style') && node.checkVisibility();
          return shown ? NodeFilter.FILTER_SKIP : NodeFilter.FILTER_REJECT;
        }
        return node.nodeType === Node.TEXT_NODE ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_SKIP;
      });
      const texts = [];
      while (walker.nextNode()) texts.push(walker.currentNode.data.trim());
      return texts.filter((text) => text !== '').join(' ');
    },

    /** Scrollback and screen, wrapped lines joined. */
    everything() {
      const buffer = term().buffer.active;
      const lines = [];
      for (let y = 0; y < buffer.length; y += 1) {
        const text = buffer.getLine(y).translateToString(!buffer.getLine(y + 1)?.isWrapped);
        if (buffer.getLine(y).isWrapped) lines[lines.length - 1] += text;
        else lines.push(text);
      }
      return lines;
    },

    /** Characters and width of every cell of the screen. */
    cells() {
      const buffer = term().buffer.active;
      return Array.from({ length: term().rows }, (_, y) => {
        const row = buffer.getLine(buffer.baseY + y);
        return Array.from({ length: term().cols }, (_, x) => {
          const cell = row.getCell(x);
          return `${cell.getChars()}/${cell.getWidth()}`;
        });
      });
    },

    /** The number of the prompt that the cursor stands at, or null. */
    prompt() {
      const buffer = term()?.buffer.active;
      const row = buffer?.getLine(buffer.baseY + buffer.cursorY);
      const found = PROMPT.exec(row?.translateToString(false, 0, buffer.cursorX) ?? '');
      return found ? Number(found[1]) : null;
    },

    /**
     * Keeps a copy of up to `capacity` bytes of what is given to the terminal from now on.
     * (Kept whole and not hashed on the way: the browser's own SHA-256 takes one piece.)
     */
    record(capacity) {
      const kept = { bytes: new Uint8Array(capacity), length: 0, pieces: 0, rebuilt: 0 };
      const write = term().write;
      term().write = function (data, done) {
        if (typeof data === 'string') kept.rebuilt += 1;
        else {
          kept.pieces += 1;
          kept.bytes.set(data.subarray(0, capacity - kept.length), kept.length);
          kept.length = Math.min(capacity, kept.length + data.length);
        }
        return write.call(this, data, done);
      };
      window.__test.recorded = kept;
    },

    /** What was recorded, as text. */
    recordedText() {
      const { bytes, length } = window.__test.recorded;
      return new TextDecoder().decode(bytes.subarray(0, length));
    },
  };
}
