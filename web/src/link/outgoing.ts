// What was typed and pasted, until the program has it.
// The twin of `wire/src/term/viewer/outgoing.rs`.

import { type ViewerFrame, Violation } from "./protocol";

/** The most input in one IN: a Ctrl-C never waits behind more than this. */
const PIECE_BYTES_MAX = 8 * 1024;
/** What of the window is left to the keyboard: a paste does not fill it to the brim. */
const KEYBOARD_RESERVE = 8 * 1024;
/** More than this is not queued. */
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;

const PASTE_BEGIN = Uint8Array.from([0x1b, 0x5b, 0x32, 0x30, 0x30, 0x7e]);
const PASTE_END = Uint8Array.from([0x1b, 0x5b, 0x32, 0x30, 0x31, 0x7e]);

interface Queued {
  bytes: Uint8Array;
  /** Null: typed by hand. */
  paste: { sent: number; bracketed: boolean } | null;
}

/** A paste that an interrupt ended. */
export interface Cancelled {
  sent: number;
  dropped: number;
}

export class Outgoing {
  private queue: Queued[] = [];
  private queued = 0;
  /** Input from `acked` on that has an offset, kept until it is taken; never over a window long. */
  private kept: Uint8Array = new Uint8Array(0);
  private acked = 0;
  /** How far it was sent on this connection. */
  private sent = 0;
  private window = 0;
  /** Since when what waits has not become less; null: nothing waits. */
  waitingSince: number | null = null;

  /** The offset of the next new byte. */
  get next(): number {
    return this.acked + this.kept.length;
  }

  /** How many bytes the program has not taken. */
  get waiting(): number {
    return this.queued + this.kept.length;
  }

  /** False: more waits already than is kept. */
  typed(now: number, bytes: Uint8Array): { taken: boolean; cancelled: Cancelled | null } {
    if (bytes.length === 0 || this.queued + bytes.length > QUEUE_BYTES_MAX) {
      return { taken: bytes.length === 0, cancelled: null };
    }
    // Ctrl-C, Ctrl-Z, Ctrl-\.
    const interrupts = bytes.some((byte) => byte === 0x03 || byte === 0x1a || byte === 0x1c);
    const cancelled = interrupts ? this.cancelPaste() : null;
    this.enqueue(now, { bytes, paste: null });
    return { taken: true, cancelled };
  }

  /** False: more waits already than is kept. */
  pasted(now: number, bytes: Uint8Array): boolean {
    if (bytes.length === 0 || this.queued + bytes.length > QUEUE_BYTES_MAX) {
      return bytes.length === 0;
    }
    const begins = PASTE_BEGIN.every((byte, at) => bytes[at] === byte);
    const ends = PASTE_END.every(
      (byte, at) => bytes[bytes.length - PASTE_END.length + at] === byte,
    );
    this.enqueue(now, { bytes, paste: { sent: 0, bracketed: begins && ends } });
    return true;
  }

  private enqueue(now: number, queued: Queued): void {
    this.queued += queued.bytes.length;
    this.queue.push(queued);
    this.waitingSince ??= now;
  }

  /** Drops every paste that is not yet sent. One that the program has begun to read as a
   * bracketed paste is brought to its end, or the interrupt would become a part of it. */
  private cancelPaste(): Cancelled | null {
    const cancelled = { sent: 0, dropped: 0 };
    this.queue = this.queue.flatMap((queued) => {
      const { bytes, paste } = queued;
      if (!paste) return [queued];
      const rest = paste.bracketed && paste.sent > 0 ? Math.min(PASTE_END.length, bytes.length) : 0;
      cancelled.sent += paste.sent;
      cancelled.dropped += bytes.length - rest;
      // From here on it is worth as much as a key, and may use the room of the keyboard.
      return rest > 0 ? [{ bytes: bytes.subarray(bytes.length - rest), paste: null }] : [];
    });
    this.queued -= cancelled.dropped;
    return cancelled.dropped > 0 ? cancelled : null;
  }

  /** A new connection: everything from `inAck` on is sent again. */
  attached(now: number, inAck: number, window: number): void {
    if (inAck < this.acked) {
      throw new Violation("the host wants input again that it had acknowledged");
    }
    this.window = window;
    if (inAck > this.next) {
      // Another life of this tab typed it; nothing of ours is missing there.
      this.kept = new Uint8Array(0);
      this.acked = inAck;
    } else {
      this.forgetBelow(now, inAck);
    }
    this.sent = this.acked;
  }

  acknowledged(now: number, offset: number): void {
    // What a former connection brought may be acknowledged before it is sent again on this one.
    if (offset > this.next) {
      throw new Violation("the host acknowledges input that was never sent");
    }
    this.forgetBelow(now, offset);
    this.sent = Math.max(this.sent, this.acked);
  }

  private forgetBelow(now: number, offset: number): void {
    if (offset <= this.acked) return;
    this.kept = this.kept.slice(offset - this.acked);
    this.acked = offset;
    this.waitingSince = this.waiting > 0 ? now : null;
  }

  /** What was sent under the old key is given up; what is queued stays. */
  startOver(): void {
    this.kept = new Uint8Array(0);
    this.acked = 0;
    this.sent = 0;
    if (this.queued === 0) this.waitingSince = null;
  }

  /** Whether `nextFrame` has something. */
  hasNext(): boolean {
    if (this.sent === this.next) this.takeFromQueue();
    return this.sent < this.next;
  }

  nextFrame(): ViewerFrame | null {
    if (!this.hasNext()) return null;
    const from = this.sent - this.acked;
    const bytes = this.kept.slice(from, from + PIECE_BYTES_MAX);
    const offset = this.sent;
    this.sent += bytes.length;
    return { kind: "in", offset, bytes };
  }

  /** Gives the front of the queue its offset, as far as the window goes. */
  private takeFromQueue(): void {
    const front = this.queue[0];
    if (!front) return;
    const room = this.window - (front.paste ? KEYBOARD_RESERVE : 0) - this.kept.length;
    const length = Math.min(front.bytes.length, PIECE_BYTES_MAX, Math.max(0, room));
    const kept = new Uint8Array(this.kept.length + length);
    kept.set(this.kept);
    kept.set(front.bytes.subarray(0, length), this.kept.length);
    this.kept = kept;
    front.bytes = front.bytes.subarray(length);
    if (front.paste) front.paste.sent += length;
    if (front.bytes.length === 0) this.queue.shift();
    this.queued -= length;
  }
}
