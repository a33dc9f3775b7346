// One xterm.js in its frame, with the shields around it. It knows no session and no network: what
// a person does comes out as events, what a program prints goes in by `write` and `rebuild`.

import { FitAddon } from "@xterm/addon-fit";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { type IDisposable, type ILinkHandler, Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";

import { copyText } from "./clipboard";
import { colours } from "./colours";
import { Debounce } from "./debounce";
import { gapSequence } from "./gap";
import { actionOf } from "./keys";
import { bracket, cleanPaste, runsAtOnce } from "./paste";
import { Replay } from "./replay";
import { cleanTitle, clipboardWrite, safeLink } from "./untrusted";

/** Cells, and the pixels that they take. */
export interface PaneSize {
  cols: number;
  rows: number;
  xpx: number;
  ypx: number;
}

export interface PaneEvents {
  /** Keys, and what the terminal answers by itself. */
  typed(data: string | Uint8Array): void;
  /** A paste, cleaned, and bracketed where the program asked for it. */
  pasted(text: string): void;
  /** The frame has room for this many cells now. */
  resized(size: PaneSize): void;
  title(text: string): void;
  bell(): void;
  /** Ctrl+Shift+L: the keyboard is to leave the terminal. */
  leave(): void;
  /** The pointer is on a link (its target), or no longer on one (null). */
  link(target: string | null): void;
  /** A paste that would run at once: whether to send it. */
  askPaste(cleaned: string): Promise<boolean>;
  /** The program wants to write this to the clipboard: whether it may. */
  askClipboard(text: string): Promise<boolean>;
}

const FONT =
  'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';
const SCROLLBACK_LINES = 10_000;

export class Pane {
  readonly term: Terminal;
  private readonly fitAddon = new FitAddon();
  private readonly refit = new Debounce(() => this.fit(), 100, 300);
  private readonly watched = new ResizeObserver(() => this.refit.call());
  private readonly viewportChanged = () => this.refit.call();
  private readonly disposables: IDisposable[] = [];
  private readonly replay: Replay;
  /** Snapshots that wait to be drawn: the screen has their size, not the frame's. */
  private rebuilding = 0;
  private gapBytes = 0;
  /** A watcher shows the driver's size, whatever room there is. */
  private fixed = false;
  private told = "";

  constructor(
    private readonly host: HTMLElement,
    private readonly events: PaneEvents,
    theme: "dark" | "light",
  ) {
    this.term = new Terminal({
      allowProposedApi: true, // unicode11 and the parser's own handlers
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: FONT,
      fontSize: 14,
      linkHandler: this.linkHandler(),
      macOptionClickForcesSelection: true,
      minimumContrastRatio: 4.5,
      scrollback: SCROLLBACK_LINES,
      theme: colours[theme],
    });
    this.replay = new Replay(this.term);
    this.term.loadAddon(this.fitAddon);
    this.term.loadAddon(new Unicode11Addon());
    this.term.unicode.activeVersion = "11";
    this.term.open(host);
    if (this.term.textarea) this.term.textarea.tabIndex = -1; // the frame is the tab stop
    this.listen();
    this.watched.observe(host);
    visualViewport?.addEventListener("resize", this.viewportChanged);
    this.fit();
  }

  get size(): PaneSize {
    const screen = this.host.querySelector(".xterm-screen");
    const { cols, rows } = this.term;
    return { cols, rows, xpx: screen?.clientWidth ?? 0, ypx: screen?.clientHeight ?? 0 };
  }

  /** Output. `done` is called when it was parsed; a `replay` has no effect but on the screen. */
  write(bytes: Uint8Array, done: () => void, replay: boolean): void {
    (replay ? this.replay : this.term).write(bytes, done);
  }

  /** So much output is gone; shown as a ruler when the snapshot that follows is drawn. */
  gap(bytes: number): void {
    this.gapBytes += bytes;
  }

  /** Draws a snapshot of the screen in place of what is there. */
  rebuild(cols: number, rows: number, bytes: Uint8Array, done: () => void): void {
    this.rebuilding += 1;
    // In band, so that output that is still waiting to be parsed comes before it.
    this.term.write(this.gapBytes > 0 ? gapSequence(this.gapBytes, cols, rows) : "\x1bc");
    this.gapBytes = 0;
    this.term.resize(cols, rows);
    this.replay.write(bytes, () => {
      this.rebuilding -= 1;
      this.fit();
      done();
    });
  }

  /** Shows exactly this size (a watcher), or as much as there is room for (null). */
  fix(size: { cols: number; rows: number } | null): void {
    this.fixed = size !== null;
    if (size) this.term.resize(size.cols, size.rows);
    else this.fit();
  }

  set theme(theme: "dark" | "light") {
    this.term.options.theme = colours[theme];
  }

  set readerMode(on: boolean) {
    this.term.options.screenReaderMode = on;
  }

  /** Nothing that is typed, and no answer of the terminal, goes anywhere. */
  set inert(inert: boolean) {
    this.term.options.disableStdin = inert;
    this.term.options.cursorInactiveStyle = inert ? "none" : "outline";
  }

  focus(): void {
    this.term.focus();
  }

  dispose(): void {
    this.refit.cancel();
    this.watched.disconnect();
    visualViewport?.removeEventListener("resize", this.viewportChanged);
    for (const disposable of this.disposables) disposable.dispose();
    this.term.dispose();
  }

  private fit(): void {
    if (this.fixed || this.rebuilding > 0) return;
    this.fitAddon.fit();
    const size = this.size;
    const said = Object.values(size).join();
    if (said === this.told) return;
    this.told = said;
    this.events.resized(size);
  }

  private listen(): void {
    const { term, events } = this;
    term.attachCustomKeyEventHandler((event) => this.key(event));
    // In the capture phase on the frame: xterm.js's own paste handler never sees the event.
    this.host.addEventListener("paste", (event) => this.paste(event), { capture: true });
    this.disposables.push(
      term.onData((data) => {
        if (!this.replay.answers(data)) events.typed(data);
      }),
      term.onBinary((data) => {
        if (!this.replay.going) events.typed(Uint8Array.from(data, (c) => c.charCodeAt(0)));
      }),
      term.onTitleChange((title) => events.title(cleanTitle(title))),
      term.onBell(() => this.replay.going || events.bell()),
      term.parser.registerOscHandler(52, (data) => this.programCopies(data)),
    );
    const { activate, hover, leave } = this.linkHandler();
    const range = { start: { x: 0, y: 0 }, end: { x: 0, y: 0 } };
    term.loadAddon(
      new WebLinksAddon((event, text) => activate(event, text, range), {
        hover: (event, text) => hover?.(event, text, range),
        leave: (event, text) => leave?.(event, text, range),
      }),
    );
  }

  private key(event: KeyboardEvent): boolean {
    const action = actionOf(event);
    if (action.do === "pass") return true;
    if (action.do === "browser") return false;
    event.preventDefault();
    if (event.type !== "keydown") return false;
    if (action.do === "copy") this.copy();
    if (action.do === "leave") this.events.leave();
    if (action.do === "send") this.term.input(action.data);
    return false;
  }

  private copy(): void {
    const text = this.term.getSelection();
    if (text !== "") void copyText(text);
  }

  private async paste(event: ClipboardEvent): Promise<void> {
    event.preventDefault();
    event.stopPropagation();
    const text = cleanPaste(event.clipboardData?.getData("text/plain") ?? "");
    if (text === "" || this.term.options.disableStdin) return;
    const bracketed = () => this.term.modes.bracketedPasteMode;
    if (!bracketed() && runsAtOnce(text) && !(await this.events.askPaste(text))) return;
    this.term.scrollToBottom();
    this.events.pasted(bracketed() ? bracket(text) : text);
  }

  private programCopies(data: string): true {
    const text = clipboardWrite(data);
    if (text !== null && !this.replay.going && document.hasFocus()) {
      void this.events.askClipboard(text).then((may) => may && copyText(text));
    }
    return true;
  }

  /** Both kinds of links, the program's own (OSC 8) and those found in text: opened with Ctrl or Cmd. */
  private linkHandler(): ILinkHandler {
    return {
      allowNonHttpProtocols: true, // mailto; `safeLink` decides
      activate: (event, text) => {
        const target = safeLink(text);
        if (target !== null && (event.ctrlKey || event.metaKey)) {
          open(target, "_blank", "noopener,noreferrer");
        }
      },
      hover: (_event, text) => this.events.link(safeLink(text)),
      leave: () => this.events.link(null),
    };
  }
}
