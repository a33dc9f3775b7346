import { administers, me } from "../state/account";
import { addressOf, type Place, route } from "../state/router";
import { Link } from "./link";

const OF_ALL = ["devices", "sessions"] as const;
const OF_ADMINISTRATORS = ["actors", "people", "grants", "install-keys", "audit"] as const;
const WORDS: Record<Exclude<Place, "welcome">, string> = {
  devices: "Devices",
  sessions: "Sessions",
  actors: "Actors",
  people: "People",
  grants: "Grants",
  "install-keys": "Install keys",
  audit: "Audit",
  account: "Account",
};

/** The way between the pages, as far as they are of use to whoever looks; in demo mode nobody has an account. */
export function Places() {
  const who = me.value;
  const demo = who?.mode === "demo";
  const ofAdministrators = demo ? (["actors"] as const) : OF_ADMINISTRATORS;
  const places = [
    ...OF_ALL,
    ...(administers.value ? ofAdministrators : []),
    ...(who?.mode === "login" ? (["account"] as const) : []),
  ];
  return (
    <nav class="places" aria-label="Pages">
      {places.map((place) => (
        <Link
          key={place}
          to={addressOf.place(place)}
          class={route.value.page === place ? "place here" : "place"}
          current={route.value.page === place}
        >
          {WORDS[place]}
        </Link>
      ))}
    </nav>
  );
}
