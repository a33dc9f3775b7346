import { useEffect, useRef } from "preact/hooks";

import { Icon, type IconName } from "./icon";

export interface OutcomeAction {
  words: string;
  act: () => void;
}

/** How it ended or why it cannot go on, what to do about it, and the buttons for that. Enter is the first one. */
export function Outcome(props: {
  icon: IconName;
  title: string;
  sentence: string;
  remedy?: string;
  requestId?: string | null;
  actions: OutcomeAction[];
}) {
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  return (
    <section class="outcome" aria-label={props.title}>
      <div class="outcome-words">
        <h2>
          <Icon name={props.icon} />
          {props.title}
        </h2>
        <p>{props.sentence}</p>
        {props.remedy && <p class="quiet">{props.remedy}</p>}
        {props.requestId && (
          <p class="quiet">
            Request id <code>{props.requestId}</code>
          </p>
        )}
      </div>
      <div class="outcome-buttons">
        {props.actions.map(({ words, act }, index) => (
          <button
            key={words}
            type="button"
            ref={index === 0 ? first : null}
            class={index === 0 ? "primary" : ""}
            onClick={act}
          >
            {words}
            {index === 0 && <kbd>Enter</kbd>}
          </button>
        ))}
      </div>
    </section>
  );
}
