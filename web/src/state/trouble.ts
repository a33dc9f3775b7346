// Why a list is not what it should be, in words with the remedy.

import { Refusal } from "../api";

export interface Trouble {
  /** `refused`: the broker says no, and will again. `unreachable`: it said nothing. */
  is: "refused" | "unreachable";
  text: string;
  requestId: string | null;
}

/** What a failed question means. */
export function troubleFrom(error: unknown): Trouble {
  if (error instanceof Refusal) {
    return { is: "refused", text: error.message, requestId: error.requestId };
  }
  return {
    is: "unreachable",
    text: "The broker cannot be reached; trying again.",
    requestId: null,
  };
}

/** What stands over a list that is still shown; `asOf` is when it was last heard of. */
export function staleWords(trouble: Trouble | null, asOf: number | null): string {
  if (trouble === null) return "";
  if (asOf === null) return trouble.text;
  return `${trouble.text} What you see is from ${clock(asOf)}.`;
}

/** The time of day, as the person's own clock shows it. */
export function clock(at: number): string {
  return new Date(at).toLocaleTimeString();
}
