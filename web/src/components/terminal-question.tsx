import type { Question } from "../state/terminal-view";
import { amount } from "../state/time";
import { preview } from "../terminal/paste";
import { QuestionDialog } from "./question";

/** What a terminal may have to ask the person. */
export function TerminalQuestion({ question, device }: { question: Question; device: string }) {
  switch (question.about) {
    case "paste":
      return <PasteQuestion text={question.text} answer={question.answer} />;
    case "clipboard":
      return (
        <QuestionDialog
          title="Let the program copy?"
          yes="Allow"
          no="Refuse"
          answer={question.answer}
        >
          <p>
            A program on {device} wants to put {amount(question.text.length)} of text on your
            clipboard. Your answer holds until this page is closed. Programs can never read the
            clipboard.
          </p>
          <Lines text={question.text.replace(/\r?\n/g, "\r")} />
        </QuestionDialog>
      );
    case "end":
      return (
        <QuestionDialog
          title="End this session?"
          yes="End it"
          no="Keep it"
          answer={question.answer}
        >
          <p>
            The shell on {device} and what runs in it are ended. To leave and keep it, just close
            the tab.
          </p>
        </QuestionDialog>
      );
  }
}

function PasteQuestion({ text, answer }: { text: string; answer: (yes: boolean) => void }) {
  const { total } = preview(text);
  const title = total === 1 ? "Paste a line with its line break?" : `Paste ${total} lines?`;
  return (
    <QuestionDialog title={title} yes="Paste" no="Do not paste" answer={answer}>
      <p>The program takes each line break as Enter, so this would run at once.</p>
      <Lines text={text} />
    </QuestionDialog>
  );
}

function Lines({ text }: { text: string }) {
  const { lines, total } = preview(text);
  return (
    <pre class="preview">
      {lines.join("\n")}
      {total > lines.length && `\n… and ${total - lines.length} more`}
    </pre>
  );
}
