// The status of a link: what is on the board, and when it is told.

import { codeByName } from "./codes";
import type { LinkOptions } from "./face";
import type { HostControl } from "./protocol";
import type { Failure, InputState, LinkStatus } from "./status";

/** How long what is typed while the connection is down still counts as meant. */
export const INPUT_QUEUES_MS = 2_000;

/** What changes too often to be told each time. */
export type Gauges = Pick<
  LinkStatus,
  "inputWaiting" | "inputWaitingSince" | "behind" | "rttMs" | "deviceRttMs"
>;

/** How often the gauges are told. */
export const GAUGES_EVERY_MS = 250;

export class Board {
  private shown: LinkStatus;
  private told: LinkStatus;

  constructor(options: LinkOptions, now: number) {
    this.shown = {
      phase: "connecting",
      session: options.session,
      input: "off",
      inputWaiting: 0,
      inputWaitingSince: null,
      steps: [],
      network: "steady",
      networkSince: now,
      lostSince: null,
      attempt: 0,
      retryAt: null,
      keptUntil: null,
      waiting: false,
      device: "steady",
      deviceSince: now,
      deviceKeptUntil: null,
      deviceName: "",
      login: "",
      keeper: false,
      role: null,
      viewers: { drivers: 0, watchers: 0 },
      size: options.size,
      takenOverBy: null,
      ending: null,
      failure: null,
      behind: 0,
      rttMs: null,
      deviceRttMs: null,
    };
    this.told = this.shown;
  }

  get status(): LinkStatus {
    return this.shown;
  }

  change(now: number, news: Partial<LinkStatus>): void {
    const next = { ...this.shown, ...news };
    this.shown = { ...next, input: inputOf(next, now) };
  }

  /** The status if it was not told yet. */
  news(): LinkStatus | null {
    if (this.told === this.shown || same(this.told, this.shown)) return null;
    this.told = this.shown;
    return this.shown;
  }
}

/** What a message of the host changes. */
export function newsOf(control: HostControl, status: LinkStatus, now: number): Partial<LinkStatus> {
  switch (control.t) {
    case "attached":
      return {
        role: control.role,
        size: control.size,
        deviceName: control.device,
        login: control.login,
        keeper: control.keeper,
        device: "steady",
        deviceKeptUntil: null,
        network: "steady",
        retryAt: null,
      };
    case "step": {
      const others = status.steps.filter(({ step }) => step !== control.step);
      const steps = [...others, { step: control.step, ms: control.ms }];
      return { steps, waiting: status.phase !== "live" };
    }
    case "live":
      return { phase: "live", waiting: false, lostSince: null, keptUntil: null, failure: null };
    case "size":
      return { size: control.size };
    case "device": {
      const lost = control.state === "lost";
      const deviceKeptUntil = lost ? now + control.kept_s * 1000 : null;
      // Said again and again while it lasts.
      const deviceSince = control.state === status.device ? status.deviceSince : now;
      const waiting = status.phase !== "live";
      return { device: control.state, deviceSince, deviceKeptUntil, waiting };
    }
    case "viewers":
      return { viewers: { drivers: control.drivers, watchers: control.watchers } };
    case "role":
      return { role: control.role };
    case "taken_over":
      return { takenOverBy: control.by };
    case "ended":
      return { ending: control.ending };
    default:
      return {};
  }
}

/** An error message, as it is shown. */
export function failureIn(error: HostControl & { t: "error" }): Failure {
  const number = codeByName(error.code)?.number ?? 4500;
  const { code, text, remedy, request_id } = error;
  return { number, code, text, remedy, requestId: request_id ?? null };
}

function inputOf(status: LinkStatus, now: number): InputState {
  if (status.role === "watcher") return "off";
  if (status.phase === "reconnecting") {
    const down = now - (status.lostSince ?? now);
    return down < INPUT_QUEUES_MS ? "queued" : "blocked";
  }
  if (status.phase !== "live") return "off";
  return status.device === "lost" ? "blocked" : "on";
}

function same(one: LinkStatus, other: LinkStatus): boolean {
  const keys = Object.keys(one) as (keyof LinkStatus)[];
  return keys.every((key) => one[key] === other[key]);
}
