import { useState } from "preact/hooks";

import { api, type InstallKey } from "../api";
import { Asking, ListPage, Pick, Rows, Shown, text, When, wordsOf } from "../components/admin";
import { Field } from "../components/form";
import { useList } from "../state/list";
import { enrollCommand } from "../state/words-enroll";

const DAY_MS = 24 * 3600 * 1000;

const MODES = [
  { word: "pending", means: "Devices wait until somebody approves them" },
  { word: "automatic", means: "Devices are enrolled at once" },
] as const;

/** With what devices become known. For administrators. */
export function InstallKeysPage() {
  const list = useList(api.installKeys);
  const [made, setMade] = useState<{ label: string; command: string } | null>(null);

  async function add(fields: FormData): Promise<boolean> {
    let done = false;
    await list.change(async () => {
      const days = Number(text(fields, "days"));
      const uses = text(fields, "uses");
      const key = await api.addInstallKey({
        label: text(fields, "label"),
        mode: fields.get("mode") === "automatic" ? "automatic" : "pending",
        uses_max: uses === "" ? null : Number(uses),
        tags: wordsOf(fields, "tags"),
        // What is no number of days is refused by the broker, which says what is expected.
        expires: new Date(Date.now() + (Number.isFinite(days) ? days : 0) * DAY_MS).toISOString(),
      });
      setMade({ label: key.label, command: enrollCommand(location, key.key) });
      done = true;
    });
    return done;
  }

  return (
    <ListPage
      title="Install keys"
      says="A device becomes known to this broker with an install key. Whoever has one can enrol a device: give it out for as few devices and as short a time as will do."
      list={list}
    >
      {made && (
        <Shown
          title={`An install key for ${made.label}: run this on the device`}
          secret={made.command}
          dismiss={() => setMade(null)}
        />
      )}
      <Rows
        label="Install keys"
        heads={["For", "Its devices", "Used", "Tags", "Until", "Made", ""]}
      >
        {list.items.value?.map((key) => (
          <tr key={key.id}>
            <th scope="row">
              {key.label} <span class="quiet id">{key.id}</span>
            </th>
            <td>{key.mode === "pending" ? "wait for approval" : "are enrolled at once"}</td>
            <td>{usesOf(key)}</td>
            <td>{key.tags.join(", ")}</td>
            <td>
              <When at={key.expires} />
              {key.over && <span class="quiet"> (over)</span>}
            </td>
            <td>
              <When at={key.created} /> by {key.created_by}
            </td>
            <td class="acts">
              <button
                type="button"
                class="warn"
                aria-label={`End the install key for ${key.label}`}
                onClick={() => list.change(() => api.endInstallKey(key.id))}
              >
                End
              </button>
            </td>
          </tr>
        ))}
      </Rows>
      <Asking title="Make an install key" button="Make" send={add}>
        <Field label="What it is for" name="label" autoComplete="off" />
        <Field
          label="How many devices"
          name="uses"
          autoComplete="off"
          hint="empty: as many as like"
          optional
        />
        <Field label="Days until it ends" name="days" autoComplete="off" hint="366 at most" />
        <Field
          label="Tags of its devices"
          name="tags"
          autoComplete="off"
          hint="with commas between: lab,env=prod"
          optional
        />
        <Pick legend="What becomes of its devices" name="mode" words={MODES} />
      </Asking>
    </ListPage>
  );
}

function usesOf(key: InstallKey): string {
  return key.uses_max === null ? `${key.uses} times` : `${key.uses} of ${key.uses_max} times`;
}
