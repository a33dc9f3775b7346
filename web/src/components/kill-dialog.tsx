import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { SessionInfo } from "../api";
import { killWords, sessionName } from "../state/session-words";

/** As much as is shown to people; the broker takes no more. */
const REASON_MAX = 200;

/** Whether a session is to be ended, and why. Stays until it is over, says what is in the way. */
export function KillDialog(props: {
  session: SessionInfo;
  /** Gives what is in the way, or null when the session is over. */
  end: (reason: string) => Promise<string | null>;
  close: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState("");
  const [ending, setEnding] = useState(false);
  const [inTheWay, setInTheWay] = useState("");
  useLayoutEffect(() => dialog.current?.showModal(), []);

  /** Closed first: while it is open, nothing behind it can take the focus back. */
  function close(): void {
    dialog.current?.close();
    props.close();
  }
  async function end(event: Event): Promise<void> {
    event.preventDefault();
    if (ending) return;
    setEnding(true);
    setInTheWay("");
    const found = await props.end(reason.trim());
    if (found === null) return close();
    setEnding(false);
    setInTheWay(found);
  }

  return (
    <dialog ref={dialog} aria-labelledby="kill-title" onCancel={close}>
      <form onSubmit={end}>
        <h2 id="kill-title">End this session?</h2>
        <p>
          <strong>{sessionName(props.session)}</strong>, as {props.session.login}.
        </p>
        {killWords(props.session).map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
        <label class="reason">
          <span class="field-words">Reason, shown to whoever is attached</span>
          <input
            type="text"
            value={reason}
            maxLength={REASON_MAX}
            placeholder="maintenance at 14:00"
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        <p class="bad-words" role="alert">
          {inTheWay}
        </p>
        <div class="dialog-buttons">
          <button type="button" onClick={close}>
            Keep it
          </button>
          <button type="submit" class="primary" aria-disabled={ending}>
            {ending ? "Ending…" : "End it"}
          </button>
        </div>
      </form>
    </dialog>
  );
}
