// What a terminal's link is to those who use it: what it is given, what it takes, what it tells.

import type { LinkEnvironment } from "./environment";
import type { Gap, HostControl, Role, Size } from "./protocol";
import type { LinkStatus } from "./status";

/** What the link tells. All of it is called from timers, microtasks and socket events, never
 * inside a call into the link. */
export interface LinkEvents {
  /** Output for the terminal, which never ends inside a character unless it stays so. Call
   * `done` when it was parsed: `term.write(bytes, done)`. What the terminal answers to a `replay`,
   * which the program wrote before this page was attached, must be dropped. */
  write(bytes: Uint8Array, done: () => void, replay: boolean): void;
  /** Reset the terminal, size it, write the bytes, call `done`. What the terminal answers until
   * then must be dropped. */
  rebuild(cols: number, rows: number, bytes: Uint8Array, done: () => void): void;
  /** This much output is gone for good; a `rebuild` follows. Show it after the rebuild. */
  gap(gap: Gap): void;
  /** Each text message of the host, after the status took it in (`notice` has no other place). */
  control(message: HostControl): void;
  /** Something of the status changed. */
  status(status: LinkStatus): void;
  /** An interrupt dropped unsent paste: this many bytes of it had gone out, these are gone. */
  pasteCancelled(sentBytes: number, droppedBytes: number): void;
}

/** Which terminal, and how to get in. */
export interface LinkOptions {
  /** The session's id; names the keys in the storage (`moorline.resume.<id>`, `moorline.viewer.<id>`). */
  session: string;
  /** `wss://host/api/v1/sessions/<id>/terminal` */
  url: string;
  size: Size;
  /** From `POST /api/v1/sessions`, for the first attach. Without one, the stored resume token is used. */
  ticket?: string;
  /** `POST /api/v1/sessions/<id>/tickets`: asked when there is neither a ticket nor a resume token,
   * or when it was refused. A rejection with a `LinkFailure` ends in `failed`; any other is tried again. */
  newTicket(): Promise<string>;
  role?: Role;
  events: LinkEvents;
  environment?: LinkEnvironment;
}

/** Thrown by `newTicket` to say that trying again is of no use. */
export class LinkFailure extends Error {
  constructor(
    readonly code: string,
    text: string,
    readonly requestId: string | null = null,
  ) {
    super(text);
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
  /** Reconnect now (also done on typing, `online`, `visibilitychange`, `pageshow`). */
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
