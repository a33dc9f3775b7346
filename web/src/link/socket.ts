// The driver of one terminal's WebSocket: connects, says hello, feeds the viewer machine, carries
// out what it says, and connects again for as long as that is of use.

import { Board, failureIn, GAUGES_EVERY_MS, type Gauges, INPUT_QUEUES_MS, newsOf } from "./board";
import { type Meaning, meaningOf, NETWORK, waitBefore, waitForRestart, wordsOf } from "./closing";
import { codeByName } from "./codes";
import { browserEnvironment, type LinkEnvironment, Memory, type SocketLike } from "./environment";
import { type LinkEvents, LinkFailure, type LinkOptions, type TerminalLink } from "./face";
import {
  decodeHostFrame,
  encodeViewerFrame,
  type HostControl,
  type Role,
  type Size,
  SUBPROTOCOL,
  Violation,
} from "./protocol";
import type { Failure, LinkStatus } from "./status";
import { TAIL_WAITS_MS, Utf8Gate } from "./utf8";
import { Viewer, type ViewerOutput } from "./viewer";

/** Opens a terminal and keeps it open. */
export function openTerminalLink(options: LinkOptions): TerminalLink {
  return new Link(options);
}

/** How long a socket may take to open. */
const OPENS_WITHIN_MS = 10_000;
/** `WebSocket.OPEN`: what is given to a socket that closes is thrown away, with a warning in the console. */
const OPEN = 1;
/** More than this never waits in the browser's own buffer: a Ctrl-C would wait behind it. */
const BUFFERED_MAX = 64 * 1024;
const BUFFERED_LOOK_AGAIN_MS = 10;
/** A connection that ends sooner did not help: the waits go on growing after a few of them. */
const HELPED_AFTER_MS = 1_000;
const UNHELPFUL_FREE = 5;

/** The close code of a shell that ended by itself. */
const EXITED = 1000;

const toBytes = (data: string | Uint8Array) =>
  typeof data === "string" ? new TextEncoder().encode(data) : data;

class Link implements TerminalLink {
  private readonly env: LinkEnvironment;
  private readonly events: LinkEvents;
  private readonly memory: Memory;
  private readonly viewer: Viewer;
  private readonly board: Board;
  private readonly gate = new Utf8Gate();
  private ticket: string | null;
  private socket: SocketLike | null = null;
  /** Counts connections: what an older one still says is not heard. */
  private connection = 0;
  private attempt = 0;
  private unhelpful = 0;
  private violations = 0;
  private attachedAt: number | null = null;
  private keptMs = 0;
  /** Output below was written before this page was attached: a replay. */
  private liveFrom = 0;
  private everLive = false;
  private lastError: Failure | null = null;
  private flushing = false;
  private readonly timers: Record<string, number> = {};
  private readonly unwatch: () => void;

  constructor(private readonly options: LinkOptions) {
    this.env = options.environment ?? browserEnvironment();
    this.events = options.events;
    this.memory = new Memory(this.env.storage, options.session);
    this.ticket = options.ticket ?? null;
    this.viewer = new Viewer(this.memory.viewer, options.size);
    this.viewer.wanted = options.role ?? null;
    this.board = new Board(options, this.env.now());
    this.viewer.setHidden(this.env.now(), !this.env.visible());
    this.unwatch = this.env.watchPage(
      () => this.wake(),
      (visible) => this.shown(visible),
      () => this.leaving(),
    );
    this.arm("retry", 0, () => this.connect());
  }

  get status(): LinkStatus {
    return this.board.status;
  }

  // What the person does.

  typed(data: string | Uint8Array): boolean {
    return this.give((now) => this.viewer.typed(now, toBytes(data)));
  }

  pasted(data: string | Uint8Array): boolean {
    return this.give((now) => this.viewer.pasted(now, toBytes(data)));
  }

  private give(input: (now: number) => boolean): boolean {
    const state = this.status.input;
    if (this.status.phase === "reconnecting") this.hurry();
    const taken = (state === "on" || state === "queued") && input(this.env.now());
    this.transmit();
    this.flushSoon();
    return taken;
  }

  resize(size: Size): void {
    this.viewer.resize(size);
    this.transmit();
  }

  signal(number: number): void {
    this.viewer.signal(number);
    this.transmit();
  }

  retryNow(): void {
    const { phase, waiting } = this.status;
    if (phase === "failed") this.violations = 0;
    const stuck = phase === "reconnecting" && waiting;
    if (phase === "failed" || stuck) this.arm("retry", 0, () => this.connect());
    else this.hurry();
  }

  /** Does not wait for the next try. */
  private hurry(): void {
    if (this.timers.retry !== undefined) this.arm("retry", 0, () => this.connect());
  }

  takeControl(): void {
    this.takeRole("driver");
  }

  requestView(): void {
    this.takeRole("watcher");
  }

  private takeRole(role: Role): void {
    this.viewer.wanted = role;
    if (this.status.phase === "taken_over") {
      this.arm("retry", 0, () => this.connect());
    } else {
      this.viewer.send({ t: role === "driver" ? "take_control" : "request_view" });
      this.transmit();
    }
  }

  kill(reason?: string): void {
    this.viewer.send({ t: "kill", reason: reason ?? null });
    this.transmit();
  }

  close(): void {
    this.viewer.send({ t: "detach" });
    this.transmit();
    this.drop(1000);
    this.rest({ phase: "closed" });
  }

  private wake(): void {
    if (this.status.phase === "failed") this.retryNow();
    else this.hurry();
    this.viewer.probe(this.env.now());
    this.transmit();
  }

  /** The browser resets a connection with output on its way, and its close is lost then. */
  private leaving(): void {
    this.viewer.send({ t: "leaving" });
    this.transmit();
  }

  private shown(visible: boolean): void {
    this.viewer.setHidden(this.env.now(), !visible);
    this.viewer.send({ t: "visibility", hidden: !visible });
    this.transmit();
  }

  // The connection.

  private async connect(): Promise<void> {
    this.disarm("retry");
    this.drop(1000);
    const connection = ++this.connection;
    const reconnecting = this.everLive;
    this.change({
      phase: reconnecting ? "reconnecting" : "connecting",
      attempt: this.attempt,
      retryAt: null,
      waiting: false,
      takenOverBy: null,
    });
    this.attempt++;
    const token = await this.token(connection);
    if (!token || connection !== this.connection) return;
    this.lastError = null;
    let socket: SocketLike;
    try {
      socket = this.env.open(this.options.url, SUBPROTOCOL);
    } catch {
      this.lost(NETWORK, "again");
      return;
    }
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    const mine = () => socket === this.socket;
    socket.onopen = () => mine() && this.opened(token);
    socket.onmessage = (event) => mine() && this.message(event.data);
    socket.onclose = (event) => mine() && this.closed(event.code);
    socket.onerror = () => {};
    this.arm("open", OPENS_WITHIN_MS, () => this.closed(NETWORK));
  }

  /** How to get in; null when there is no way, which was dealt with. */
  private async token(connection: number): Promise<{ ticket: string } | { resume: string } | null> {
    const { ticket } = this;
    const { resume } = this.memory;
    if (ticket !== null) {
      this.ticket = null;
      return { ticket };
    }
    if (resume !== null) return { resume };
    try {
      return { ticket: await this.options.newTicket() };
    } catch (error) {
      if (connection !== this.connection) return null;
      if (error instanceof LinkFailure) {
        const known = codeByName(error.code);
        const number = known?.number ?? 4500;
        const { message: text, code, requestId } = error;
        this.end(number, { number, code, text, remedy: known?.remedy ?? "", requestId });
      } else {
        this.lost(NETWORK, "again");
      }
      return null;
    }
  }

  private opened(token: { ticket: string } | { resume: string }): void {
    this.disarm("open");
    this.viewer.connected(this.env.now());
    this.socket?.send(encodeViewerFrame(this.viewer.hello(token)));
    this.flush();
  }

  private message(data: unknown): void {
    try {
      const frame = decodeHostFrame(
        typeof data === "string" ? data : new Uint8Array(data as ArrayBuffer),
      );
      if (frame) this.viewer.receive(this.env.now(), frame);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.flush();
      this.drop(4400);
      this.closed(4400);
      return;
    }
    this.flush();
  }

  private closed(number: number): void {
    const said = this.lastError;
    // A proxy may eat the close code; the message before it said the same.
    const code = said && meaningOf(number) === "again" ? said.number : number;
    this.drop(1000);
    if (this.status.phase === "ended" || this.status.phase === "taken_over") return;
    this.lost(code, meaningOf(code));
  }

  /** Lets go of the socket without a word to anybody. */
  private drop(number: number): void {
    const socket = this.socket;
    this.socket = null;
    this.disarm("open");
    this.viewer.disconnected();
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
    try {
      socket.close(number);
    } catch {
      // It never opened, or is closed already.
    }
  }

  private lost(number: number, meaning: Meaning): void {
    const now = this.env.now();
    const helped = this.attachedAt !== null && now - this.attachedAt >= HELPED_AFTER_MS;
    if (this.attachedAt !== null) {
      this.unhelpful = helped ? 0 : this.unhelpful + 1;
      this.attempt = Math.max(0, this.unhelpful - UNHELPFUL_FREE);
    }
    this.attachedAt = null;
    if (helped) this.violations = 0;
    switch (meaning) {
      case "again":
        this.retryIn(waitBefore(this.attempt, this.env.random()), number);
        break;
      case "at_once":
        this.interrupted(number);
        break;
      case "soon":
        this.retryIn(waitForRestart(this.env.random()), number);
        break;
      case "once":
        this.violations++;
        if (this.violations > 1) this.end(number);
        else this.retryIn(0, number);
        break;
      case "new_ticket":
        this.withoutToken(number);
        break;
      case "taken_over":
        this.givenAway(number);
        break;
      default:
        this.end(number);
        break;
    }
  }

  /** No failure of this connection: after one that was attached, the first try is at once. */
  private interrupted(number: number): void {
    if (this.status.phase === "live") this.attempt = 0;
    this.retryIn(waitBefore(this.attempt, this.env.random()), number);
  }

  /** The token was refused. A second refusal in a row is waited out like any other failure. */
  private withoutToken(number: number): void {
    const first = this.memory.resume !== null || this.attempt <= 1;
    this.memory.resume = null;
    this.retryIn(first ? 0 : waitBefore(this.attempt, this.env.random()), number);
  }

  private retryIn(wait: number, number: number): void {
    const now = this.env.now();
    const lostSince = this.status.lostSince ?? now;
    this.change({
      phase: this.everLive ? "reconnecting" : "connecting",
      lostSince,
      keptUntil: this.status.keptUntil ?? (this.keptMs > 0 ? lostSince + this.keptMs : null),
      attempt: this.attempt,
      retryAt: now + wait,
      network: "steady",
      waiting: false,
      device: "steady",
      deviceKeptUntil: null,
      failure: this.reasonOf(number),
    });
    this.arm("retry", wait, () => this.connect());
    this.arm("freeze", Math.max(0, lostSince + INPUT_QUEUES_MS - now), () => this.change({}));
  }

  private givenAway(number: number): void {
    // A copy of this tab has the same key; from now on this one is somebody else.
    if (number === 4475) this.viewer.renew(this.memory.newViewer());
    this.rest({ phase: "taken_over", takenOverBy: this.status.takenOverBy ?? "another tab" });
  }

  private end(number: number, failure = this.failureOf(number)): void {
    if (meaningOf(number) !== "ended") {
      this.rest({ phase: "failed", failure });
      return;
    }
    this.memory.forget();
    const ending = this.status.ending ?? { code: failure.code, text: failure.text };
    this.rest({ phase: "ended", ending, failure: null });
    if (this.status.phase === "ended") this.unwatch();
  }

  /** Nothing more happens by itself. */
  private rest(news: Partial<LinkStatus>): void {
    this.drop(1000);
    this.connection++;
    for (const name of ["retry", "freeze", "machine", "gauges", "tail"]) this.disarm(name);
    if (news.phase === "closed") this.unwatch();
    this.change({ retryAt: null, lostSince: null, keptUntil: null, network: "steady", ...news });
  }

  /** A broker that said why it goes is not heard again before it is back. */
  private reasonOf(number: number): Failure {
    const before = this.status.failure;
    const restarts = before !== null && meaningOf(before.number) === "soon";
    return number === NETWORK && restarts && !this.lastError ? before : this.failureOf(number);
  }

  private failureOf(number: number): Failure {
    if (this.lastError) return this.lastError;
    const { name, sentence, remedy } = wordsOf(number);
    return { number, code: name, text: sentence, remedy, requestId: null };
  }

  // What the machine says.

  /** Carries out what the machine says, sends what it has, and sleeps until its next deadline. */
  private flush(): void {
    for (let output = this.viewer.pollOutput(); output; output = this.viewer.pollOutput()) {
      this.perform(output);
    }
    this.transmit();
    this.tell();
  }

  private flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    queueMicrotask(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private transmit(): void {
    const { socket } = this;
    if (socket?.readyState === OPEN) {
      for (;;) {
        if (socket.bufferedAmount > BUFFERED_MAX) {
          this.arm("room", BUFFERED_LOOK_AGAIN_MS, () => this.transmit());
          break;
        }
        const frame = this.viewer.pollTransmit(this.env.now());
        if (!frame) break;
        socket.send(encodeViewerFrame(frame));
      }
    }
    const due = this.viewer.pollTimeout();
    if (due === null) {
      this.disarm("machine");
      return;
    }
    this.arm("machine", Math.max(0, due - this.env.now()), () => {
      this.viewer.handleTimeout(this.env.now());
      this.flush();
    });
  }

  private perform(output: ViewerOutput): void {
    switch (output.do) {
      case "write":
        this.write(output.bytes, output.end);
        break;
      case "rebuild":
        this.rebuild(output);
        break;
      case "gap":
        this.events.gap({ from: output.from, to: output.to });
        break;
      case "control":
        this.heard(output.control);
        this.events.control(output.control);
        break;
      case "paste_cancelled":
        this.events.pasteCancelled(output.sent, output.dropped);
        break;
      case "unstable":
      case "steady":
        this.change({ network: output.do, networkSince: this.env.now() });
        break;
      case "dead":
        this.closed(NETWORK);
        break;
    }
  }

  private write(bytes: Uint8Array, end: number): void {
    this.disarm("tail");
    const start = end - bytes.length;
    const replayed = Math.min(Math.max(0, this.liveFrom - start), bytes.length);
    if (replayed > 0) this.hand(bytes.subarray(0, replayed), start + replayed, true);
    if (replayed < bytes.length) this.hand(bytes.subarray(replayed), end, false);
    // Once everything before it was parsed, nobody is to wait for the rest of a character.
    if (this.gate.kept > 0) {
      const acknowledge = () => this.events.write(new Uint8Array(0), () => this.parsed(end), false);
      this.arm("tail", TAIL_WAITS_MS, acknowledge);
    }
  }

  private hand(bytes: Uint8Array, end: number, replay: boolean): void {
    const whole = this.gate.pass(bytes);
    const parsed = end - this.gate.kept;
    if (whole.length > 0) this.events.write(whole, () => this.parsed(parsed), replay);
  }

  private rebuild(output: ViewerOutput & { do: "rebuild" }): void {
    this.disarm("tail");
    this.gate.forget();
    // A snapshot may end inside a character, and the output after it goes on there.
    const whole = this.gate.pass(output.bytes);
    this.events.rebuild(output.cols, output.rows, whole, () => this.parsed(output.end));
  }

  private parsed(end: number): void {
    this.viewer.parsed(this.env.now(), end);
    this.transmit();
    this.tellGauges();
  }

  private heard(control: HostControl): void {
    const now = this.env.now();
    // The shell may be there before this page is attached to it, and is of no use until then.
    const early = control.t === "live" && !this.viewer.isAttached;
    if (!early) this.change(newsOf(control, this.status, now));
    this.lastError = control.t === "error" ? failureIn(control) : null;
    switch (control.t) {
      case "attached":
        this.memory.resume = control.resume;
        this.attachedAt = now;
        this.keptMs = control.kept_s * 1000;
        this.liveFrom = control.head;
        if (!this.env.visible()) this.viewer.send({ t: "visibility", hidden: true });
        this.disarm("freeze");
        break;
      case "live":
        this.everLive ||= !early;
        break;
      case "taken_over":
        this.rest({ phase: "taken_over" });
        break;
      case "ended":
        this.end(EXITED);
        break;
    }
  }

  // The board and the timers.

  private change(news: Partial<LinkStatus>): void {
    this.board.change(this.env.now(), news);
    this.flushSoon();
  }

  private tell(): void {
    const news = this.board.news();
    if (news) this.events.status(news);
    this.tellGauges();
  }

  private tellGauges(): void {
    const gauges = this.gauges();
    const known = this.status;
    const changed = (Object.keys(gauges) as (keyof Gauges)[]).some(
      (key) => gauges[key] !== known[key],
    );
    if (!changed || this.timers.gauges !== undefined || known.phase === "closed") return;
    this.arm("gauges", GAUGES_EVERY_MS, () => this.change(this.gauges()));
  }

  private gauges(): Gauges {
    const { inputWaiting, inputWaitingSince, behind, rttMs, deviceRttMs } = this.viewer;
    return { inputWaiting, inputWaitingSince, behind, rttMs, deviceRttMs };
  }

  private arm(name: string, ms: number, call: () => void): void {
    this.disarm(name);
    this.timers[name] = this.env.setTimer(() => {
      delete this.timers[name];
      call();
    }, ms);
  }

  private disarm(name: string): void {
    const timer = this.timers[name];
    if (timer === undefined) return;
    this.env.clearTimer(timer);
    delete this.timers[name];
  }
}
