// What a terminal answers while it parses a replay is nobody's question: the program has long gone
// on, or was answered by whoever looked at it then.

/** The part of xterm.js that is used. */
export interface Writable {
  write(data: string | Uint8Array, done?: () => void): void;
}

const NOTHING = new Uint8Array(0);

/** Says of everything that a terminal sends whether a replay made it send it. */
export class Replay {
  private inside = 0;

  constructor(private readonly term: Writable) {}

  /** Writes what a program wrote before. The marks go in band: output that still waits to be parsed
   * is live, and so is what comes after. */
  write(data: string | Uint8Array, done?: () => void): void {
    this.term.write(NOTHING, () => {
      this.inside += 1;
    });
    this.term.write(data, () => {
      this.inside -= 1;
      done?.();
    });
  }

  /** Whether what is parsed now is a replay. */
  get going(): boolean {
    return this.inside > 0;
  }

  /** Whether this is an answer to a replay. Every answer begins with ESC; what a person types
   * meanwhile counts. */
  answers(data: string): boolean {
    return this.going && data.startsWith("\x1b");
  }
}
