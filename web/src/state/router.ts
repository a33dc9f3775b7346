// Which page an address shows. `path` is the address as a signal; everything else is derived.

import { computed, signal } from "@preact/signals";

export type Route =
  | { page: "home" }
  | { page: "devices" }
  | { page: "sessions" }
  | { page: "actors" }
  /** What is one's own: logins, tokens, the password. */
  | { page: "account" }
  | { page: "people" }
  | { page: "grants" }
  | { page: "install-keys" }
  | { page: "audit" }
  /** A new session on this device. */
  | { page: "open"; device: string }
  /** A session that exists already. */
  | { page: "session"; session: string }
  /** A link with which somebody sets a password. */
  | { page: "welcome" }
  | { page: "nowhere" };

/** The route of a path; a trailing slash makes no difference. */
export function routeOf(path: string): Route {
  const parts = path.split("/").filter((part) => part !== "");
  const [first, second] = parts;
  if (first === undefined) return { page: "home" };
  if (parts.length === 1 && isPlace(first)) return { page: first };
  if (parts.length === 2 && second !== undefined && /^[a-z0-9-]+$/.test(second)) {
    if (first === "d") return { page: "open", device: second };
    if (first === "s") return { page: "session", session: second };
  }
  return { page: "nowhere" };
}

const PLACES = [
  "devices",
  "sessions",
  "actors",
  "account",
  "people",
  "grants",
  "install-keys",
  "audit",
  "welcome",
] as const;

/** A page of which there is one. */
export type Place = (typeof PLACES)[number];

function isPlace(name: string): name is Place {
  return PLACES.some((place) => place === name);
}

/** The address of a route, with `?renderer=` kept across pages and what the page itself is told. */
export const addressOf = {
  devices: () => address("/devices"),
  place: (page: Exclude<Place, "welcome">) => address(`/${page}`),
  sessions: (q = "") => address("/sessions", { q }),
  open: (device: string) => address(`/d/${device}`),
  session: (session: string) => address(`/s/${session}`),
  /** To look on: whoever types there goes on typing. */
  watch: (session: string) => address(`/s/${session}`, { role: "watcher" }),
};

function address(path: string, told: Record<string, string> = {}): string {
  const query = new URLSearchParams();
  const renderer = new URLSearchParams(location.search).get("renderer");
  for (const [name, value] of Object.entries({ renderer, ...told })) {
    if (value) query.set(name, value);
  }
  return query.size > 0 ? `${path}?${query}` : path;
}

/** What the address tells its page under this name; empty when nothing. */
export function toldInAddress(name: string): string {
  return new URLSearchParams(location.search).get(name) ?? "";
}

/** Writes what the page was told into its address, so that a reload shows the same. */
export function tellInAddress(told: Record<string, string>): void {
  rename(address(location.pathname, told));
}

const path = signal("/");

export const route = computed(() => routeOf(path.value));

/** Counts calls of `go`: going to where one already is opens it anew. */
export const visit = signal(0);

/** Follows the browser's own history from now on. */
export function startRouter(): void {
  path.value = location.pathname;
  addEventListener("popstate", () => {
    path.value = location.pathname;
    visit.value += 1;
  });
}

/** Goes to another page. */
export function go(address: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  path.value = location.pathname;
  visit.value += 1;
}

/** Changes what a reload would open, and stays on the page. */
export function rename(address: string): void {
  history.replaceState(null, "", address);
}
