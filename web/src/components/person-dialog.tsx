import { useEffect, useRef, useState } from "preact/hooks";

import { type Account, api, Refusal, type Role } from "../api";
import { Choices, wordsOf } from "./admin";
import { Field } from "./form";

/** Every role, the most first. */
export const ROLES: readonly Role[] = ["admin", "operator", "watcher"];

/** What somebody may at most, which groups they belong to, and whether the provider lets them in. Esc closes it. */
export function PersonDialog(props: { person: Account; close: (changed: boolean) => void }) {
  const { person } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const [wrong, setWrong] = useState("");
  useEffect(() => dialog.current?.showModal(), []);

  function close(changed: boolean): void {
    dialog.current?.close();
    props.close(changed);
  }

  async function act(what: () => Promise<unknown>): Promise<void> {
    try {
      await what();
      close(true);
    } catch (error) {
      setWrong(error instanceof Refusal ? error.message : "The broker cannot be reached.");
    }
  }

  function save(event: SubmitEvent): void {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const fields = new FormData(event.currentTarget);
    const roles = ROLES.filter((role) => fields.getAll("person-roles").includes(role));
    const groups = wordsOf(fields, "person-groups");
    void act(() => api.changePerson(person.id, { roles, groups }));
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
      {person.ways.includes("provider") && (
        <Unlink person={person} go={() => act(() => api.unlinkPerson(person.id))} />
      )}
    </dialog>
  );
}

/** Asked twice: whoever has no password cannot log in afterwards. */
function Unlink({ person, go }: { person: Account; go: () => void }) {
  const [sure, setSure] = useState(false);
  if (!sure) {
    return (
      <div class="dialog-buttons">
        <button type="button" class="warn" onClick={() => setSure(true)}>
          Unlink the provider…
        </button>
      </div>
    );
  }
  return (
    <section role="alert">
      <p>
        The login provider does not let {person.name} in any more, and the logins by it end.
        {!person.ways.includes("password") &&
          " There is no password: give them a link to set one afterwards."}
      </p>
      <div class="dialog-buttons">
        <button type="button" onClick={() => setSure(false)}>
          Keep it
        </button>
        <button type="button" class="warn" onClick={go}>
          Unlink it
        </button>
      </div>
    </section>
  );
}
