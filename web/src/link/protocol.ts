// The frames of `moorline.term.v1`, as `wire/src/term/frame.rs` has them; both pass the golden
// frames in `wire/golden/term`. Nothing here knows the DOM, a socket or a clock.

/** The WebSocket subprotocol of this version. */
export const SUBPROTOCOL = "moorline.term.v1";

/** Cells and, where known, pixels. */
export interface Size {
  cols: number;
  rows: number;
  xpx: number;
  ypx: number;
}

/** Only the driver types and sizes; watchers look. */
export type Role = "driver" | "watcher";
/** The steps of the setup, in order; each is told as it ends. */
export type Step = "broker" | "device" | "host_key" | "login" | "shell";
/** How a leg is. */
export type LegState = "steady" | "unstable" | "lost";
/** How a program ended. */
export type Exit = { status: number } | { signal: string };
/** Why a session is over. */
export interface Ending {
  code: string;
  text: string;
  by?: string;
  exit?: Exit;
}
/** Output that is gone: `from..to`. */
export interface Gap {
  from: number;
  to: number;
}

/** The first message after a hello that was accepted. */
export interface Attached {
  t: "attached";
  session: string;
  resume: string;
  role: Role;
  from: number;
  head: number;
  in_ack: number;
  window: number;
  in_window: number;
  ping_ms: number;
  dead_ms: number;
  size: Size;
  gap?: Gap;
  snapshot: boolean;
  kept_s: number;
  keeper: boolean;
  device: string;
  login: string;
}

/** Text messages of the host. A `t` that this version does not know is ignored. */
export type HostControl =
  | Attached
  | { t: "step"; step: Step; ms: number }
  | { t: "live" }
  | { t: "size"; size: Size; offset: number }
  | ({ t: "gap" } & Gap)
  | { t: "device"; state: LegState; kept_s: number }
  | { t: "notice"; text: string }
  | { t: "viewers"; drivers: number; watchers: number }
  | { t: "role"; role: Role }
  | { t: "taken_over"; by: string }
  | { t: "ended"; ending: Ending }
  | { t: "error"; code: string; text: string; remedy: string; request_id?: string };

/** Text messages of the viewer. */
export type ViewerControl =
  | {
      t: "hello";
      ticket?: string;
      resume?: string;
      have: number | null;
      viewer: string;
      in_next: number;
      size: Size;
      role: Role | null;
      caps: string[];
    }
  | { t: "detach" }
  | { t: "leaving" }
  | { t: "take_control" }
  | { t: "request_view" }
  | { t: "kill"; reason: string | null }
  | { t: "visibility"; hidden: boolean };

/** What the host sends. */
export type HostFrame =
  | { kind: "out"; offset: number; bytes: Uint8Array }
  | { kind: "in_ack"; offset: number }
  | { kind: "pong"; nonce: number; device_rtt_us: number; head: number }
  | { kind: "snap"; offset: number; cols: number; rows: number; bytes: Uint8Array }
  | { kind: "control"; control: HostControl };

/** What a viewer sends. */
export type ViewerFrame =
  | { kind: "in"; offset: number; bytes: Uint8Array }
  | { kind: "ack"; offset: number }
  | { kind: "ping"; nonce: number; acked: number }
  | { kind: "resize"; seq: number; size: Size }
  | { kind: "signal"; number: number }
  | { kind: "control"; control: ViewerControl };

/** A frame that breaks a rule of the protocol: the connection is to be closed with `code`. */
export class Violation extends Error {
  readonly code: "protocol" | "too_large";
  constructor(what: string, code: "protocol" | "too_large" = "protocol") {
    super(what);
    this.code = code;
  }
}

/** The longest message of a viewer, and the longest text message of a host. */
export const MESSAGE_BYTES_MAX = 64 * 1024;
/** The most output in one OUT. */
export const OUT_BYTES_MAX = 32 * 1024;
/** The longest snapshot. */
export const SNAP_BYTES_MAX = 1024 * 1024;

/** The type bytes. */
export const KIND = {
  out: 0x01,
  inAck: 0x02,
  pong: 0x03,
  snap: 0x04,
  in: 0x81,
  ack: 0x82,
  ping: 0x83,
  resize: 0x84,
  signal: 0x85,
} as const;

const SNAP_HEADER = 13;

/** Reads a message of the host. Null: one that this version ignores. Throws a `Violation`. */
export function decodeHostFrame(message: string | Uint8Array): HostFrame | null {
  if (typeof message === "string") {
    const control = decodeHostControl(message);
    return control && { kind: "control", control };
  }
  const fields = new Fields(message, SNAP_HEADER + SNAP_BYTES_MAX);
  const frame = decodeBinary(fields);
  if (frame) fields.end();
  return frame;
}

function decodeBinary(fields: Fields): HostFrame | null {
  const kind = fields.u8();
  switch (kind) {
    case KIND.out: {
      const offset = fields.offset();
      const bytes = fields.payload(OUT_BYTES_MAX);
      withinReach(offset + bytes.length);
      return { kind: "out", offset, bytes };
    }
    case KIND.inAck:
      return { kind: "in_ack", offset: fields.offset() };
    case KIND.pong:
      return {
        kind: "pong",
        nonce: fields.u32(),
        device_rtt_us: fields.u32(),
        head: fields.offset(),
      };
    case KIND.snap:
      return {
        kind: "snap",
        offset: fields.offset(),
        cols: fields.u16(),
        rows: fields.u16(),
        bytes: fields.rest(),
      };
    default:
      return ignorable(kind);
  }
}

/** The message that carries a frame of the viewer. */
export function encodeViewerFrame(frame: ViewerFrame): string | Uint8Array<ArrayBuffer> {
  switch (frame.kind) {
    case "in":
      return withOffset(KIND.in, frame.offset, frame.bytes);
    case "ack":
      return withOffset(KIND.ack, frame.offset);
    case "ping": {
      const { view, bytes } = blank(13, KIND.ping);
      view.setUint32(1, frame.nonce);
      putOffset(view, 5, frame.acked);
      return bytes;
    }
    case "resize": {
      const { view, bytes } = blank(13, KIND.resize);
      const { cols, rows, xpx, ypx } = frame.size;
      view.setUint32(1, frame.seq);
      for (const [at, side] of [cols, rows, xpx, ypx].entries()) view.setUint16(5 + 2 * at, side);
      return bytes;
    }
    case "signal":
      return Uint8Array.of(KIND.signal, frame.number);
    case "control":
      return JSON.stringify(frame.control);
  }
}

/** A frame of `kind` and an offset, with bytes behind. */
export function withOffset(kind: number, offset: number, payload?: Uint8Array) {
  const { view, bytes } = blank(9 + (payload?.length ?? 0), kind);
  putOffset(view, 1, offset);
  if (payload) bytes.set(payload, 9);
  return bytes;
}

/** A u64 that JavaScript can count. */
export function putOffset(view: DataView, at: number, offset: number): void {
  view.setUint32(at, Math.floor(offset / 2 ** 32));
  view.setUint32(at + 4, offset % 2 ** 32);
}

/** An empty frame of this length. */
export function blank(length: number, kind: number) {
  const bytes = new Uint8Array(length);
  bytes[0] = kind;
  return { bytes, view: new DataView(bytes.buffer) };
}

/** Unknown types that a later version may send without harm. */
export function ignorable(kind: number): null {
  const mayBe = (kind >= 0x40 && kind <= 0x7f) || kind >= 0xc0;
  if (!mayBe) throw new Violation("a frame has an unknown type");
  return null;
}

/** Refuses what JavaScript could not count. */
export function withinReach(offset: number): number {
  if (!Number.isSafeInteger(offset)) throw new Violation("an offset is above 2^53 - 1");
  return offset;
}

/** The fields of a binary frame, taken one after the other. */
export class Fields {
  private readonly view: DataView;
  private at = 0;

  constructor(
    private readonly bytes: Uint8Array,
    bytesMax: number,
  ) {
    if (bytes.length > bytesMax) {
      throw new Violation("a message is larger than allowed", "too_large");
    }
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  private take(length: number): number {
    const at = this.at;
    if (at + length > this.bytes.length) throw new Violation("a frame is too short");
    this.at += length;
    return at;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  u16(): number {
    return this.view.getUint16(this.take(2));
  }

  u32(): number {
    return this.view.getUint32(this.take(4));
  }

  offset(): number {
    return withinReach(this.u32() * 2 ** 32 + this.u32());
  }

  payload(bytesMax: number): Uint8Array {
    const bytes = this.rest();
    if (bytes.length === 0) throw new Violation("a frame carries no bytes");
    if (bytes.length > bytesMax) {
      throw new Violation("a message is larger than allowed", "too_large");
    }
    return bytes;
  }

  rest(): Uint8Array {
    const bytes = this.bytes.subarray(this.at);
    this.at = this.bytes.length;
    return bytes;
  }

  end(): void {
    if (this.at !== this.bytes.length) throw new Violation("a frame is too long");
  }
}

type Check = (value: unknown) => boolean;

const isNumber: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isText: Check = (value) => typeof value === "string";
const isFlag: Check = (value) => typeof value === "boolean";
const isRole: Check = (value) => value === "driver" || value === "watcher";
const isGap: Check = (value) => has(value, { from: isNumber, to: isNumber });
const isLeg: Check = (value) => value === "steady" || value === "unstable" || value === "lost";
const isSize: Check = (value) => has(value, { cols: isNumber, rows: isNumber });
const isEnding: Check = (value) => has(value, { code: isText, text: isText });
const isStep: Check = (value) =>
  ["broker", "device", "host_key", "login", "shell"].includes(value as string);
const orAbsent =
  (check: Check): Check =>
  (value) =>
    value === undefined || value === null || check(value);

const SHAPES: Record<HostControl["t"], Record<string, Check>> = {
  attached: {
    session: isText,
    resume: isText,
    role: isRole,
    from: isNumber,
    head: isNumber,
    in_ack: isNumber,
    window: isNumber,
    in_window: isNumber,
    ping_ms: isNumber,
    dead_ms: isNumber,
    size: isSize,
    gap: orAbsent(isGap),
    snapshot: isFlag,
    kept_s: isNumber,
    keeper: isFlag,
    device: isText,
    login: isText,
  },
  step: { step: isStep, ms: isNumber },
  live: {},
  size: { size: isSize, offset: isNumber },
  gap: { from: isNumber, to: isNumber },
  device: { state: isLeg, kept_s: isNumber },
  notice: { text: isText },
  viewers: { drivers: isNumber, watchers: isNumber },
  role: { role: isRole },
  taken_over: { by: isText },
  ended: { ending: isEnding },
  error: { code: isText, text: isText, remedy: isText, request_id: orAbsent(isText) },
};

function has(value: unknown, shape: Record<string, Check>): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const fields = value as Record<string, unknown>;
  return Object.entries(shape).every(([name, check]) => check(fields[name]));
}

function decodeHostControl(text: string): HostControl | null {
  // A character is at least one byte, and at most three of UTF-8.
  const tooLarge =
    text.length > MESSAGE_BYTES_MAX ||
    (text.length > MESSAGE_BYTES_MAX / 3 &&
      new TextEncoder().encode(text).length > MESSAGE_BYTES_MAX);
  if (tooLarge) throw new Violation("a message is larger than allowed", "too_large");
  let control: unknown;
  try {
    control = JSON.parse(text);
  } catch {
    throw new Violation("a text message is not a control message");
  }
  if (!has(control, { t: isText })) throw new Violation("a text message is not a control message");
  const shape = SHAPES[(control as HostControl).t];
  if (!shape) return null;
  if (!has(control, shape)) throw new Violation("a text message is not a control message");
  return control as HostControl;
}
