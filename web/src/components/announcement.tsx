import { Icon } from "./icon";

/** A sentence of importance over the screen: a limit comes near, a shell that is not kept. Read out
 * once, and there until it is dismissed or old. */
export function Announcement({ text, dismiss }: { text: string; dismiss: () => void }) {
  return (
    <div class="announcement" aria-live="polite">
      {text !== "" && (
        <div class="announced">
          <p>{text}</p>
          <button type="button" title="Dismiss" aria-label="Dismiss" onClick={dismiss}>
            <Icon name="cross" />
          </button>
        </div>
      )}
    </div>
  );
}
