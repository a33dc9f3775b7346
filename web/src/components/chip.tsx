import type { StateName, Tone } from "../state/words";
import { Icon, type IconName } from "./icon";

/** A state in a word or two, with a picture; the colour only repeats it. */
export function Chip({ icon, word, tone }: { icon: IconName; word: string; tone: Tone }) {
  return (
    <span class={`chip ${tone}`}>
      <Icon name={icon} />
      {word}
    </span>
  );
}

export const STATE_ICONS: Record<StateName, IconName> = {
  connecting: "clock",
  live: "check",
  watching: "eye",
  unstable: "warning",
  reconnecting: "again",
  waiting: "unlinked",
  device_lost: "unlinked",
  taken_over: "eye",
  ended: "stop",
  failed: "cross",
  closed: "stop",
};
