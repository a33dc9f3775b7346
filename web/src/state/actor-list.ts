// The actors as the broker told of them last, kept true between two lists by its events.

import type { ActorAnswer, ActorInfo, ActorTotals } from "../api";
import { type Actor, keyOf } from "./actors";

export class ActorList {
  private known = new Map<string, Actor>();
  totals: readonly ActorTotals[] = [];

  /** By their keys. The same map, changed, from one list to the next. */
  get actors(): ReadonlyMap<string, Actor> {
    return this.known;
  }

  /** Takes a whole list; `now` is the clock of this page, which may not agree with the broker's. */
  replace(answer: Omit<ActorAnswer, "next">, now: number): void {
    const ahead = now - Date.parse(answer.at);
    const actors = answer.actors.map((actor) => actorFrom(actor, now, ahead));
    this.known = new Map(actors.map((actor) => [keyOf(actor), actor]));
    this.totals = answer.totals;
  }

  /** Takes what an event tells of one; `false`: that is no news. */
  change(told: ActorInfo, now: number): boolean {
    const key = keyOf(told);
    const before = this.known.get(key);
    const ended = told.state === "ended";
    // One that was started anew meanwhile is another than the one that is told of.
    if (before ? before.number > told.number : ended) return false;
    if (ended) this.known.delete(key);
    else this.known.set(key, actorFrom(told, now, 0));
    return true;
  }
}

function actorFrom(actor: ActorInfo, now: number, ahead: number): Actor {
  const failedAt = actor.last_failure && Date.parse(actor.last_failure.at) + ahead;
  return { ...actor, beganAt: now - actor.uptime_seconds * 1000, failedAt };
}
