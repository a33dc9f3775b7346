// A list that a page shows and changes: fetched when the page opens, and again after each change.

import { signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";

import { Refusal } from "../api";

const UNREACHABLE = "The broker cannot be reached. Check the network and that the broker runs.";

export class List<Item> {
  /** Null: not known yet. */
  readonly items = signal<Item[] | null>(null);
  /** What was refused last. */
  readonly refused = signal("");

  constructor(private readonly fetch: () => Promise<Item[]>) {}

  async refresh(): Promise<void> {
    try {
      this.items.value = await this.fetch();
    } catch (error) {
      this.refused.value = sentence(error);
    }
  }

  /** Adds what comes after what is shown. */
  async extend(more: () => Promise<Item[]>): Promise<void> {
    try {
      this.items.value = [...(this.items.value ?? []), ...(await more())];
    } catch (error) {
      this.refused.value = sentence(error);
    }
  }

  /** Does something to the list and shows what came of it. */
  async change(act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
      this.refused.value = "";
    } catch (error) {
      this.refused.value = sentence(error);
    }
    await this.refresh();
  }
}

/** The list of a page, from when it opens. */
export function useList<Item>(fetch: () => Promise<Item[]>): List<Item> {
  const list = useMemo(() => new List(fetch), []);
  useEffect(() => void list.refresh(), []);
  return list;
}

function sentence(error: unknown): string {
  return error instanceof Refusal ? error.message : UNREACHABLE;
}
