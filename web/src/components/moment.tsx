import { span } from "../state/time";

/** How long ago something was; when exactly, to whoever points at it. */
export function Moment({ at, now }: { at: number | string; now: number }) {
  const when = new Date(at);
  return (
    <time dateTime={when.toISOString()} title={exact(at)}>
      {span(now - when.getTime())} ago
    </time>
  );
}

/** A moment to the second, in the words of the person's own place. */
export function exact(at: number | string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: "long", timeStyle: "long" });
}
