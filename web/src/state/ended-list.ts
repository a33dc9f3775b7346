// The sessions that are over, page by page, with those that end meanwhile put on top.

import type { EndedPage, SessionInfo } from "../api";

export interface EndedList {
  sessions: readonly SessionInfo[];
  /** Where the older ones go on; null: these are all. */
  next: string | null;
}

/** The first page was asked for again. What was read beyond it stays, unless there may be a hole between. */
export function refreshed(before: EndedList | null, first: EndedPage): EndedList {
  if (before === null) return first;
  const fresh = new Set(first.sessions.map(({ id }) => id));
  const meets = before.sessions.some(({ id }) => fresh.has(id));
  if (!meets) return first;
  const older = before.sessions.filter(({ id }) => !fresh.has(id));
  // Nothing was read beyond the first page: it says by itself how it goes on.
  if (older.length === 0) return first;
  return { sessions: [...first.sessions, ...older], next: before.next };
}

/** The next page was read. */
export function continued(before: EndedList, page: EndedPage): EndedList {
  const known = new Set(before.sessions.map(({ id }) => id));
  const older = page.sessions.filter(({ id }) => !known.has(id));
  return { sessions: [...before.sessions, ...older], next: page.next };
}
