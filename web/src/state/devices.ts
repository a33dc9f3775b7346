// The devices and what runs on them, asked for again and again while somebody looks.

import { signal } from "@preact/signals";

import { api, type Device, type SessionInfo } from "../api";

const EVERY_MS = 2000;

/** Null: not known yet. */
export const devices = signal<Device[] | null>(null);
/** Sessions that are not over, newest first. */
export const liveSessions = signal<SessionInfo[]>([]);
/** The broker did not answer the last question; what is shown is from before. */
export const unreachable = signal(false);

/** Asks once. */
export async function refreshDevices(): Promise<void> {
  try {
    const [found, live] = await Promise.all([api.devices(), api.liveSessions()]);
    devices.value = found;
    liveSessions.value = live;
    unreachable.value = false;
  } catch {
    unreachable.value = true;
  }
}

/** Asks every two seconds while the page is visible, until the returned function is called. */
export function watchDevices(): () => void {
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  async function again(): Promise<void> {
    clearTimeout(timer);
    if (!document.hidden) await refreshDevices();
    if (!stopped) timer = setTimeout(again, EVERY_MS);
  }
  const shown = () => void again();
  document.addEventListener("visibilitychange", shown);
  void again();
  return () => {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", shown);
  };
}
