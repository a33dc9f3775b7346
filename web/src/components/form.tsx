import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Refusal } from "../api";

/** What somebody fills in. Browsers and password managers know the fields by `autoComplete`. */
export function Field(props: {
  label: string;
  name: string;
  type?: "text" | "password";
  autoComplete: string;
  hint?: string;
  /** Stands there and cannot be changed. */
  value?: string;
  /** Stands there until it is changed. */
  starts?: string;
  focus?: boolean;
  optional?: boolean;
}) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (props.focus) input.current?.focus();
  }, []);
  const hintId = props.hint ? `${props.name}-hint` : undefined;
  const shared = {
    ref: input,
    id: props.name,
    name: props.name,
    autocomplete: props.autoComplete,
    autocapitalize: "none",
    spellcheck: false,
    defaultValue: props.value ?? props.starts,
    readOnly: props.value !== undefined,
    "aria-describedby": hintId,
    required: props.optional !== true,
  } as const;
  return (
    <div class="field">
      <label for={props.name}>{props.label}</label>
      {props.type === "password" ? (
        <input {...shared} type="password" />
      ) : (
        <input {...shared} type="text" />
      )}
      {props.hint && (
        <p id={hintId} class="quiet">
          {props.hint}
        </p>
      )}
    </div>
  );
}

/** A form in a card: what it says, its fields, its one button, and what was wrong with the last try. */
export function Form(props: {
  title: string;
  why?: string;
  button: string;
  children: ComponentChildren;
  /** Another way than this form. */
  beside?: ComponentChildren;
  /** A text that comes back is what is wrong. */
  send: (fields: Record<string, string>) => Promise<string | undefined>;
}) {
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (busy || !(event.currentTarget instanceof HTMLFormElement)) return;
    const fields: Record<string, string> = {};
    for (const [name, value] of new FormData(event.currentTarget)) fields[name] = String(value);
    setBusy(true);
    setWrong("");
    try {
      setWrong((await props.send(fields)) ?? "");
    } catch (error) {
      setWrong(error instanceof Refusal ? error.message : UNREACHABLE);
    }
    setBusy(false);
  }

  return (
    <main class="page narrow">
      <form class="card form" onSubmit={submit}>
        <h1>{props.title}</h1>
        {props.why && <p>{props.why}</p>}
        {props.children}
        <p class="said" role="alert">
          {wrong}
        </p>
        <button type="submit" class="primary" aria-disabled={busy}>
          {busy ? "One moment…" : props.button}
        </button>
        {props.beside}
      </form>
    </main>
  );
}

const UNREACHABLE =
  "The broker cannot be reached. Check the network and that the broker runs, then try again.";
