import { useEffect } from "preact/hooks";

import { api } from "../api";
import { Bar } from "../components/bar";
import { Field, Form } from "../components/form";
import { refreshMe } from "../state/account";
import { go } from "../state/router";

/** Stands in the place of any page for which nobody is logged in; afterwards that page is shown. */
export function LoginPage({ why }: { why: string }) {
  useEffect(() => {
    document.title = "Log in · Moorline";
  }, []);

  async function send(fields: Record<string, string>): Promise<undefined> {
    await api.logIn(fields.name ?? "", fields.password ?? "");
    await refreshMe();
    // By its address as it is now: a terminal has renamed it to that of its session.
    go(location.pathname + location.search, "replace");
  }

  return (
    <>
      <Bar />
      <Form title="Log in" why={why} button="Log in" send={send}>
        <Field label="Name" name="name" autoComplete="username" focus />
        <Field label="Password" name="password" type="password" autoComplete="current-password" />
      </Form>
    </>
  );
}
