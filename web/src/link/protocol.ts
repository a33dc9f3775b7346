// The frames of `moorline.term.v1`, as `wire/src/term/frame.rs` has them; both pass the golden
// frames in `wire/golden/term`. Nothing here knows the DOM, a socket or a clock.

/** The WebSocket subprotocol of this version. */
export const SUBPROTOCOL = "moorline.term.v1";

/** Cells and, where known, pixels. */
export interface Size {
  cols: number;
  rows: number;
  xpx: number;
  ypx: number;
}

/** Only the driver types and sizes; watchers look. */
export type Role = "driver" | "watcher";
/** The steps of the setup, in order; each is told as it ends. */
export type Step = "broker" | "device" | "host_key" | "login" | "shell";
/** How a leg is. */
export type LegState = "steady" | "unstable" | "lost";
/** How a program ended. */
export type Exit = { status: number } | { signal: string };
/** Why a session is over. */
export interface Ending {
  code: string;
  text: string;
  by?: string;
  exit?: Exit;
}
/** Output that is gone: `from..to`. */
export interface Gap {
  from: number;
  to: number;
}

/** The first message after a hello that was accepted. */
export interface Attached {
  t: "attached";
  session: string;
  resume: string;
  role: Role;
  from: number;
  head: number;
  in_ack: number;
  window: number;
  in_window: number;
  ping_ms: number;
  dead_ms: number;
  size: Size;
  gap?: Gap;
  snapshot: boolean;
  kept_s: number;
  keeper: boolean;
  device: string;
  login: string;
}

/** Text messages of the host. A `t` that this version does not know is ignored. */
export type HostControl =
  | Attached
  | { t: "step"; step: Step; ms: number }
  | { t: "live" }
  | { t: "size"; size: Size; offset: number }
  | { t: "device"; state: LegState; kept_s: number }
  | { t: "notice"; text: string }
  | { t: "viewers"; drivers: number; watchers: number }
  | { t: "role"; role: Role }
  | { t: "taken_over"; by: string }
  | { t: "ended"; ending: Ending }
  | { t: "error"; code: string; text: string; remedy: string; request_id?: string };
