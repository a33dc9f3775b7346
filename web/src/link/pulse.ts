// Whether the other side is still there: a browser cannot see that a connection is dead.
// The twin of `wire/src/term/viewer/pulse.rs`. All times in milliseconds.

/** An answer that is later than this is worth a word to the person. */
const UNSTABLE_AFTER = 3_000;
/** How long a probe (the page was shown again, the network is back) waits for its answer. */
const PROBE_WAITS = 2_000;

interface Asked {
  at: number;
  deadAfter: number;
}

export class Pulse {
  private every = 5_000;
  private deadAfter = 15_000;
  /** Nobody looks: do not ping. */
  private hidden = false;
  private nonce = 0;
  /** Something was asked (the hello, or a ping) and not yet answered. */
  private asked: Asked | null = null;
  private lastAsked: number | null = null;
  private pingDue = false;
  /** The ping that is due is a probe. */
  private probing = false;
  private heardAt: number | null = null;
  private unstable = false;
  rtt: number | null = null;

  /** The hello goes out. */
  connected(now: number): void {
    this.disconnected();
    this.asked = { at: now, deadAfter: this.deadAfter };
    this.lastAsked = now;
  }

  disconnected(): void {
    this.asked = null;
    this.lastAsked = null;
    this.heardAt = null;
    this.pingDue = false;
    this.probing = false;
    this.unstable = false;
  }

  attached(every: number, deadAfter: number): void {
    this.every = every;
    this.deadAfter = deadAfter;
    this.asked = null;
  }

  /** Something came. True: it ends an unstable time. */
  heard(now: number): boolean {
    this.heardAt = now;
    const wasUnstable = this.unstable;
    this.unstable = false;
    return wasUnstable;
  }

  answered(now: number, nonce: number): void {
    if (nonce !== this.nonce || !this.asked) return;
    this.rtt = Math.max(0, now - this.asked.at);
    this.asked = null;
  }

  /** The page was shown, or the network is back: ask at once, and do not wait long. */
  probe(now: number): void {
    if (this.asked) {
      const silentFor = Math.max(0, now - this.silentSince(this.asked));
      const deadAfter = Math.min(this.asked.deadAfter, silentFor + PROBE_WAITS);
      this.asked = { at: this.asked.at, deadAfter };
    } else {
      this.pingDue = true;
      this.probing = true;
    }
  }

  setHidden(hidden: boolean): void {
    this.hidden = hidden;
  }

  /** The nonce for a PING, when one is due. */
  nextPing(now: number): number | null {
    const due = this.pingDue;
    this.pingDue = false;
    if (!due || this.asked) return null;
    this.nonce = (this.nonce + 1) >>> 0;
    // Counted from the last sign of life, which may be as old as the time between two pings.
    const deadAfter = Math.max(UNSTABLE_AFTER, this.deadAfter - this.every);
    this.asked = { at: now, deadAfter: this.probing ? PROBE_WAITS : deadAfter };
    this.probing = false;
    this.lastAsked = now;
    return this.nonce;
  }

  /** `waits`: something was typed that the program has not taken yet. */
  deadline(waits: boolean): number | null {
    if (this.asked) {
      const { deadAfter } = this.asked;
      const next = this.unstable ? deadAfter : Math.min(UNSTABLE_AFTER, deadAfter);
      return this.silentSince(this.asked) + next;
    }
    if (this.pingDue || (this.hidden && !waits) || this.lastAsked === null) return null;
    return this.lastAsked + this.every;
  }

  handleTimeout(now: number, waits: boolean): "unstable" | "dead" | null {
    const due = this.deadline(waits);
    if (due === null || due > now) return null;
    if (!this.asked) {
      this.pingDue = true;
      return null;
    }
    if (now >= this.silentSince(this.asked) + this.asked.deadAfter) {
      this.asked = null;
      this.lastAsked = null;
      return "dead";
    }
    this.unstable = true;
    return "unstable";
  }

  private silentSince(asked: Asked): number {
    return this.heardAt === null ? asked.at : Math.max(this.heardAt, asked.at);
  }
}
