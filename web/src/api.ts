// The broker's JSON API: the only file that fetches.

import { codeByName, type Ending, LinkFailure } from "./link";

export interface Me {
  person: string;
  /** `demo`: everybody who reaches the broker is this person. */
  mode: "demo" | "login" | "token";
  roles: Role[];
  /** `missing`: the broker requires one, and takes nothing else before it is set up. */
  second_factor: "on" | "off" | "missing";
  /** So many are left. */
  recovery_codes: number;
  ways: Way[];
  version: string;
}

export type DeviceState =
  | "online"
  | "unstable"
  | "away"
  | "offline"
  /** It gets no sessions until somebody approves it. */
  | "pending"
  /** It does not come in any more. */
  | "revoked";

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
  /** Of the host keys that wait to be accepted. */
  offered_fingerprints?: string[];
  sessions: number;
  tags: string[];
  /** Whether it is there, also while it waits for approval. */
  connected: boolean;
  /** Whether it is asked for another key and has not used one yet. */
  key_asked: boolean;
  /** Whether whoever asks may approve, rename, revoke and forget it. */
  may_manage: boolean;
}

/** With it devices become known. */
export interface InstallKey {
  id: string;
  label: string;
  mode: "automatic" | "pending";
  /** Null: as many as like. */
  uses_max: number | null;
  uses: number;
  tags: string[];
  expires: string;
  /** Used up, or expired. */
  over: boolean;
  created: string;
  created_by: string;
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

/** A page of sessions that are over, the last one that ended first. */
export interface EndedPage {
  sessions: SessionInfo[];
  /** Where it goes on; null: that was all. */
  next: string | null;
}

/** A supervised actor of the broker. */
export interface ActorInfo {
  kind: string;
  /** What names it among its kind, also after it was started anew. */
  id: string;
  /** Counts every start of any actor: a restarted one has another. */
  number: number;
  parent: { kind: string; id: string } | null;
  state: string;
  healthy: boolean;
  mailbox: { depth: number; high: number; capacity: number };
  /** Within the time in which restarts are counted. */
  restarts: number;
  last_failure: { at: string; cause: string } | null;
  uptime_seconds: number;
}

export interface ActorTotals {
  kind: string;
  alive: number;
  unhealthy: number;
  restarts: number;
  mailbox_depth: number;
  mailbox_high: number;
}

export interface ActorAnswer {
  /** When, by the broker's clock. */
  at: string;
  actors: ActorInfo[];
  totals: ActorTotals[];
  /** Where the list goes on; null: that was all. */
  next: number | null;
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

/** How somebody can log in; `totp`: a code beside the password. */
export type Way = "password" | "totp" | "provider";
export type Role = "admin" | "operator" | "watcher";
export type Act = "shell" | "exec" | "files" | "forward" | "watch" | "kill" | "manage";

export interface Account {
  id: string;
  name: string;
  roles: Role[];
  groups: string[];
  state: "active" | "disabled";
  ways: Way[];
  created: string;
}

export interface Grant {
  id: string;
  /** `person:NAME`, `group:NAME` or `role:ROLE`. */
  who: string;
  acts: Act[];
  devices: string;
  logins: string;
  until: string | null;
  created: string;
  created_by: string;
}

export interface Login {
  id: string;
  this: boolean;
  created: string;
  seen: string;
  address: string;
  agent: string;
  way: "password" | "provider";
}

export interface Token {
  id: string;
  person: string;
  label: string;
  scopes: (Act | "admin")[];
  created: string;
  expires: string;
  used: string | null;
}

export interface AuditEntry {
  seq: number;
  at: string;
  who: string;
  what: string;
  on: string;
  from: string;
  outcome: string;
  request_id: string;
}

/** Hears of every answer that says no. */
let refused: (refusal: Refusal) => void = () => {};

/** `hear` is told of every answer that says no, before whoever asked is. */
export function onRefusal(hear: (refusal: Refusal) => void): void {
  refused = hear;
}

/** How long the broker may take for an answer before the page says that it cannot be reached. */
const ANSWER_WITHIN_MS = 10_000;

export const api = {
  me: () => ask<Me>("GET", "me"),
  /** How one can log in; `provider`: what its button says. */
  ways: () => ask<{ provider: string | null }>("GET", "login"),
  logIn: (name: string, password: string, code?: string) =>
    ask<{ person: string }>("POST", "login", { name, password, code }),
  logOut: () => ask<{ done: boolean }>("POST", "logout"),
  invitation: (secret: string) => ask<{ person: string | null }>("POST", "invitation", { secret }),
  accept: (secret: string, name: string | undefined, password: string, code?: string) =>
    ask<{ person: string }>("POST", "invitation/accept", { secret, name, password, code }),
  logins: () => ask<{ logins: Login[] }>("GET", "me/logins").then((answer) => answer.logins),
  endLogin: (id: string) => ask<{ done: boolean }>("DELETE", `me/logins/${id}`),
  changePassword: (old: string, fresh: string) =>
    ask<{ person: string }>("POST", "me/password", { old, new: fresh }),
  /** What an authenticator is told: typed, as an address, as a picture (SVG). */
  beginTotp: (password: string) =>
    ask<{ secret: string; uri: string; qr: string }>("POST", "me/totp", { password }),
  confirmTotp: (code: string) =>
    ask<{ recovery_codes: string[] }>("POST", "me/totp/confirm", { code }),
  /** Those from before are worth nothing any more. */
  renewRecoveryCodes: (password: string, code: string) =>
    ask<{ recovery_codes: string[] }>("POST", "me/totp/recovery-codes", { password, code }),
  endTotp: (password: string, code: string) =>
    ask<{ done: boolean }>("POST", "me/totp/off", { password, code }),
  linkProvider: (password: string) => ask<{ location: string }>("POST", "me/oidc", { password }),
  unlinkProvider: () => ask<{ done: boolean }>("DELETE", "me/oidc"),
  tokens: () => ask<{ tokens: Token[] }>("GET", "tokens").then((answer) => answer.tokens),
  addToken: (token: Pick<Token, "label" | "scopes" | "expires">) =>
    ask<Token & { secret: string }>("POST", "tokens", token),
  endToken: (id: string) => ask<{ done: boolean }>("DELETE", `tokens/${id}`),
  people: () => ask<{ people: Account[] }>("GET", "people").then((answer) => answer.people),
  addPerson: (person: Pick<Account, "name" | "roles" | "groups">) =>
    ask<Account & { invitation: string }>("POST", "people", person),
  changePerson: (id: string, change: { disabled?: boolean; roles?: Role[]; groups?: string[] }) =>
    ask<Account>("PATCH", `people/${id}`, change),
  invitePerson: (id: string) =>
    ask<{ invitation: string }>("POST", `people/${id}/invitations`, {}).then(
      (answer) => answer.invitation,
    ),
  resetTotp: (id: string) => ask<{ done: boolean }>("DELETE", `people/${id}/totp`),
  unlinkPerson: (id: string) => ask<{ done: boolean }>("DELETE", `people/${id}/oidc`),
  removePerson: (id: string) => ask<{ done: boolean }>("DELETE", `people/${id}`),
  grants: () => ask<{ grants: Grant[] }>("GET", "grants").then((answer) => answer.grants),
  addGrant: (grant: Pick<Grant, "who" | "acts" | "devices" | "logins">) =>
    ask<Grant>("POST", "grants", grant),
  removeGrant: (id: string) => ask<{ done: boolean }>("DELETE", `grants/${id}`),
  audit: (before: number | null) =>
    ask<{ entries: AuditEntry[]; next: number | null }>(
      "GET",
      before === null ? "audit" : `audit?before=${before}`,
    ),
  devices: () => ask<{ devices: Device[] }>("GET", "devices").then((answer) => answer.devices),
  device: (id: string) => ask<Device>("GET", `devices/${id}`),
  changeDevice: (id: string, change: { name?: string; tags?: string[] }) =>
    ask<Device>("PATCH", `devices/${id}`, change),
  approveDevice: (id: string) => ask<Device>("POST", `devices/${id}/approve`, {}),
  rotateDeviceKey: (id: string) => ask<Device>("POST", `devices/${id}/rotate-key`, {}),
  revokeDevice: (id: string) => ask<Device>("POST", `devices/${id}/revoke`, {}),
  forgetDevice: (id: string) => ask<{ forgotten: boolean }>("DELETE", `devices/${id}`),
  installKeys: () =>
    ask<{ install_keys: InstallKey[] }>("GET", "install-keys").then(
      (answer) => answer.install_keys,
    ),
  addInstallKey: (key: Pick<InstallKey, "label" | "mode" | "uses_max" | "tags" | "expires">) =>
    ask<InstallKey & { key: string }>("POST", "install-keys", key),
  endInstallKey: (id: string) => ask<{ done: boolean }>("DELETE", `install-keys/${id}`),
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
  endedSessions: (q: string, limit: number, after: string | null) =>
    ask<EndedPage>("GET", `sessions?${queryOf({ state: "ended", q, limit: `${limit}`, after })}`),
  /** `false`: it was over already. */
  endSession: (id: string, reason = "") =>
    ask<{ killed: boolean }>("DELETE", `sessions/${id}?${queryOf({ reason })}`),
  actors: allActors,
};

/** So many actors are asked for at once: more would hold up the page while they are read. */
const ACTORS_AT_ONCE = 5000;

async function allActors(): Promise<Omit<ActorAnswer, "next">> {
  const actors: ActorInfo[] = [];
  let after: number | null = null;
  for (;;) {
    const place: string = after === null ? "" : `&after=${after}`;
    const page: ActorAnswer = await ask("GET", `actors?limit=${ACTORS_AT_ONCE}${place}`);
    actors.push(...page.actors);
    if (page.next === null) return { at: page.at, actors, totals: page.totals };
    after = page.next;
  }
}

/** What is not empty, as a query. */
function queryOf(values: Record<string, string | null>): URLSearchParams {
  const given = Object.entries(values).flatMap(([name, value]) => (value ? [[name, value]] : []));
  return new URLSearchParams(given);
}

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
  const refusal = new Refusal(
    code ?? "internal",
    message ?? `The broker answered with ${response.status} and no explanation.`,
    request_id ?? response.headers.get("X-Request-Id"),
  );
  refused(refusal);
  throw refusal;
}
