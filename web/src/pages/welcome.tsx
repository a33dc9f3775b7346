import { useEffect, useState } from "preact/hooks";

import { api, Refusal } from "../api";
import { Bar } from "../components/bar";
import { Field, Form } from "../components/form";
import { refreshMe } from "../state/account";
import { go } from "../state/router";

type Invited =
  | { is: "asking" }
  | { is: "refused"; text: string }
  | { is: "there"; person: string | null };

/** A link with which somebody sets a password. Its secret is in the fragment, which no browser sends. */
export function WelcomePage() {
  const [secret] = useState(takeSecret);
  const [asksCode, setAsksCode] = useState(false);
  const [invited, setInvited] = useState<Invited>({ is: "asking" });
  useEffect(() => {
    document.title = "Welcome · Moorline";
    api.invitation(secret).then(
      ({ person }) => setInvited({ is: "there", person }),
      (error) => setInvited({ is: "refused", text: sentence(error) }),
    );
  }, []);

  async function send(fields: Record<string, string>): Promise<string | undefined> {
    const { name = "", password = "", again = "" } = fields;
    if (password !== again) return "The two passwords differ. Type the same one twice.";
    const administrator = invited.is === "there" && invited.person === null;
    try {
      await api.accept(secret, administrator ? name : undefined, password, fields.code);
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== "second_factor") throw error;
      setAsksCode(true);
      return error.message;
    }
    await refreshMe();
    go("/", "replace");
    return undefined;
  }

  return (
    <>
      <Bar />
      {invited.is === "there" ? (
        <Form
          title="Welcome to Moorline"
          why={
            invited.person === null
              ? "You are about to become an administrator of this broker: choose a name and a password."
              : "Choose the password that you log in with from now on."
          }
          button="Set the password and log in"
          send={send}
        >
          <Field
            label="Name"
            name="name"
            autoComplete="username"
            focus={invited.person === null}
            {...(invited.person === null
              ? { hint: "1 to 64 of a-z, 0-9 and ._@+- with a letter or digit first" }
              : { value: invited.person })}
          />
          <Field
            label="Password"
            name="password"
            type="password"
            autoComplete="new-password"
            hint="12 characters or more; a few words in a row are good"
            focus={invited.person !== null}
          />
          <Field
            label="The same password again"
            name="again"
            type="password"
            autoComplete="new-password"
          />
          {asksCode && (
            <Field
              label="Code"
              name="code"
              autoComplete="one-time-code"
              hint="of your authenticator, or a recovery code"
              focus
            />
          )}
        </Form>
      ) : (
        <main class="page narrow">
          <section class="card">
            <h1>Welcome to Moorline</h1>
            <p role="status">{invited.is === "asking" ? "Asking the broker…" : invited.text}</p>
          </section>
        </main>
      )}
    </>
  );
}

/** Read once, and gone from the address: neither the history nor a screenshot has it. */
function takeSecret(): string {
  const secret = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  return secret;
}

function sentence(error: unknown): string {
  return error instanceof Refusal
    ? error.message
    : "The broker cannot be reached. Open the link again in a moment.";
}
