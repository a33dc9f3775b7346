import { type Act, api } from "../api";
import { Asking, Choices, ListPage, Rows, text, When } from "../components/admin";
import { Field } from "../components/form";
import { useList } from "../state/list";

const ACTS: readonly Act[] = ["shell", "exec", "files", "forward", "watch", "kill", "manage"];

/** Who was given what. For administrators. */
export function GrantsPage() {
  const list = useList(api.grants);

  async function add(fields: FormData): Promise<boolean> {
    let done = false;
    await list.change(async () => {
      await api.addGrant({
        who: text(fields, "who"),
        acts: ACTS.filter((act) => fields.getAll("acts").includes(act)),
        devices: text(fields, "devices"),
        logins: text(fields, "logins"),
      });
      done = true;
    });
    return done;
  }

  return (
    <ListPage
      title="Grants"
      says="Nobody but administrators may do anything that no grant gives. What is taken back ends at once, sessions too."
      list={list}
    >
      <Rows label="Grants" heads={["Who", "May", "On devices", "As", "Until", "Given", ""]}>
        {list.items.value?.map((grant) => (
          <tr key={grant.id}>
            <th scope="row">{grant.who}</th>
            <td>{grant.acts.join(", ")}</td>
            <td>
              <code>{grant.devices}</code>
            </td>
            <td>
              <code>{grant.logins}</code>
            </td>
            <td>{grant.until === null ? "it is taken back" : <When at={grant.until} />}</td>
            <td>
              <When at={grant.created} /> by {grant.created_by}
            </td>
            <td class="acts">
              <button
                type="button"
                class="warn"
                onClick={() => list.change(() => api.removeGrant(grant.id))}
              >
                Take back
              </button>
            </td>
          </tr>
        ))}
      </Rows>
      <Asking title="Give something" button="Give" send={add}>
        <Field
          label="To whom"
          name="who"
          autoComplete="off"
          hint="person:anna, group:night or role:operator"
        />
        <Field
          label="On devices"
          name="devices"
          autoComplete="off"
          hint="* for all, or tags of which each must be there: lab,!prod"
        />
        <Field label="As logins" name="logins" autoComplete="off" hint="* for all, or pi,root" />
        <Choices legend="May" name="acts" words={ACTS} />
      </Asking>
    </ListPage>
  );
}
