// Which page an address shows. `path` is the address as a signal; everything else is derived.

import { computed, signal } from "@preact/signals";

export type Route =
  | { page: "home" }
  | { page: "devices" }
  /** What is one's own: logins, tokens, the password. */
  | { page: "account" }
  | { page: "people" }
  | { page: "grants" }
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
  if (first === "devices" && parts.length === 1) return { page: "devices" };
  if (parts.length === 1 && isPlace(first)) return { page: first };
  if (parts.length === 2 && second !== undefined && /^[a-z0-9-]+$/.test(second)) {
    if (first === "d") return { page: "open", device: second };
    if (first === "s") return { page: "session", session: second };
  }
  return { page: "nowhere" };
}

const PLACES = ["account", "people", "grants", "audit", "welcome"] as const;

function isPlace(name: string): name is (typeof PLACES)[number] {
  return PLACES.some((place) => place === name);
}

/** The address of a route, with the query kept (`?renderer=` stays across pages). */
export const addressOf = {
  devices: () => `/devices${location.search}`,
  place: (page: "account" | "people" | "grants" | "audit") => `/${page}${location.search}`,
  open: (device: string) => `/d/${device}${location.search}`,
  session: (session: string) => `/s/${session}${location.search}`,
};

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
