import type { Words } from "../state/words";
import { STATE_ICONS } from "./chip";
import { Icon } from "./icon";

/** What is wrong while the session goes on, over the top of the screen, which stays readable. */
export function Banner({ words, retry }: { words: Words; retry: (() => void) | null }) {
  return (
    <div class={`banner ${words.tone}`}>
      <Icon name={STATE_ICONS[words.state]} />
      <p>
        {words.sentence} {words.typing}
      </p>
      {retry && (
        <button type="button" onClick={retry}>
          Retry now
        </button>
      )}
    </div>
  );
}
