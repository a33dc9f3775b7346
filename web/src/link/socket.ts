// The driver of one terminal's WebSocket. Interface first; the body follows.

import type { Gap, HostControl, Role, Size } from "./protocol";
import type { LinkStatus } from "./status";

/** What the link tells. All of it is called from timers and socket events, never inside a call into the link. */
export interface LinkEvents {
  /** Output for the terminal (never ends inside a UTF-8 character unless it stays so). Call `done` when it was parsed: `term.write(bytes, done)`. */
  write(bytes: Uint8Array, done: () => void): void;
  /** Reset the terminal, size it, write the bytes, call `done`. What the terminal answers until then must be dropped. */
  rebuild(cols: number, rows: number, bytes: Uint8Array, done: () => void): void;
  /** This much output is gone for good; a `rebuild` follows. Show it (a dim ruler), after the rebuild. */
  gap(gap: Gap): void;
  /** Each text message of the host, after the status took it in (`notice` has no other place). */
  control(message: HostControl): void;
  /** Something of the status changed. */
  status(status: LinkStatus): void;
  /** Unsent paste was dropped by Ctrl-C, Ctrl-Z or Ctrl-\: this many bytes of it had gone out. */
  pasteCancelled(sentBytes: number, droppedBytes: number): void;
}

/** What the link needs of its surroundings; the default is the browser's own. */
export interface LinkEnvironment {
  open(url: string, protocol: string): SocketLike;
  now(): number;
  setTimer(call: () => void, ms: number): number;
  clearTimer(timer: number): void;
  random(): number;
  /** `sessionStorage`, or null when there is none. */
  storage: StorageLike | null;
  /** Calls back on `online`, `pageshow` and when the page becomes visible (`wake`), and on every change of visibility. Returns how to stop. */
  watchPage(wake: () => void, visible: (visible: boolean) => void): () => void;
  visible(): boolean;
}

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  binaryType: string;
  onopen: ((event: unknown) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: unknown) => void) | null;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

/** The part of `Storage` that is used. */
export interface StorageLike {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface LinkOptions {
  /** The session's id; names the keys in the storage (`moorline.resume.<id>`, `moorline.viewer.<id>`). */
  session: string;
  /** `wss://host/api/v1/sessions/<id>/terminal` */
  url: string;
  size: Size;
  /** From `POST /api/v1/sessions`, for the first attach. Without one, the stored resume token is used. */
  ticket?: string;
  /** `POST /api/v1/sessions/<id>/tickets`: asked when there is neither a ticket nor a resume token, or when it was refused.
   * A rejection with a `Failure` (see `LinkFailure`) ends in `failed`; any other is tried again. */
  newTicket(): Promise<string>;
  role?: Role;
  events: LinkEvents;
  environment?: LinkEnvironment;
}

/** Thrown by `newTicket` to say that trying again is of no use. */
export class LinkFailure extends Error {
  readonly code: string;
  readonly requestId: string | null;
  constructor(code: string, text: string, requestId: string | null = null) {
    super(text);
    this.code = code;
    this.requestId = requestId;
  }
}

/** One terminal's connection, over all its breaks. */
export interface TerminalLink {
  readonly status: LinkStatus;
  /** Typed by hand (`onData`: text; `onBinary`: a Uint8Array). False: not taken, see `status.input`. */
  typed(data: string | Uint8Array): boolean;
  /** Pasted: goes in pieces, and a Ctrl-C typed by hand overtakes and cancels what is not yet sent. */
  pasted(data: string | Uint8Array): boolean;
  /** The last one is always sent. */
  resize(size: Size): void;
  signal(number: number): void;
  /** Reconnect now (banner's button; also done by itself on typing, `online`, `visibilitychange`, `pageshow`). */
  retryNow(): void;
  /** Take the terminal back, or become the driver as a watcher. */
  takeControl(): void;
  /** Look on without typing. */
  requestView(): void;
  /** End the session. */
  kill(reason?: string): void;
  /** Leave; the shell is kept. */
  close(): void;
}

/** Opens a terminal and keeps it open. */
export function openTerminalLink(options: LinkOptions): TerminalLink {
  throw new Error(`the link of ${options.session} is not built yet`);
}
