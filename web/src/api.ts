// The broker's JSON API: the only file that fetches.

import { codeByName, type Ending, LinkFailure } from "./link";

export interface Me {
  person: string;
  mode: string;
  roles: string[];
  version: string;
}

export type DeviceState = "online" | "unstable" | "away" | "offline";

export interface Device {
  id: string;
  name: string;
  state: DeviceState;
  since: string | null;
  rtt_ms: number | null;
  login: string;
  platform: string;
  sshd: "embedded" | "system";
  software: string;
  last_seen: string | null;
  host_key: "pinned" | "changed";
  fingerprints: string[];
  sessions: number;
}

export interface SessionInfo {
  id: string;
  device: string;
  device_name: string;
  login: string;
  person: string;
  state: "connecting" | "live" | "detached" | "device_away" | "adrift" | "ended";
  started: string;
  ended: string | null;
  ending: Ending | null;
  viewers: number;
  /** A keeper on the device has the shell; null: not known yet. */
  kept: boolean | null;
  command: string | null;
}

export interface Opened {
  id: string;
  ticket: string;
}

/** An answer that says no: a code of the table, a sentence, what to do. */
export class Refusal extends Error {
  constructor(
    readonly code: string,
    text: string,
    readonly requestId: string | null,
  ) {
    super(text);
  }
}

/** How long the broker may take for an answer before the page says that it cannot be reached. */
const ANSWER_WITHIN_MS = 10_000;

export const api = {
  me: () => ask<Me>("GET", "me"),
  devices: () => ask<{ devices: Device[] }>("GET", "devices").then((answer) => answer.devices),
  device: (id: string) => ask<Device>("GET", `devices/${id}`),
  acceptHostKeys: (id: string) => ask<Device>("PATCH", `devices/${id}`, { accept_host_keys: true }),
  open: (device: string, cols: number, rows: number) =>
    ask<Opened>("POST", "sessions", { device, cols, rows }),
  ticket: (session: string) =>
    ask<{ ticket: string }>("POST", `sessions/${session}/tickets`, {}).then(
      (answer) => answer.ticket,
    ),
  session: (id: string) => ask<SessionInfo>("GET", `sessions/${id}`),
  liveSessions: () =>
    ask<{ sessions: SessionInfo[] }>("GET", "sessions?state=live").then(
      (answer) => answer.sessions,
    ),
  endSession: (id: string) => ask<{ killed: boolean }>("DELETE", `sessions/${id}`),
};

/** Where a session's terminal is spoken with. */
export function terminalUrl(session: string): string {
  const base = location.origin.replace(/^http/, "ws");
  return `${base}/api/v1/sessions/${session}/terminal`;
}

/** A ticket as the link asks for it: a refusal that stays one ends the tries. */
export async function ticketForLink(session: string): Promise<string> {
  try {
    return await api.ticket(session);
  } catch (error) {
    if (error instanceof Refusal && (codeByName(error.code)?.status ?? 500) < 500) {
      throw new LinkFailure(error.code, error.message, error.requestId);
    }
    throw error;
  }
}

async function ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(`/api/v1/${path}`, {
    method,
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    cache: "no-store",
    ...(body !== undefined && {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer as Answer;
  const { code, message, request_id } = (answer ?? {}) as Record<string, string | undefined>;
  throw new Refusal(
    code ?? "internal",
    message ?? `The broker answered with ${response.status} and no explanation.`,
    request_id ?? response.headers.get("X-Request-Id"),
  );
}
