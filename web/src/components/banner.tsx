import type { Words } from "../state/words";
import { STATE_ICONS } from "./chip";
import { Icon } from "./icon";

/** What is wrong while the session goes on. It stands in the bar, whose height it does not change:
 * the whole screen stays to be read, and the program sees no other size. */
export function Banner({ words, actions }: { words: Words; actions: BannerAction[] }) {
  return (
    <div class={`banner ${words.tone}`}>
      <Icon name={STATE_ICONS[words.state]} />
      <p>
        {words.sentence} {words.typing}
      </p>
      <div class="banner-buttons">
        {actions.map(({ words: name, act }) => (
          <button key={name} type="button" onClick={act}>
            {name}
          </button>
        ))}
      </div>
    </div>
  );
}

export interface BannerAction {
  words: string;
  act: () => void;
}
