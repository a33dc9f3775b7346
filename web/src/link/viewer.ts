// The viewer's side of a terminal: what it has received, what its terminal has parsed, what input
// is not yet taken. The twin of `wire/src/term/viewer.rs`; both pass the same scripts
// (`wire/golden/term/*.script`). No clock: every call says what time it is, in milliseconds.

import { Outgoing } from "./outgoing";
import {
  type Attached,
  type Gap,
  type HostControl,
  type HostFrame,
  type Role,
  type Size,
  type ViewerControl,
  type ViewerFrame,
  Violation,
} from "./protocol";
import { Pulse } from "./pulse";

/** After how much parsed output an acknowledgement goes out: a quarter of the window. */
const ACK_EVERY = 64 * 1024;
/** Less than this is no hurry when it is all there was: its acknowledgement would wake everything on
 * the way for nothing, and just when the next key is to come through. */
const ACK_LITTLE = 4 * 1024;
/** How long the acknowledgement of a little waits for input to go with. */
const ACK_WAITS_MS = 100;

/** What a viewer's driver is to do. */
export type ViewerOutput =
  /** For the terminal; call `parsed(end)` when it was parsed. */
  | { do: "write"; bytes: Uint8Array; end: number }
  /** Reset, resize, write (replay: what the terminal answers is dropped); then `parsed(end)`. */
  | { do: "rebuild"; cols: number; rows: number; bytes: Uint8Array; end: number }
  | { do: "gap"; from: number; to: number }
  | { do: "control"; control: HostControl }
  | { do: "paste_cancelled"; sent: number; dropped: number }
  | { do: "unstable" }
  | { do: "steady" }
  /** Close and reconnect. */
  | { do: "dead" };

/** `rebuilding`: attached, and the next thing must be a snapshot. */
type Stage = "down" | "greeting" | "attached" | "rebuilding";

/** The output as far as it came. */
class Incoming {
  /** The next offset; null: nothing is there, the screen is wanted. */
  received: number | null = null;
  parsed = 0;
  /** What the host knows to be parsed. */
  told = 0;
  window = 0;
  /** A snapshot up to here is not yet parsed; the host waits to hear of it. */
  private snapshot: number | null = null;
  private ackDue = false;
  /** When what was parsed is to be acknowledged, if no input goes before. */
  ackLater: number | null = null;

  attached(from: number, window: number, snapshot: boolean): void {
    this.window = window;
    this.snapshot = null;
    this.ackDue = false;
    this.ackLater = null;
    if (snapshot) return;
    this.received = from;
    this.told = from;
  }

  rebuilt(offset: number): void {
    this.received = offset;
    this.told = offset;
    this.snapshot = offset;
  }

  parsedTo(now: number, offset: number): void {
    const received = this.received ?? 0;
    this.parsed = Math.max(this.parsed, Math.min(offset, received));
    const rebuilt = this.snapshot !== null && this.parsed >= this.snapshot;
    if (rebuilt) this.snapshot = null;
    const news = this.parsed - this.told;
    const all = this.parsed === received;
    const little = news < Math.min(ACK_LITTLE, this.window / 4);
    this.ackDue ||= rebuilt || news >= ACK_EVERY || (all && news > 0 && !little);
    if (news > 0 && all) this.ackLater ??= now + ACK_WAITS_MS;
  }

  handleTimeout(now: number): void {
    if (!this.ackIsDue(now)) return;
    this.ackDue = true;
    this.ackLater = null;
  }

  ackIsDue(now: number): boolean {
    return this.ackDue || (this.ackLater !== null && this.ackLater <= now);
  }

  /** How far the terminal has parsed; it is told to the host now. */
  tell(): number {
    this.ackDue = false;
    this.ackLater = null;
    this.told = Math.max(this.told, this.parsed);
    return this.told;
  }
}

/** One page's side of a terminal, over many connections. */
export class Viewer {
  private stage: Stage = "down";
  private output = new Incoming();
  private readonly input = new Outgoing();
  private readonly pulse = new Pulse();
  private resizeSeq = 0;
  private resizeDue = false;
  private head = 0;
  private controls: ViewerControl[] = [];
  private signals: number[] = [];
  private outputs: ViewerOutput[] = [];
  /** The role to ask for at the next hello; the driver's unless said otherwise. */
  wanted: Role | null = null;
  /** What the host lets this viewer do. */
  role: Role | null = null;
  /** The last round trip between host and device, as the host told it. */
  deviceRttMs: number | null = null;

  constructor(
    public key: string,
    private size: Size,
  ) {}

  /** The first message of a connection. */
  hello(token: { ticket: string } | { resume: string }): ViewerFrame {
    const control: ViewerControl = {
      t: "hello",
      ...token,
      have: this.output.received,
      viewer: this.key,
      in_next: this.input.next,
      size: this.size,
      role: this.wanted,
      caps: [],
    };
    return { kind: "control", control };
  }

  /** A connection stands; the hello is to be sent now. */
  connected(now: number): void {
    this.stage = "greeting";
    // The hello says the size; what changes after it is to be sent.
    this.resizeDue = false;
    this.pulse.connected(now);
  }

  /** The connection is gone. */
  disconnected(): void {
    this.stage = "down";
    this.pulse.disconnected();
    this.controls = [];
    this.signals = [];
  }

  /** The terminal has lost what it was given: the next hello asks for the screen. */
  forgetOutput(): void {
    this.output = new Incoming();
  }

  /** Goes on under another key, because another page has this one too. What was sent and not
   * taken is given up. */
  renew(key: string): void {
    this.key = key;
    this.input.startOver();
  }

  /** Takes one frame of the host. Throws a `Violation`. */
  receive(now: number, frame: HostFrame): void {
    if (this.stage === "down") return;
    if (this.pulse.heard(now)) this.outputs.push({ do: "steady" });
    if (frame.kind !== "control" && this.stage === "greeting") {
      throw new Violation("a frame came before the hello was answered");
    }
    switch (frame.kind) {
      case "control":
        this.control(now, frame.control);
        break;
      case "out":
        this.out(frame.offset, frame.bytes);
        break;
      case "snap":
        this.snap(frame.offset, frame.cols, frame.rows, frame.bytes);
        break;
      case "in_ack":
        this.input.acknowledged(now, frame.offset);
        break;
      case "pong":
        this.pulse.answered(now, frame.nonce);
        this.deviceRttMs = frame.device_rtt_us > 0 ? frame.device_rtt_us / 1000 : null;
        this.head = Math.max(this.head, frame.head);
    }
  }

  private control(now: number, control: HostControl): void {
    if (control.t === "attached") this.attached(now, control);
    if (control.t === "gap") this.gap(control);
    if (control.t === "role") {
      this.role = control.role;
      // A watcher's size was ignored; the driver's is the program's.
      this.resizeDue ||= control.role === "driver";
    }
    this.outputs.push({ do: "control", control });
  }

  private attached(now: number, attached: Attached): void {
    if (this.stage !== "greeting") throw new Violation("the host answered the hello twice");
    if (!attached.snapshot && attached.from !== (this.output.received ?? 0)) {
      throw new Violation("output goes on at another offset than it was wanted from");
    }
    this.input.attached(now, attached.in_ack, attached.in_window);
    this.stage = attached.snapshot ? "rebuilding" : "attached";
    this.role = attached.role;
    this.head = attached.head;
    this.output.attached(attached.from, attached.window, attached.snapshot);
    this.pulse.attached(Math.max(100, attached.ping_ms), Math.max(100, attached.dead_ms));
    if (attached.gap) {
      this.outputs.push({ do: "gap", from: attached.gap.from, to: attached.gap.to });
    }
  }

  private gap({ from, to }: Gap): void {
    if (this.stage !== "attached" || from !== this.output.received || to < from) {
      throw new Violation("a gap does not begin where the output ended");
    }
    this.stage = "rebuilding";
    this.outputs.push({ do: "gap", from, to });
  }

  private out(offset: number, bytes: Uint8Array): void {
    if (this.stage !== "attached" || offset !== this.output.received) {
      throw new Violation("output came at another offset than the next");
    }
    const end = offset + bytes.length;
    if (end - this.output.told > this.output.window) {
      throw new Violation("more output came than the window allows");
    }
    this.output.received = end;
    this.head = Math.max(this.head, end);
    this.outputs.push({ do: "write", bytes, end });
  }

  private snap(offset: number, cols: number, rows: number, bytes: Uint8Array): void {
    if (this.stage !== "rebuilding" || offset < (this.output.received ?? 0)) {
      throw new Violation("a snapshot came that was not announced");
    }
    this.stage = "attached";
    this.output.rebuilt(offset);
    this.head = Math.max(this.head, offset);
    this.outputs.push({ do: "rebuild", cols, rows, bytes, end: offset });
  }

  /** Typed by hand: Ctrl-C, Ctrl-Z, Ctrl-\ overtake unsent paste and cancel it.
   * False: more waits already than is kept. */
  typed(now: number, bytes: Uint8Array): boolean {
    const { taken, cancelled } = this.input.typed(now, bytes);
    if (cancelled) this.outputs.push({ do: "paste_cancelled", ...cancelled });
    return taken;
  }

  /** Pasted, with its brackets if the program wants them. False: more waits than is kept. */
  pasted(now: number, bytes: Uint8Array): boolean {
    return this.input.pasted(now, bytes);
  }

  /** The terminal has this size now. The last one is always sent. */
  resize(size: Size): void {
    const { cols, rows, xpx, ypx } = this.size;
    this.resizeDue ||=
      size.cols !== cols || size.rows !== rows || size.xpx !== xpx || size.ypx !== ypx;
    this.size = size;
  }

  /** A signal for the program. Of no use while the connection is down. */
  signal(number: number): void {
    if (this.stage !== "down") this.signals.push(number);
  }

  /** A text message for the host. Of no use while the connection is down. */
  send(control: ViewerControl): void {
    if (this.stage !== "down") this.controls.push(control);
  }

  /** The page is hidden (no pings) or shown again (a ping at once). */
  setHidden(now: number, hidden: boolean): void {
    this.pulse.setHidden(hidden);
    if (!hidden) this.probe(now);
  }

  /** Something says that the connection may be dead, or alive again: find out within 2 s. */
  probe(now: number): void {
    if (this.stage !== "down") this.pulse.probe(now);
  }

  /** The terminal has parsed everything up to this offset. */
  parsed(now: number, offset: number): void {
    this.output.parsedTo(now, offset);
  }

  /** The next frame for the host. To be called only when the connection has room. */
  pollTransmit(now: number): ViewerFrame | null {
    if (!this.isAttached) return null;
    const control = this.controls.shift();
    if (control) return { kind: "control", control };
    const number = this.signals.shift();
    if (number !== undefined) return { kind: "signal", number };
    if (this.resizeDue) {
      this.resizeDue = false;
      this.resizeSeq = (this.resizeSeq + 1) >>> 0;
      return { kind: "resize", seq: this.resizeSeq, size: this.size };
    }
    if (this.output.ackIsDue(now)) return { kind: "ack", offset: this.output.tell() };
    const nonce = this.pulse.nextPing(now);
    if (nonce !== null) return { kind: "ping", nonce, acked: this.output.tell() };
    if (this.output.ackLater !== null && this.input.hasNext()) {
      return { kind: "ack", offset: this.output.tell() };
    }
    return this.input.nextFrame();
  }

  /** What is to be done, until there is nothing. */
  pollOutput(): ViewerOutput | null {
    return this.outputs.shift() ?? null;
  }

  /** When `handleTimeout` is to be called. */
  pollTimeout(): number | null {
    if (this.stage === "down") return null;
    const pulse = this.pulse.deadline(this.input.waiting > 0);
    const ack = this.isAttached ? this.output.ackLater : null;
    if (pulse === null || ack === null) return pulse ?? ack;
    return Math.min(pulse, ack);
  }

  /** To be called at `pollTimeout`, and harmless at any other time. */
  handleTimeout(now: number): void {
    if (this.stage === "down") return;
    this.output.handleTimeout(now);
    const verdict = this.pulse.handleTimeout(now, this.input.waiting > 0);
    if (verdict) this.outputs.push({ do: verdict });
  }

  /** Whether the hello was answered on this connection. */
  get isAttached(): boolean {
    return this.stage === "attached" || this.stage === "rebuilding";
  }

  /** How many bytes of output the host had, when last heard of, that are not parsed here. */
  get behind(): number {
    return Math.max(0, this.head - this.output.parsed);
  }

  /** How many bytes of input the program has not taken. */
  get inputWaiting(): number {
    return this.input.waiting;
  }

  /** Since when that did not become less; null: nothing waits. */
  get inputWaitingSince(): number | null {
    return this.input.waitingSince;
  }

  /** The last round trip to the host. */
  get rttMs(): number | null {
    return this.pulse.rtt;
  }
}
