// What the page of the sessions holds: those that go on, those that are over, what is searched.

import { computed, signal } from "@preact/signals";

import { api, type SessionInfo } from "../api";
import { administers } from "./account";
import { continued, type EndedList, refreshed } from "./ended-list";
import { browserSurroundings, type Surroundings } from "./repeat";
import { killedWords, matching, type SessionState } from "./session-words";
import { troubleFrom } from "./trouble";
import { Watching } from "./watching";

/** Which of the two lists is looked at. */
export type Shown = "running" | "ended";

const EVERY_MS = 2000;
const NEWS_MS = 300;
/** How long somebody who types a search pauses when they have typed it. */
const TYPED_MS = 250;
/** So many ended sessions are asked for at once. */
const PAGE = 50;

export class SessionsView {
  readonly watching: Watching;
  readonly shown = signal<Shown>("running");
  readonly search = signal("");
  /** Of those that go on, only those in this state; empty: all. */
  readonly state = signal<SessionState | "">("");
  /** Null: not known yet. */
  readonly live = signal<readonly SessionInfo[] | null>(null);
  readonly ended = signal<EndedList | null>(null);
  /** Older ones are being asked for. */
  readonly reading = signal(false);
  /** What came of what the person did. */
  readonly outcome = signal("");
  private typing: number | undefined;

  readonly running = computed(() => {
    const state = this.state.value;
    const found = matching(this.live.value ?? [], this.search.value);
    return state === "" ? found : found.filter((session) => session.state === state);
  });

  constructor(private readonly around: Surroundings = browserSurroundings) {
    const hearers = { session: () => this.watching.soon() };
    const pace = { everyMs: EVERY_MS, newsMs: NEWS_MS };
    this.watching = new Watching(() => this.ask(), hearers, pace, administers, around);
  }

  show(shown: Shown): void {
    this.shown.value = shown;
    this.watching.now();
  }

  /** The ended ones are searched by the broker, when the person has typed. */
  find(search: string): void {
    this.search.value = search;
    this.ended.value = null;
    this.around.clearTimeout(this.typing);
    this.typing = this.around.setTimeout(() => this.watching.now(), TYPED_MS);
  }

  /** Asks for the ended ones that are older than those that are shown. */
  async readOlder(): Promise<void> {
    const before = this.ended.value;
    if (before === null || before.next === null || this.reading.value) return;
    const search = this.search.value;
    this.reading.value = true;
    try {
      const page = await api.endedSessions(search, PAGE, before.next);
      const now = this.ended.value;
      if (now !== null && search === this.search.value) this.ended.value = continued(now, page);
    } catch (error) {
      this.watching.trouble.value = troubleFrom(error);
    }
    this.reading.value = false;
  }

  /** Ends a session; gives what is in the way, or null when it is over. */
  async end(session: SessionInfo, reason: string): Promise<string | null> {
    try {
      const { killed } = await api.endSession(session.id, reason);
      this.outcome.value = killedWords(session, killed);
    } catch (error) {
      return troubleFrom(error).text;
    }
    this.watching.now();
    return null;
  }

  private async ask(): Promise<void> {
    const search = this.search.value;
    const wanted = this.shown.value === "ended";
    const [live, first] = await Promise.all([
      api.liveSessions(),
      wanted ? api.endedSessions(search, PAGE, null) : null,
    ]);
    this.live.value = live;
    if (first && search === this.search.value) {
      this.ended.value = refreshed(this.ended.value, first);
    }
  }
}
