import type { stepsFor } from "../state/words";
import { Icon } from "./icon";

/** The way to the shell: each step is ticked as it is done, with how long it took. */
export function Steps(props: {
  device: string;
  steps: ReturnType<typeof stepsFor>;
  /** What does not go well, if anything. */
  sentence: string;
  /** Asks again at once; null while nothing is waited for. */
  retry: (() => void) | null;
  cancel: () => void;
}) {
  const { device, steps } = props;
  const next = steps.findIndex((step) => step.ms === null);
  return (
    <section class="card steps" aria-label="Connecting">
      <h2>Connecting{device && ` to ${device}`}</h2>
      <ol>
        {steps.map(({ step, words, ms }, index) => (
          <li key={step} class={ms !== null ? "done" : index === next ? "next" : ""}>
            <Icon name={ms !== null ? "check" : "circle"} />
            <span>{words}</span>
            <span class="ms">{ms !== null ? `${ms} ms` : index === next ? "…" : ""}</span>
          </li>
        ))}
      </ol>
      {props.sentence && <p>{props.sentence}</p>}
      <div class="steps-buttons">
        {props.retry && (
          <button type="button" onClick={props.retry}>
            Retry now
          </button>
        )}
        <button type="button" onClick={props.cancel}>
          Cancel
        </button>
      </div>
    </section>
  );
}
