// The broker's stream of events. It ends while the page is hidden, and comes back by itself.

import { signal } from "@preact/signals";

import { browserSurroundings, type Surroundings } from "./repeat";

/** `lost`: it was tried in vain, and is tried again. */
export type FeedState = "connecting" | "open" | "lost";

/** What a feed needs of an `EventSource`. */
export interface Source {
  readonly readyState: number;
  onopen: (() => void) | null;
  onerror: (() => void) | null;
  addEventListener(name: string, heard: (event: { data: string }) => void): void;
  close(): void;
}

/** By the name of the event; its data is JSON. */
export type Hearers = Record<string, (data: unknown) => void>;

const CLOSED = 2;
const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 15_000;

export class Feed {
  readonly state = signal<FeedState>("connecting");
  private source: Source | null = null;
  private tries = 0;
  private timer: number | undefined;
  private unwatch = () => {};

  constructor(
    private readonly hearers: Hearers,
    /** It is open (again): what happened meanwhile was not heard. */
    private readonly opened: () => void,
    private readonly around: Surroundings = browserSurroundings,
    private readonly connect: () => Source = () => new EventSource("/api/v1/events") as Source,
  ) {}

  start(): void {
    this.unwatch = this.around.onVisibility(() => this.shown());
    this.shown();
  }

  stop(): void {
    this.unwatch();
    this.close();
  }

  private shown(): void {
    if (this.around.hidden()) this.close();
    else if (this.source === null) this.open();
  }

  private open(): void {
    this.around.clearTimeout(this.timer);
    const source = this.connect();
    this.source = source;
    source.onopen = () => {
      this.tries = 0;
      this.state.value = "open";
      this.opened();
    };
    source.onerror = () => this.failed(source);
    for (const [name, hear] of Object.entries(this.hearers)) {
      source.addEventListener(name, ({ data }) => hear(parsed(data)));
    }
  }

  /** The browser tries again by itself after a break, but not after an answer that says no. */
  private failed(source: Source): void {
    this.state.value = "lost";
    if (source.readyState !== CLOSED) return;
    this.close();
    const pause = Math.min(RETRY_FIRST_MS * 2 ** this.tries, RETRY_MAX_MS);
    this.tries += 1;
    this.timer = this.around.setTimeout(() => this.shown(), pause);
  }

  private close(): void {
    this.around.clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
