import { useState } from "preact/hooks";

import { type Account, api, type Way } from "../api";
import { Asking, Choices, ListPage, Rows, Shown, text, When, wordsOf } from "../components/admin";
import { Field } from "../components/form";
import { PersonDialog, ROLES } from "../components/person-dialog";
import { QuestionDialog } from "../components/question";
import { useList } from "../state/list";

const WAYS: Record<Way, string> = {
  password: "password",
  totp: "second factor",
  provider: "provider",
};

/** Who has an account. For administrators. */
export function PeoplePage() {
  const list = useList(api.people);
  const [invitation, setInvitation] = useState<{ name: string; link: string } | null>(null);
  const [locked, setLocked] = useState<Account | null>(null);
  const [changing, setChanging] = useState<Account | null>(null);
  const [leaving, setLeaving] = useState<Account | null>(null);

  const invited = (name: string, secret: string) =>
    setInvitation({ name, link: `${location.origin}/welcome#${secret}` });

  async function add(fields: FormData): Promise<boolean> {
    let done = false;
    await list.change(async () => {
      const roles = ROLES.filter((role) => fields.getAll("roles").includes(role));
      const groups = wordsOf(fields, "groups");
      const made = await api.addPerson({ name: text(fields, "name"), roles, groups });
      invited(made.name, made.invitation);
      done = true;
    });
    return done;
  }

  async function remove(yes: boolean): Promise<void> {
    const person = leaving;
    setLeaving(null);
    if (yes && person) await list.change(() => api.removePerson(person.id));
  }

  async function reset(yes: boolean): Promise<void> {
    const person = locked;
    setLocked(null);
    if (yes && person) await list.change(() => api.resetTotp(person.id));
  }

  return (
    <ListPage
      title="People"
      says="A role is the most that somebody can be given; grants give it. An admin needs none."
      list={list}
    >
      {invitation && (
        <Shown
          title={`A link for ${invitation.name} to set a password, good for once and a day`}
          secret={invitation.link}
          dismiss={() => setInvitation(null)}
        />
      )}
      <Rows label="People" heads={["Name", "Roles", "Groups", "Logs in by", "Since", ""]}>
        {list.items.value?.map((person) => (
          <tr key={person.id}>
            <th scope="row">
              {person.name}
              {person.state === "disabled" && <span class="quiet"> (disabled)</span>}
            </th>
            <td>{person.roles.join(", ") || "none"}</td>
            <td>{person.groups.join(", ")}</td>
            <td>{person.ways.map((way) => WAYS[way]).join(", ") || "nothing yet"}</td>
            <td>
              <When at={person.created} />
            </td>
            <td class="acts">
              <button type="button" onClick={() => setChanging(person)}>
                Change
              </button>
              <button
                type="button"
                onClick={() =>
                  list.change(async () => invited(person.name, await api.invitePerson(person.id)))
                }
              >
                New password link
              </button>
              <button
                type="button"
                onClick={() =>
                  list.change(() =>
                    api.changePerson(person.id, { disabled: person.state === "active" }),
                  )
                }
              >
                {person.state === "active" ? "Disable" : "Enable"}
              </button>
              {person.ways.includes("totp") && (
                <button type="button" onClick={() => setLocked(person)}>
                  Reset second factor
                </button>
              )}
              <button type="button" class="warn" onClick={() => setLeaving(person)}>
                Remove
              </button>
            </td>
          </tr>
        ))}
      </Rows>
      <Asking title="Invite somebody" button="Invite" send={add}>
        <Field label="Name" name="name" autoComplete="off" />
        <Field label="Groups" name="groups" autoComplete="off" optional />
        <Choices legend="Roles" name="roles" words={ROLES} />
      </Asking>
      {changing && (
        <PersonDialog
          person={changing}
          close={(changed) => {
            setChanging(null);
            if (changed) void list.refresh();
          }}
        />
      )}
      {locked && <ResetQuestion name={locked.name} answer={(yes) => void reset(yes)} />}
      {leaving && (
        <QuestionDialog
          title={`Remove ${leaving.name}?`}
          yes="Remove"
          no="Keep"
          answer={(yes) => void remove(yes)}
        >
          <p>
            What {leaving.name} has open ends, and so do the logins, tokens and grants. The name is
            never given to somebody else.
          </p>
        </QuestionDialog>
      )}
    </ListPage>
  );
}

function ResetQuestion(props: { name: string; answer: (yes: boolean) => void }) {
  return (
    <QuestionDialog
      title={`Reset the second factor of ${props.name}?`}
      yes="Reset"
      no="Keep"
      answer={props.answer}
    >
      <p>
        Be sure that it is {props.name} who asks for it: the password alone is enough afterwards.
        Their logins end.
      </p>
    </QuestionDialog>
  );
}
