import type { ComponentChildren } from "preact";
import { logOut, me } from "../state/account";
import { nextTheme, type ThemeChoice, themeChoice } from "../state/preferences";
import { addressOf } from "../state/router";
import { Icon } from "./icon";
import { Link } from "./link";

/** The line at the top of every page: the name, what the page is about, its buttons. */
export function Bar(props: {
  children?: ComponentChildren;
  buttons?: ComponentChildren;
  /** What stands in it for a while in place of the rest. */
  banner?: ComponentChildren;
}) {
  return (
    <header class={props.banner ? "bar telling" : "bar"}>
      <Link to={addressOf.devices()} class="brand" label="Moorline: all devices">
        <Logo />
        <span class="brand-name">Moorline</span>
      </Link>
      <div class="bar-middle">{props.banner ?? props.children}</div>
      <div class="bar-buttons">
        {props.buttons}
        {me.value?.mode === "login" && (
          <BarButton icon="leave" words={`Log out ${me.value.person}`} act={() => void logOut()} />
        )}
        <ThemeButton choice={themeChoice.value} />
      </div>
    </header>
  );
}

/** A button of the bar: on narrow screens only its picture is left to see. */
export function BarButton(props: {
  icon: Parameters<typeof Icon>[0]["name"];
  words: string;
  pressed?: boolean;
  act: () => void;
}) {
  return (
    <button
      type="button"
      class="bar-button"
      title={props.words}
      aria-pressed={props.pressed}
      onClick={props.act}
    >
      <Icon name={props.icon} />
      <span class="bar-button-words">{props.words}</span>
    </button>
  );
}

const THEME_WORDS: Record<ThemeChoice, string> = {
  system: "Theme: system",
  light: "Theme: light",
  dark: "Theme: dark",
};

function ThemeButton({ choice }: { choice: ThemeChoice }) {
  return (
    <button
      type="button"
      class="bar-button"
      title={THEME_WORDS[choice]}
      aria-label={THEME_WORDS[choice]}
      onClick={nextTheme}
    >
      <Icon name={choice} />
    </button>
  );
}

/** A mooring ring with a line through it. */
function Logo() {
  return (
    <svg class="logo" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
      <path
        d="M2 20.5C8 20.5 6.5 14.5 11 13"
        fill="none"
        stroke="var(--accent)"
        stroke-width="2.6"
        stroke-linecap="round"
      />
      <circle cx="15" cy="9" r="5.7" fill="none" stroke="currentColor" stroke-width="2.6" />
    </svg>
  );
}
