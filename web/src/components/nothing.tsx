import type { ComponentChildren } from "preact";

/** Why there is nothing to see, and the one thing to do about it. */
export function Nothing(props: {
  title: string;
  children: ComponentChildren;
  action?: ComponentChildren;
}) {
  return (
    <section class="card nothing">
      <h2>{props.title}</h2>
      <p>{props.children}</p>
      {props.action}
    </section>
  );
}
