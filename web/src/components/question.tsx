import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A question in a native dialog. Esc is no; the safe answer has the focus. */
export function QuestionDialog(props: {
  title: string;
  yes: string;
  no: string;
  answer: (yes: boolean) => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  /** Closed first: while it is open, nothing behind it can take the focus back. */
  function answer(yes: boolean): void {
    dialog.current?.close();
    props.answer(yes);
  }
  return (
    <dialog ref={dialog} aria-labelledby="question-title" onCancel={() => answer(false)}>
      <h2 id="question-title">{props.title}</h2>
      {props.children}
      <div class="dialog-buttons">
        <button type="button" onClick={() => answer(false)}>
          {props.no}
        </button>
        <button type="button" class="primary" onClick={() => answer(true)}>
          {props.yes}
        </button>
      </div>
    </dialog>
  );
}
