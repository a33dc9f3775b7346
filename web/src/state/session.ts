// One terminal's session, from the first question to the broker until it is over: asks the API,
// opens the link, and carries bytes between the link and a screen. What the screen is made of it
// does not know.

import { signal } from "@preact/signals";

import { api, Refusal, type SessionInfo, terminalUrl, ticketForLink } from "../api";
import {
  type Failure,
  type LinkEvents,
  type LinkStatus,
  openTerminalLink,
  type Role,
  type TerminalLink,
} from "../link";
import { lostLogin, me } from "./account";
import { addressOf, rename } from "./router";
import { amount } from "./time";
import { failureOf, type StateName, stateOf } from "./words";

/** What shows the session. */
export interface Screen {
  readonly size: { cols: number; rows: number; xpx: number; ypx: number };
  write(bytes: Uint8Array, done: () => void, replay: boolean): void;
  rebuild(cols: number, rows: number, bytes: Uint8Array, done: () => void): void;
  gap(bytes: number): void;
  fix(size: { cols: number; rows: number } | null): void;
  inert: boolean;
}

/** A new session on a device, or one that exists; of that one may be a watcher only. */
export type Target = { device: string } | { session: string; watch?: boolean };

/** How far the page is; from `linked` on, `status` tells. */
export type Stage =
  | { is: "asking" }
  | { is: "linked" }
  | { is: "refused"; failure: Failure }
  /** The address of a session that is over was opened. */
  | { is: "over"; session: SessionInfo };

/** What is said in passing. */
export interface Voice {
  say(text: string): void;
  /** Of importance: stays until it was read. */
  announce(text: string): void;
  /** It holds no longer. */
  unsay(text: string): void;
}

/** Said where no keeper holds the shell. */
export const PLAIN_SHELL =
  "This shell hangs on the broker: it outlives a break of your network and a closed tab, not the broker.";

/** Why the keyboard was of no use, as a person would say it. */
const NOT_SENT = "Not sent: there is no connection to the shell now.";

export class Session {
  readonly stage = signal<Stage>({ is: "asking" });
  readonly status = signal<LinkStatus | null>(null);
  readonly deviceId = signal<string | null>(null);
  readonly deviceName = signal("");
  readonly login = signal("");
  /** Who looks at this page. */
  readonly person = signal<string | null>(null);
  /** When it began, and when it ended, in ms of `Date.now()`. */
  readonly startedAt = signal<number | null>(null);
  readonly endedAt = signal<number | null>(null);
  id = "";
  private link: TerminalLink | null = null;
  private left = false;

  constructor(
    private readonly screen: Screen,
    private readonly voice: Voice,
  ) {}

  get state(): StateName {
    const stage = this.stage.value;
    if (stage.is === "refused") return "failed";
    if (stage.is === "over") return "ended";
    return this.status.value ? stateOf(this.status.value) : "connecting";
  }

  /** Opens it; may be called again after a refusal. */
  async open(target: Target): Promise<void> {
    this.stage.value = { is: "asking" };
    void this.askWho();
    try {
      if ("device" in target) await this.openNew(target.device);
      else await this.openOld(target.session, target.watch ? "watcher" : "driver");
    } catch (error) {
      this.stage.value = { is: "refused", failure: failureFrom(error) };
    }
  }

  /** Only a word depends on who it is; that nobody is logged in any more, the page hears from the answer. */
  private askWho(): Promise<void> {
    return api.me().then(
      ({ person }) => {
        this.person.value = person;
      },
      () => {},
    );
  }

  typed(data: string | Uint8Array): void {
    if (this.link?.typed(data) !== true) this.voice.say(NOT_SENT);
  }

  pasted(text: string): void {
    if (this.link?.pasted(text) !== true) this.voice.say(NOT_SENT);
  }

  resize(): void {
    this.link?.resize(this.screen.size);
  }

  retryNow(): void {
    this.link?.retryNow();
  }

  takeControl(): void {
    rename(addressOf.session(this.id)); // who has looked on so far comes back with it after a reload
    this.link?.takeControl();
  }

  requestView(): void {
    this.link?.requestView();
  }

  kill(): void {
    this.link?.kill();
  }

  /** Gives up on a session that is still being opened. Unheard, it ends by itself when its time is over. */
  cancel(): void {
    if (this.id !== "") void api.endSession(this.id).catch(() => {});
  }

  /** The page goes away; the shell is kept. */
  leave(): void {
    this.left = true;
    this.link?.close();
  }

  private async openNew(device: string): Promise<void> {
    this.deviceId.value = device;
    const { name, login } = await api.device(device);
    this.deviceName.value = name;
    this.login.value = login;
    const { cols, rows } = this.screen.size;
    const { id, ticket } = await api.open(device, cols, rows);
    if (this.left) return;
    this.startedAt.value = Date.now();
    rename(addressOf.session(id)); // a reload is back in the same shell
    this.connect(id, { ticket });
  }

  private async openOld(id: string, role: Role): Promise<void> {
    const session = await api.session(id);
    this.deviceId.value = session.device;
    this.deviceName.value = session.device_name;
    this.login.value = session.login;
    this.startedAt.value = Date.parse(session.started);
    this.id = id;
    if (session.state === "ended") {
      this.endedAt.value = session.ended === null ? null : Date.parse(session.ended);
      this.screen.inert = true;
      this.stage.value = { is: "over", session };
    } else if (!this.left) {
      this.connect(id, { role });
    }
  }

  private connect(id: string, how: { ticket?: string; role?: Role }): void {
    this.id = id;
    this.link = openTerminalLink({
      session: id,
      url: terminalUrl(id),
      size: this.screen.size,
      ...how,
      newTicket: () => ticketForLink(id),
      events: this.linkEvents(),
    });
    this.take(this.link.status);
    this.stage.value = { is: "linked" };
  }

  private linkEvents(): LinkEvents {
    return {
      write: (bytes, done, replay) => this.screen.write(bytes, done, replay),
      rebuild: (cols, rows, bytes, done) => this.screen.rebuild(cols, rows, bytes, done),
      gap: ({ from, to }) => {
        this.screen.gap(to - from);
        this.voice.say(
          `${amount(to - from)} of output is gone; a line in the scrollback shows where.`,
        );
      },
      control: (message) => {
        if (message.t === "notice") this.voice.announce(message.text);
      },
      status: (status) => this.take(status),
      pasteCancelled: (sent) => this.voice.say(`Paste cancelled after ${amount(sent)}.`),
    };
  }

  /** Once per session and tab: what a shell without a keeper does not outlive. */
  private tellIfPlain(): void {
    if (this.status.value?.keeper !== false || toldAlready(this.id)) return;
    this.voice.announce(PLAIN_SHELL);
  }

  private take(status: LinkStatus): void {
    const before = this.status.value;
    // The link knows the name from the first answer on, and a device may be away before.
    const deviceName = status.deviceName || this.deviceName.value;
    this.status.value = { ...status, deviceName };
    if (status.phase === "failed" && status.failure?.code === "login_expired") {
      lostLogin(status.failure.text);
      return;
    }
    // A browser is not told why a socket was refused: whether it was for want of a login, the API says.
    const again = status.phase === "reconnecting" && status.attempt !== before?.attempt;
    if (again && me.value?.mode === "login") void this.askWho();
    if (status.deviceName !== "") this.deviceName.value = status.deviceName;
    if (status.login !== "") this.login.value = status.login;
    if (status.phase === "live" && before?.phase !== "live") this.tellIfPlain();
    const over = status.phase === "ended" || status.phase === "failed";
    if (over || status.input === "on") this.voice.unsay(NOT_SENT);
    const watches = status.role === "watcher";
    this.screen.inert = over || watches;
    if (over) this.endedAt.value ??= Date.now();
    if (watches) this.screen.fix(status.size);
    else if (before?.role === "watcher") this.screen.fix(null);
  }
}

function toldAlready(session: string): boolean {
  const key = `moorline.plain.${session}`;
  try {
    const told = sessionStorage.getItem(key) !== null;
    sessionStorage.setItem(key, "told");
    return told;
  } catch {
    return false; // A browser may forbid it altogether.
  }
}

function failureFrom(error: unknown): Failure {
  if (error instanceof Refusal) return failureOf(error.code, error.message, error.requestId);
  const text =
    "The broker cannot be reached. Check the network and that the broker runs, then try again.";
  return failureOf("unreachable", text, null);
}
