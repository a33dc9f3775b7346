import { useEffect, useState } from "preact/hooks";

import { api, Refusal } from "../api";
import { Bar } from "../components/bar";
import { Field, Form } from "../components/form";
import { refreshMe } from "../state/account";
import { refusalOf } from "../state/refusal";
import { go } from "../state/router";

/** Stands in the place of any page for which nobody is logged in; afterwards that page is shown. */
export function LoginPage({ why }: { why: string }) {
  const [refused] = useState(takeRefusal);
  const [provider, setProvider] = useState<string | null>(null);
  const [asksCode, setAsksCode] = useState(false);
  useEffect(() => {
    document.title = "Log in · Moorline";
    // Without an answer there is no button: the password is taken all the same.
    api.ways().then(
      (ways) => setProvider(ways.provider),
      () => {},
    );
  }, []);

  async function send(fields: Record<string, string>): Promise<string | undefined> {
    try {
      await api.logIn(fields.name ?? "", fields.password ?? "", fields.code || undefined);
    } catch (error) {
      if (!(error instanceof Refusal) || error.code !== "second_factor") throw error;
      setAsksCode(true);
      return error.message;
    }
    await refreshMe();
    // By its address as it is now: a terminal has renamed it to that of its session.
    go(location.pathname + location.search, "replace");
    return undefined;
  }

  return (
    <>
      <Bar />
      <Form
        title="Log in"
        why={refused || why}
        button="Log in"
        send={send}
        beside={
          provider !== null && (
            <a class="button" href={`/api/v1/login/oidc?${new URLSearchParams({ back: page() })}`}>
              {provider}
            </a>
          )
        }
      >
        <Field label="Name" name="name" autoComplete="username" focus />
        <Field label="Password" name="password" type="password" autoComplete="current-password" />
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
    </>
  );
}

/** The page that is shown afterwards. */
const page = () => location.pathname + location.search;

/** Why a login at the provider came to nothing; read once, and gone from the address. */
function takeRefusal(): string {
  return refusalOf(location.hash, () => history.replaceState(null, "", page()));
}
