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
  function cancel(event: Event): void {
    event.preventDefault();
    props.answer(false);
  }
  return (
    <dialog ref={dialog} aria-labelledby="question-title" onCancel={cancel}>
      <h2 id="question-title">{props.title}</h2>
      {props.children}
      <div class="dialog-buttons">
        <button type="button" onClick={() => props.answer(false)}>
          {props.no}
        </button>
        <button type="button" class="primary" onClick={() => props.answer(true)}>
          {props.yes}
        </button>
      </div>
    </dialog>
  );
}
