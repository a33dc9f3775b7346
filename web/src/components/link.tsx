import type { ComponentChildren } from "preact";

import { go } from "../state/router";

/** A link to another of our pages; a plain click needs no reload, every other is the browser's. */
export function Link(props: {
  to: string;
  class?: string;
  label?: string;
  children: ComponentChildren;
}) {
  function follow(event: MouseEvent): void {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)
      return;
    event.preventDefault();
    go(props.to);
  }
  return (
    <a href={props.to} class={props.class} aria-label={props.label} onClick={follow}>
      {props.children}
    </a>
  );
}
