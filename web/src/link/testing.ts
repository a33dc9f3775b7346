// For the tests alone: how the golden files write frames, a host, and an environment on a stopped clock.

import { readFileSync } from "node:fs";
import type { LinkEnvironment, SocketLike } from "./environment";
import {
  blank,
  Fields,
  type HostFrame,
  ignorable,
  KIND,
  MESSAGE_BYTES_MAX,
  putOffset,
  type ViewerControl,
  type ViewerFrame,
  withOffset,
} from "./protocol";

/** A file of `wire/golden/term`; tests run with `web/` as the working directory. */
export function golden(name: string): string {
  return readFileSync(`../wire/golden/term/${name}`, "utf8");
}

/** `61 62 00*7`: hex, with or without blanks, and a byte so many times. */
export function bytesOf(notation: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (const word of notation.split(/\s+/).filter(Boolean)) {
    const [hex = "", times = "1"] = word.split("*");
    const piece = (hex.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));
    for (let n = 0; n < Number(times); n++) for (const byte of piece) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** A frame as the golden files write it: bytes as a notation. */
export type Written = { kind: string; bytes?: string } & Record<string, unknown>;

export function frameOf<Frame>(written: Written): Frame {
  const bytes = typeof written.bytes === "string" ? { bytes: bytesOf(written.bytes) } : {};
  return { ...written, ...bytes } as Frame;
}

/** As `frameOf` reads it, with the bytes in plain hex. */
export function written(frame: HostFrame | ViewerFrame): Record<string, unknown> {
  return "bytes" in frame ? { ...frame, bytes: hex(frame.bytes) } : { ...frame };
}

/** What a host sends. */
export function encodeHostFrame(frame: HostFrame): string | Uint8Array<ArrayBuffer> {
  switch (frame.kind) {
    case "out":
      return withOffset(KIND.out, frame.offset, frame.bytes);
    case "in_ack":
      return withOffset(KIND.inAck, frame.offset);
    case "pong": {
      const { view, bytes } = blank(17, KIND.pong);
      view.setUint32(1, frame.nonce);
      view.setUint32(5, frame.device_rtt_us);
      putOffset(view, 9, frame.head);
      return bytes;
    }
    case "snap": {
      const { view, bytes } = blank(13 + frame.bytes.length, KIND.snap);
      putOffset(view, 1, frame.offset);
      view.setUint16(9, frame.cols);
      view.setUint16(11, frame.rows);
      bytes.set(frame.bytes, 13);
      return bytes;
    }
    case "control":
      return JSON.stringify(frame.control);
  }
}

/** What a viewer sent, as a host reads it. */
export function decodeViewerFrame(message: string | Uint8Array): ViewerFrame | null {
  if (typeof message === "string") {
    return { kind: "control", control: JSON.parse(message) as ViewerControl };
  }
  const fields = new Fields(message, MESSAGE_BYTES_MAX);
  const kind = fields.u8();
  switch (kind) {
    case KIND.in:
      return { kind: "in", offset: fields.offset(), bytes: fields.payload(MESSAGE_BYTES_MAX) };
    case KIND.ack:
      return { kind: "ack", offset: fields.offset() };
    case KIND.ping:
      return { kind: "ping", nonce: fields.u32(), acked: fields.offset() };
    case KIND.resize: {
      const [seq, cols, rows] = [fields.u32(), fields.u16(), fields.u16()];
      return { kind: "resize", seq, size: { cols, rows, xpx: fields.u16(), ypx: fields.u16() } };
    }
    case KIND.signal:
      return { kind: "signal", number: fields.u8() };
    default:
      return ignorable(kind);
  }
}

// Of `WebSocket.readyState`.
export const OPEN = 1;
export const CLOSING = 2;

/** A socket whose other end is the test. */
export class FakeSocket implements SocketLike {
  binaryType = "blob";
  onopen: ((event: unknown) => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  readyState: number = OPEN;
  bufferedAmount = 0;
  closedWith: number | null = null;
  readonly sent: ViewerFrame[] = [];

  send(data: string | Uint8Array<ArrayBuffer>): void {
    const frame = decodeViewerFrame(data);
    if (frame) this.sent.push(frame);
  }

  close(code = 1000): void {
    this.closedWith = code;
    this.readyState = CLOSING;
  }

  /** Everything that was sent since the last time. */
  take(): ViewerFrame[] {
    return this.sent.splice(0);
  }

  gets(frame: HostFrame): void {
    const data = encodeHostFrame(frame);
    this.onmessage?.({ data: typeof data === "string" ? data : data.buffer });
  }
}

/** A browser in which time stands still until it is told to pass. */
export class FakeBrowser implements LinkEnvironment {
  time = 1_000_000;
  chance = 0;
  isVisible = true;
  readonly sockets: FakeSocket[] = [];
  readonly stored = new Map<string, string>();
  private timers: { id: number; at: number; call: () => void }[] = [];
  private ids = 1;
  wake = () => {};
  visibility = (_visible: boolean) => {};
  leave = () => {};

  readonly storage = {
    getItem: (key: string) => this.stored.get(key) ?? null,
    setItem: (key: string, value: string) => void this.stored.set(key, value),
    removeItem: (key: string) => void this.stored.delete(key),
  };

  open(): SocketLike {
    const socket = new FakeSocket();
    this.sockets.push(socket);
    return socket;
  }

  now = () => this.time;
  random = () => this.chance;
  visible = () => this.isVisible;

  setTimer(call: () => void, ms: number): number {
    const id = this.ids++;
    this.timers.push({ id, at: this.time + ms, call });
    return id;
  }

  clearTimer(id: number): void {
    this.timers = this.timers.filter((timer) => timer.id !== id);
  }

  watchPage(wake: () => void, visible: (visible: boolean) => void, leave: () => void): () => void {
    this.wake = wake;
    this.visibility = visible;
    this.leave = leave;
    return () => {
      this.leave = () => {};
      this.wake = () => {};
      this.visibility = () => {};
    };
  }

  /** How many timers are set. */
  get waiting(): number {
    return this.timers.length;
  }

  /** Lets time pass, calls what is due in its order, and lets promises settle. */
  async pass(ms: number): Promise<void> {
    const end = this.time + ms;
    await settled();
    for (;;) {
      const due = this.timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.clearTimer(due.id);
      this.time = Math.max(this.time, due.at);
      due.call();
      await settled();
    }
    this.time = end;
  }

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (!last) throw new Error("nothing was opened");
    return last;
  }
}

/** Every promise and microtask that was under way has come to its end. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
