import { me } from "../state/account";
import { addressOf, route } from "../state/router";
import { Link } from "./link";

const OF_ADMINISTRATORS = ["people", "grants", "audit"] as const;
const WORDS = { people: "People", grants: "Grants", audit: "Audit", account: "Account" } as const;

/** The pages beside the devices, as far as they are of use to whoever looks; in demo mode there are none. */
export function Places() {
  const who = me.value;
  if (who?.mode !== "login") return null;
  const administers = who.roles.includes("admin");
  const places = [...(administers ? OF_ADMINISTRATORS : []), "account" as const];
  return (
    <nav class="places" aria-label="Pages">
      <Link
        to={addressOf.devices()}
        class={route.value.page === "devices" ? "place here" : "place"}
      >
        Devices
      </Link>
      {places.map((place) => (
        <Link
          key={place}
          to={addressOf.place(place)}
          class={route.value.page === place ? "place here" : "place"}
        >
          {WORDS[place]}
        </Link>
      ))}
    </nav>
  );
}
