// What the pages of administrators and the account page are made of.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { List } from "../state/list";
import { copyText } from "../terminal/clipboard";
import { Bar } from "./bar";
import { Places } from "./places";

/** A page with a list: its title, what was refused last, the list or what stands in for it. */
export function ListPage<Item>(props: {
  title: string;
  says?: string;
  list: List<Item>;
  children: ComponentChildren;
}) {
  useEffect(() => {
    document.title = `${props.title} · Moorline`;
  }, []);
  return (
    <>
      <Bar>
        <Places />
      </Bar>
      <main class="page">
        <h1>{props.title}</h1>
        {props.says && <p class="quiet">{props.says}</p>}
        <p class="said" role="status">
          {props.list.refused.value}
        </p>
        {props.children}
      </main>
    </>
  );
}

/** Rows below their headings. On narrow screens it scrolls by itself. */
export function Rows(props: { label: string; heads: string[]; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <section class="scrolls" tabIndex={0} aria-label={props.label}>
      <table class="rows">
        <thead>
          <tr>
            {props.heads.map((head) =>
              // Above buttons that say what they do stands nothing.
              head === "" ? (
                <td key="acts" />
              ) : (
                <th key={head} scope="col">
                  {head}
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </section>
  );
}

/** A secret that is shown once. */
export function Shown(props: { title: string; secret: string; dismiss: () => void }) {
  const [copied, setCopied] = useState("");
  async function copy(): Promise<void> {
    setCopied((await copyText(props.secret)) ? "Copied" : "Select it and copy by hand");
  }
  return (
    <section class="card" role="status">
      <h2>{props.title}</h2>
      <div class="command">
        <code>{props.secret}</code>
        <button type="button" class="primary" onClick={copy}>
          Copy
        </button>
        <button type="button" onClick={props.dismiss}>
          I have it
        </button>
      </div>
      <p class="quiet" aria-live="polite">
        {copied || "It is shown this once."}
      </p>
    </section>
  );
}

/** Boxes to be ticked, of which each is a word. */
export function Choices<Word extends string>(props: {
  legend: string;
  name: string;
  words: readonly Word[];
  /** Those that are ticked to begin with. */
  ticked?: readonly Word[];
}) {
  return (
    <fieldset class="choices">
      <legend>{props.legend}</legend>
      {props.words.map((word) => (
        <label key={word}>
          <input
            type="checkbox"
            name={props.name}
            value={word}
            defaultChecked={props.ticked?.includes(word)}
          />{" "}
          {word}
        </label>
      ))}
    </fieldset>
  );
}

/** One of several words is picked; each says what it means. */
export function Pick<Word extends string>(props: {
  legend: string;
  name: string;
  words: readonly { word: Word; means: string }[];
}) {
  return (
    <fieldset class="choices">
      <legend>{props.legend}</legend>
      {props.words.map(({ word, means }, index) => (
        <label key={word}>
          <input type="radio" name={props.name} value={word} defaultChecked={index === 0} /> {means}
        </label>
      ))}
    </fieldset>
  );
}

/** A form of a page: its fields side by side, and one button. It is emptied when what it asked for was done. */
export function Asking(props: {
  title: string;
  button: string;
  children: ComponentChildren;
  send: (fields: FormData) => Promise<boolean>;
}) {
  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = event.currentTarget;
    if (form instanceof HTMLFormElement && (await props.send(new FormData(form)))) form.reset();
  }
  return (
    <form class="card asking" onSubmit={submit}>
      <h2>{props.title}</h2>
      {props.children}
      <button type="submit" class="primary">
        {props.button}
      </button>
    </form>
  );
}

/** A text of a form. */
export function text(fields: FormData, name: string): string {
  return String(fields.get(name) ?? "").trim();
}

/** The words of a text of a form, with blanks or commas between them. */
export function wordsOf(fields: FormData, name: string): string[] {
  return text(fields, name)
    .split(/[\s,]+/)
    .filter((word) => word !== "");
}

/** A day and a time as people here write it. */
export function When({ at }: { at: string | null }) {
  if (at === null) return <>never</>;
  return <time dateTime={at}>{new Date(at).toLocaleString()}</time>;
}
