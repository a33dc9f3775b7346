// What a terminal page holds: the pane, the session, and what is asked or said beside them.

import { effect, signal } from "@preact/signals";

import type { Pane } from "../terminal/pane";
import { readerMode, theme } from "./preferences";
import { addressOf, go } from "./router";
import { Session, type Target, type Voice } from "./session";

/** Something that only the person can decide. */
export type Question =
  | { about: "paste"; text: string; answer: (yes: boolean) => void }
  | { about: "clipboard"; text: string; answer: (yes: boolean) => void }
  | { about: "end"; answer: (yes: boolean) => void };

declare global {
  interface Window {
    /** For programs that drive the page; nothing in the page reads it. */
    __moorline?: { readonly term: Pane["term"]; state(): string; readonly session: string };
  }
}

const NOTICE_MS = 6000;
/** How long a sentence of importance stays that nobody dismisses. */
const ANNOUNCED_MS = 60_000;

export class TerminalView implements Voice {
  readonly session = signal<Session | null>(null);
  readonly question = signal<Question | null>(null);
  readonly notice = signal("");
  readonly announced = signal("");
  readonly title = signal("");
  readonly ringing = signal(false);
  readonly linkTarget = signal<string | null>(null);
  /** A part of the page could not be fetched: the broker is away, or newer than the page. */
  readonly unloaded = signal(false);
  private pane: Pane | null = null;
  private frame: HTMLElement | null = null;
  private gone = false;
  private mayWriteClipboard: boolean | null = null;
  private noticeTimer: ReturnType<typeof setTimeout> | undefined;
  private announcedTimer: ReturnType<typeof setTimeout> | undefined;
  private stopEffect = () => {};

  constructor(private readonly target: Target) {}

  /** Builds the terminal inside `host`; `frame` is where the keyboard goes on leaving it. */
  async mount(host: HTMLElement, frame: HTMLElement): Promise<void> {
    this.frame = frame;
    const loaded = await import("../terminal/pane").catch(() => null);
    if (this.gone) return;
    if (loaded === null) {
      this.unloaded.value = true;
      return;
    }
    const { Pane } = loaded;
    const pane = new Pane(host, this.paneEvents(), theme.value);
    const session = new Session(pane, this);
    this.pane = pane;
    this.session.value = session;
    this.stopEffect = effect(() => {
      pane.theme = theme.value;
      pane.readerMode = readerMode.value;
    });
    window.__moorline = {
      term: pane.term,
      state: () => session.state,
      get session() {
        return session.id;
      },
    };
    if (new URLSearchParams(location.search).get("renderer") === "webgl") {
      void import("../terminal/webgl").then(
        ({ drawByWebgl }) => this.gone || drawByWebgl(pane.term),
      );
    }
    pane.focus();
    await session.open(this.target);
  }

  unmount(): void {
    this.gone = true;
    this.stopEffect();
    clearTimeout(this.noticeTimer);
    clearTimeout(this.announcedTimer);
    this.session.value?.leave();
    this.pane?.dispose();
    window.__moorline = undefined;
  }

  focus(): void {
    this.pane?.focus();
  }

  retryOpening(): void {
    void this.session.value?.open(this.target);
    this.focus();
  }

  retryNow(): void {
    this.session.value?.retryNow();
    this.focus();
  }

  /** Gives up on a session that is still being opened; a shell that ran before is kept. */
  cancel(): void {
    if ("device" in this.target) this.session.value?.cancel();
    go(addressOf.devices());
  }

  /** Asks whether the session is to be ended, and ends it. */
  async askToEnd(): Promise<void> {
    if (await this.ask((answer) => ({ about: "end", answer }))) this.session.value?.kill();
  }

  private paneEvents(): ConstructorParameters<typeof Pane>[1] {
    return {
      typed: (data) => this.session.value?.typed(data),
      pasted: (text) => this.session.value?.pasted(text),
      resized: () => this.session.value?.resize(),
      title: (text) => {
        this.title.value = text;
      },
      bell: () => this.ring(),
      leave: () => this.frame?.focus(),
      link: (target) => {
        this.linkTarget.value = target;
      },
      askPaste: (text) => this.ask((answer) => ({ about: "paste", text, answer })),
      askClipboard: (text) => this.askClipboard(text),
    };
  }

  /** Asked once per page: the answer holds as long as it is open. */
  private async askClipboard(text: string): Promise<boolean> {
    if (this.question.value) return false;
    this.mayWriteClipboard ??= await this.ask((answer) => ({ about: "clipboard", text, answer }));
    return this.mayWriteClipboard;
  }

  /** One question at a time; a second one is answered with no. */
  private ask(question: (answer: (yes: boolean) => void) => Question): Promise<boolean> {
    if (this.question.value) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.question.value = question((yes) => {
        this.question.value = null;
        resolve(yes);
        this.focus();
      });
    });
  }

  say(text: string): void {
    this.notice.value = text;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => {
      this.notice.value = "";
    }, NOTICE_MS);
  }

  announce(text: string): void {
    this.announced.value = text;
    clearTimeout(this.announcedTimer);
    this.announcedTimer = setTimeout(() => this.dismiss(), ANNOUNCED_MS);
  }

  /** The announced sentence was read, or is old. */
  dismiss(): void {
    this.announced.value = "";
  }

  unsay(text: string): void {
    if (this.notice.value === text) this.notice.value = "";
  }

  private ring(): void {
    this.ringing.value = true;
    setTimeout(() => {
      this.ringing.value = false;
    }, 200);
  }
}
