// The few pictures, drawn with strokes in the colour of the text beside them. They say nothing
// that the text does not: screen readers skip them.

const PATHS = {
  check: "M4 8.5 7 11.5 12.5 5",
  circle: "M8 3.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9Z",
  cross: "M4.5 4.5 11.5 11.5M11.5 4.5 4.5 11.5",
  warning: "M8 2.5 14.5 13.5H1.5ZM8 6.5V9.5M8 11.4V11.6",
  again: "M13 8A5 5 0 1 1 11.2 4.2M13 2.5V5H10.5",
  unlinked:
    "M6.5 9.5 4.8 11.2A2.2 2.2 0 0 1 1.7 8.1L4 5.8M9.5 6.5 11.2 4.8A2.2 2.2 0 0 1 14.3 7.9L12 10.2M3 3 13 13",
  eye: "M1.5 8S4 4 8 4s6.5 4 6.5 4-2.5 4-6.5 4-6.5-4-6.5-4ZM8 6.6v2.8M6.6 8h2.8",
  clock: "M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM8 5V8L10 9.5",
  leave: "M9.5 2.5H3.5V13.5H9.5M6.5 8H14M11 5 14 8 11 11",
  list: "M2.5 4.5H13.5M2.5 8H13.5M2.5 11.5H13.5",
  plus: "M8 3.5V12.5M3.5 8H12.5",
  next: "M6 3.5 10.5 8 6 12.5",
  stop: "M4.5 4.5H11.5V11.5H4.5Z",
  reader:
    "M2.5 6.5V9.5H5L8.5 12.5V3.5L5 6.5ZM11 6A3 3 0 0 1 11 10M12.8 4.2A5.5 5.5 0 0 1 12.8 11.8",
  system: "M2.5 3.5H13.5V10.5H2.5ZM6 13H10M8 10.5V13",
  light:
    "M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5ZM8 1.5V3M8 13V14.5M1.5 8H3M13 8H14.5M3.4 3.4 4.5 4.5M11.5 11.5 12.6 12.6M3.4 12.6 4.5 11.5M11.5 4.5 12.6 3.4",
  dark: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5Z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path
        d={PATHS[name]}
        fill="none"
        stroke="currentColor"
        stroke-width="1.6"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
