import { useEffect, useState } from "preact/hooks";

import { type Act, api } from "../api";
import { Asking, Choices, ListPage, Rows, Shown, text, When } from "../components/admin";
import { Field } from "../components/form";
import { logOut, me } from "../state/account";
import { useList } from "../state/list";
import { refusalOf } from "../state/refusal";
import { ProviderLink, SecondFactor } from "./account-security";
import { OwnSessions } from "./account-sessions";

const SCOPES: readonly (Act | "admin")[] = [
  "shell",
  "exec",
  "files",
  "forward",
  "watch",
  "kill",
  "manage",
  "admin",
];
const DAY_MS = 24 * 3600 * 1000;

/** What is one's own: where one is logged in, sessions, tokens for programs, and what one logs in by. */
export function AccountPage() {
  const list = useList(api.logins);
  const [provider, setProvider] = useState<string | null>(null);
  const [refused] = useState(() => refusalOf(location.hash, forgetFragment));
  const hasPassword = me.value?.ways.includes("password") ?? false;
  useEffect(() => {
    // Without an answer there is nothing to link with.
    api.ways().then(
      (ways) => setProvider(ways.provider),
      () => {},
    );
  }, []);

  async function changePassword(fields: FormData): Promise<boolean> {
    let done = false;
    await list.change(async () => {
      const [fresh, again] = [String(fields.get("fresh")), String(fields.get("again"))];
      if (fresh !== again) {
        list.refused.value = "The two new passwords differ. Type the same one twice.";
        return;
      }
      await api.changePassword(String(fields.get("old")), fresh);
      done = true;
    });
    return done;
  }

  return (
    <ListPage title={`Account of ${me.value?.person ?? ""}`} list={list}>
      {refused && <p role="alert">{refused}</p>}
      <h2>Where you are logged in</h2>
      <Rows label="Logins" heads={["Browser", "Address", "Since", "Last used", ""]}>
        {list.items.value?.map((login) => (
          <tr key={login.id}>
            <th scope="row">
              {login.agent || "unknown"}
              {login.this && <span class="quiet"> (this one)</span>}
              {login.way === "provider" && <span class="quiet"> (by the provider)</span>}
            </th>
            <td>{login.address}</td>
            <td>
              <When at={login.created} />
            </td>
            <td>
              <When at={login.seen} />
            </td>
            <td class="acts">
              <button
                type="button"
                onClick={() =>
                  login.this ? void logOut() : list.change(() => api.endLogin(login.id))
                }
              >
                {login.this ? "Log out" : "End"}
              </button>
            </td>
          </tr>
        ))}
      </Rows>
      <OwnSessions />
      <Tokens />
      {hasPassword && <SecondFactor list={list} />}
      {provider !== null && hasPassword && <ProviderLink list={list} provider={provider} />}
      {hasPassword && <PasswordChange send={changePassword} />}
    </ListPage>
  );
}

function PasswordChange({ send }: { send: (fields: FormData) => Promise<boolean> }) {
  return (
    <Asking title="Change the password" button="Change" send={send}>
      <Field label="The old password" name="old" type="password" autoComplete="current-password" />
      <Field
        label="The new password"
        name="fresh"
        type="password"
        autoComplete="new-password"
        hint="12 characters or more; every other login of yours ends"
      />
      <Field label="The new one again" name="again" type="password" autoComplete="new-password" />
    </Asking>
  );
}

const forgetFragment = () => history.replaceState(null, "", location.pathname + location.search);

function Tokens() {
  const list = useList(api.tokens);
  const [secret, setSecret] = useState("");

  async function add(fields: FormData): Promise<boolean> {
    let done = false;
    await list.change(async () => {
      const days = Number(text(fields, "days"));
      const made = await api.addToken({
        label: text(fields, "label"),
        scopes: SCOPES.filter((scope) => fields.getAll("scopes").includes(scope)),
        expires: new Date(Date.now() + days * DAY_MS).toISOString(),
      });
      setSecret(made.secret);
      done = true;
    });
    return done;
  }

  return (
    <>
      <h2>Tokens for programs</h2>
      <p class="said" role="status">
        {list.refused.value}
      </p>
      {secret !== "" && (
        <Shown title="The new token" secret={secret} dismiss={() => setSecret("")} />
      )}
      <Rows label="Tokens" heads={["Label", "For", "Ends", "Last used", ""]}>
        {list.items.value?.map((token) => (
          <tr key={token.id}>
            <th scope="row">{token.label}</th>
            <td>{token.scopes.join(", ") || "seeing only"}</td>
            <td>
              <When at={token.expires} />
            </td>
            <td>
              <When at={token.used} />
            </td>
            <td class="acts">
              <button
                type="button"
                class="warn"
                onClick={() => list.change(() => api.endToken(token.id))}
              >
                End
              </button>
            </td>
          </tr>
        ))}
      </Rows>
      <Asking title="Make a token" button="Make" send={add}>
        <Field label="What it is for" name="label" autoComplete="off" />
        <Field label="Days until it ends" name="days" autoComplete="off" hint="1 to 365" />
        <Choices legend="It may" name="scopes" words={SCOPES} />
      </Asking>
    </>
  );
}
