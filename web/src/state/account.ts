// Who is logged in at this page, and that somebody has to log in first.

import { computed, signal } from "@preact/signals";

import { api, type Me, onRefusal } from "../api";

/** Null: not known yet. */
export const me = signal<Me | null>(null);
/** Whether this person may see and do what administrators may. */
export const administers = computed(() => me.value?.roles.includes("admin") ?? false);
/** Why somebody has to log in before anything else is shown; null: nobody has to. */
export const mustLogIn = signal<string | null>(null);

/** Learns from every answer whether somebody has to log in. */
export function startAccount(): void {
  onRefusal((refusal) => {
    if (refusal.code === "login_expired") lostLogin(refusal.message);
  });
  void refreshMe();
}

/** The login is over: what is shown is put away until somebody logs in again. */
export function lostLogin(why: string): void {
  me.value = null;
  mustLogIn.value = why;
}

export async function refreshMe(): Promise<void> {
  try {
    me.value = await api.me();
    mustLogIn.value = null;
  } catch {
    // That nobody is logged in was said to `onRefusal`; anything else the page itself finds out.
  }
}

export async function logOut(): Promise<void> {
  await api.logOut().catch(() => {}); // A login that is over already is what was wanted.
  lostLogin("You have logged out. The shells that you opened are kept.");
}
