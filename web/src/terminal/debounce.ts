/** What runs after things have been quiet for a moment, at the latest after `maxMs`; the last call always counts. */
export class Debounce {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private first = 0;

  constructor(
    private readonly run: () => void,
    private readonly quietMs: number,
    private readonly maxMs: number,
    private readonly clock: { now(): number } = Date,
  ) {}

  /** Something changed. */
  call(): void {
    const now = this.clock.now();
    if (this.timer === undefined) this.first = now;
    clearTimeout(this.timer);
    const wait = Math.min(this.quietMs, Math.max(0, this.first + this.maxMs - now));
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.run();
    }, wait);
  }

  /** Forgets what is due. */
  cancel(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
