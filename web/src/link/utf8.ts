// xterm.js 6.0.0 drops characters when UTF-8 is split after a byte 0x80, so nothing that ends
// inside a character is handed to it: the tail waits for the next bytes, however long they take.
// (A terminal that gets it byte by byte shows nothing of it either before it is whole.)

/** How long a tail stays unacknowledged. */
export const TAIL_WAITS_MS = 20;

/** Keeps back the incomplete character at the end of what passes. */
export class Utf8Gate {
  private tail: Uint8Array = new Uint8Array(0);

  /** How many bytes are kept back. */
  get kept(): number {
    return this.tail.length;
  }

  /** The bytes, with what was kept back in front and without an incomplete end. */
  pass(bytes: Uint8Array): Uint8Array {
    const whole = this.tail.length > 0 ? joined(this.tail, bytes) : bytes;
    const length = whole.length - incompleteAtEnd(whole);
    this.tail = whole.slice(length);
    return whole.subarray(0, length);
  }

  /** What was kept back belongs to a screen that is gone. */
  forget(): void {
    this.tail = new Uint8Array(0);
  }
}

function joined(front: Uint8Array, back: Uint8Array): Uint8Array {
  const whole = new Uint8Array(front.length + back.length);
  whole.set(front);
  whole.set(back, front.length);
  return whole;
}

/** How many bytes at the end (0 to 3) are the beginning of a character. */
function incompleteAtEnd(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return lengthOf(byte) > back ? back : 0;
  }
  return 0;
}

/** How long the character is that begins with this byte; 0: none does. */
function lengthOf(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}
