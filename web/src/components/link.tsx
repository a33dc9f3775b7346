import type { ComponentChildren } from "preact";

import { go } from "../state/router";

/** A link to another of our pages; a plain click needs no reload, every other is the browser's. */
export function Link(props: {
  to: string;
  class?: string;
  label?: string;
  /** It leads to the page that is shown. */
  current?: boolean;
  /** For the pointer only: what it stands in has another way for the keyboard. */
  inert?: boolean;
  children: ComponentChildren;
}) {
  function follow(event: MouseEvent): void {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
      return;
    event.preventDefault();
    event.stopPropagation();
    go(props.to);
  }
  return (
    <a
      href={props.to}
      class={props.class}
      aria-label={props.label}
      aria-current={props.current ? "page" : undefined}
      tabIndex={props.inert ? -1 : undefined}
      onClick={follow}
    >
      {props.children}
    </a>
  );
}
