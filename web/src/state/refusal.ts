// Why a login at the provider came to nothing, as the broker writes it into the address.

import { codeByName } from "../link";

/** What a fragment like `#refused=not_linked` says; what is no code of ours says nothing. */
export function refusalOf(fragment: string, taken: () => void = () => {}): string {
  const name = /^#refused=([a-z_]+)$/.exec(fragment)?.[1];
  if (name === undefined) return "";
  taken();
  const info = codeByName(name);
  return info ? `${info.sentence} ${info.remedy}`.trim() : "";
}
