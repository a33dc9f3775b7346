// A list that is asked for again and again, with the broker's stream of events beside it, and what is
// in the way of either.

import { effect, type ReadonlySignal, signal } from "@preact/signals";

import { Feed, type Hearers } from "./feed";
import { browserSurroundings, type Pace, type Repeated, repeat, type Surroundings } from "./repeat";
import { type Trouble, troubleFrom } from "./trouble";

/** Who was refused is hardly allowed a second later. */
const REFUSED_MS = 15_000;

export class Watching {
  /** When the list was last heard of; null: never yet. */
  readonly heardAt = signal<number | null>(null);
  readonly trouble = signal<Trouble | null>(null);
  readonly feed: Feed;
  private asking: Repeated | null = null;

  constructor(
    private readonly ask: () => Promise<void>,
    hearers: Hearers,
    private readonly pace: Pace,
    /** Whether this person may listen: administrators may. */
    private readonly mayListen: ReadonlySignal<boolean>,
    private readonly around: Surroundings = browserSurroundings,
    connect?: ConstructorParameters<typeof Feed>[3],
  ) {
    const soon = () => this.soon();
    this.feed = new Feed({ overflow: soon, ...hearers }, soon, around, connect);
  }

  /** Asks and listens until the returned function is called. */
  start(): () => void {
    const asking = repeat(
      () => this.askOnce(),
      () => this.paceNow(),
      this.around,
    );
    this.asking = asking;
    const listening = effect(() => {
      if (!this.mayListen.value) return;
      this.feed.start();
      return () => this.feed.stop();
    });
    return () => {
      asking.stop();
      listening();
    };
  }

  /** There is news. */
  soon(): void {
    this.asking?.soon();
  }

  /** The person wants to know. */
  now(): void {
    this.asking?.now();
  }

  private async askOnce(): Promise<void> {
    try {
      await this.ask();
      this.heardAt.value = Date.now();
      this.trouble.value = null;
    } catch (error) {
      this.trouble.value = troubleFrom(error);
    }
  }

  private paceNow(): Pace {
    const refused = this.trouble.value?.is === "refused";
    return refused ? { everyMs: REFUSED_MS, newsMs: REFUSED_MS } : this.pace;
  }
}
