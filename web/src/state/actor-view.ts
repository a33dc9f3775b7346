// What the page of the actors holds: the list, the stream beside it, the filter, what is open.

import { computed, signal } from "@preact/signals";

import { type ActorInfo, type ActorTotals, api } from "../api";
import { administers } from "./account";
import { ActorList } from "./actor-list";
import { type ActorFilter, rowsOf } from "./actors";
import { browserSurroundings, type Surroundings } from "./repeat";
import { wordsOf } from "./search";
import { Watching } from "./watching";

/** Asked for each second, so that mailboxes are seen as they are; more rarely when the list is long. */
const EVERY_MS = 1000;
/** A storm of events is drawn so often. */
const DRAWN_MS = 100;

export class ActorView {
  readonly watching: Watching;
  readonly kind = signal<string | null>(null);
  readonly unhealthy = signal(false);
  readonly search = signal("");
  private readonly list = new ActorList();
  /** The list is changed in place; this says that it was. */
  private readonly version = signal(0);
  private readonly opened = signal<ReadonlyMap<string, boolean>>(new Map());
  private drawing = false;

  readonly filter = computed<ActorFilter>(() => ({
    kind: this.kind.value,
    unhealthy: this.unhealthy.value,
    words: wordsOf(this.search.value),
  }));

  readonly rows = computed(() => {
    void this.version.value;
    return rowsOf(this.list.actors, this.filter.value, this.opened.value);
  });

  readonly totals = computed(() => {
    void this.version.value;
    return this.list.totals;
  });

  constructor(private readonly around: Surroundings = browserSurroundings) {
    const hearers = {
      actor: (told: unknown) => this.hear(told as ActorInfo | null),
      actors: (told: unknown) => this.hearTotals(told as { totals: ActorTotals[] } | null),
    };
    const pace = { everyMs: EVERY_MS, newsMs: EVERY_MS / 2 };
    this.watching = new Watching(() => this.ask(), hearers, pace, administers, around);
  }

  /** Opens or folds what is below a line. */
  fold(key: string, open: boolean): void {
    this.opened.value = new Map(this.opened.value).set(key, open);
  }

  /** Wants to see all. */
  clear(): void {
    this.kind.value = null;
    this.unhealthy.value = false;
    this.search.value = "";
  }

  private async ask(): Promise<void> {
    this.list.replace(await api.actors(), Date.now());
    this.version.value += 1;
  }

  private hear(actor: ActorInfo | null): void {
    if (actor !== null && this.list.change(actor, Date.now())) this.changed();
  }

  private hearTotals(told: { totals: ActorTotals[] } | null): void {
    if (told === null) return;
    this.list.totals = told.totals;
    this.changed();
  }

  private changed(): void {
    if (this.drawing) return;
    this.drawing = true;
    this.around.setTimeout(() => {
      this.drawing = false;
      this.version.value += 1;
    }, DRAWN_MS);
  }
}
