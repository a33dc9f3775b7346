import { useEffect, useRef, useState } from "preact/hooks";

import { type Account, api, Refusal, type Role } from "../api";
import { Choices, wordsOf } from "./admin";
import { Field } from "./form";

/** Every role, the most first. */
export const ROLES: readonly Role[] = ["admin", "operator", "watcher"];

/** What somebody may at most, and which groups they belong to. Esc closes it. */
export function PersonDialog(props: { person: Account; close: (changed: boolean) => void }) {
  const { person } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const [wrong, setWrong] = useState("");
  useEffect(() => dialog.current?.showModal(), []);

  function close(changed: boolean): void {
    dialog.current?.close();
    props.close(changed);
  }

  async function save(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const fields = new FormData(event.currentTarget);
    const roles = ROLES.filter((role) => fields.getAll("person-roles").includes(role));
    try {
      await api.changePerson(person.id, { roles, groups: wordsOf(fields, "person-groups") });
      close(true);
    } catch (error) {
      setWrong(error instanceof Refusal ? error.message : "The broker cannot be reached.");
    }
  }

  return (
    <dialog ref={dialog} aria-labelledby="person-title" onCancel={() => close(false)}>
      <h2 id="person-title">{person.name}</h2>
      <p class="quiet">What is taken away ends at once, in what they have open as well.</p>
      <form onSubmit={save}>
        <Field
          label="Groups"
          name="person-groups"
          autoComplete="off"
          hint="with commas between: night,lab"
          starts={person.groups.join(",")}
          optional
        />
        <Choices legend="Roles" name="person-roles" words={ROLES} ticked={person.roles} />
        <p class="said" role="alert">
          {wrong}
        </p>
        <div class="dialog-buttons">
          <button type="button" onClick={() => close(false)}>
            Close
          </button>
          <button type="submit" class="primary">
            Save
          </button>
        </div>
      </form>
    </dialog>
  );
}
