import { useState } from "preact/hooks";

import { api } from "../api";
import { Asking, Shown, text } from "../components/admin";
import { Field } from "../components/form";
import { me, refreshMe } from "../state/account";
import type { List } from "../state/list";

type Enrolment = Awaited<ReturnType<typeof api.beginTotp>>;

/** Whether the code of an authenticator is asked for beside the password: set up, confirmed, with new codes, turned off. */
export function SecondFactor({ list }: { list: List<unknown> }) {
  const [begun, setBegun] = useState<Enrolment | null>(null);
  const [codes, setCodes] = useState<string[]>([]);

  /** Does one step; whether it was done. */
  async function step(act: () => Promise<unknown>): Promise<boolean> {
    let done = false;
    await list.change(async () => {
      await act();
      done = true;
    });
    return done;
  }

  const begin = (fields: FormData) =>
    step(async () => setBegun(await api.beginTotp(String(fields.get("totp-password")))));
  const confirm = (fields: FormData) =>
    step(async () => {
      setCodes((await api.confirmTotp(text(fields, "totp-code"))).recovery_codes);
      setBegun(null);
    });
  const renew = (fields: FormData) =>
    step(async () => {
      const [password, code] = [String(fields.get("codes-password")), text(fields, "codes-code")];
      setCodes((await api.renewRecoveryCodes(password, code)).recovery_codes);
    });
  const end = (fields: FormData) =>
    step(async () => {
      await api.endTotp(String(fields.get("totp-password")), text(fields, "totp-code"));
      await refreshMe();
    });

  if (codes.length > 0) {
    return (
      <Shown
        title="Recovery codes: each is good for one login without your authenticator"
        secret={codes.join("\n")}
        dismiss={() => {
          setCodes([]);
          void refreshMe();
        }}
      />
    );
  }
  if (me.value?.second_factor === "on") {
    return (
      <>
        <Asking title="Make new recovery codes" button="Make new ones" send={renew}>
          <p>
            {me.value.recovery_codes} of your recovery codes are left. New ones take the place of
            all of them.
          </p>
          <Password name="codes-password" />
          <Code name="codes-code" />
        </Asking>
        <Asking title="Turn the second factor off" button="Turn off" send={end}>
          <p>A code of your authenticator is asked for at each login. Afterwards none is.</p>
          <Password name="totp-password" />
          <Code name="totp-code" />
        </Asking>
      </>
    );
  }
  if (begun === null) {
    return (
      <Asking title="Set up a second factor" button="Set up" send={begin}>
        <p>
          With an authenticator on your phone, a password alone lets nobody in. Every other login of
          yours ends.
        </p>
        <Password name="totp-password" />
      </Asking>
    );
  }
  return (
    <Asking title="Confirm the second factor" button="Confirm" send={confirm}>
      <p>Scan the picture with your authenticator, or type the secret into it.</p>
      <img
        class="qr"
        width="240"
        height="240"
        alt="The secret for your authenticator, as it stands below"
        src={`data:image/svg+xml,${encodeURIComponent(begun.qr)}`}
      />
      <p>
        <code class="secret">{begun.secret}</code>
      </p>
      <p class="quiet">
        <a href={begun.uri}>Open it in an authenticator on this device</a>
      </p>
      <Field
        label="The code that it shows now"
        name="totp-code"
        autoComplete="one-time-code"
        focus
      />
    </Asking>
  );
}

function Password({ name }: { name: string }) {
  return (
    <Field label="Your password" name={name} type="password" autoComplete="current-password" />
  );
}

function Code({ name }: { name: string }) {
  return <Field label="A code, or a recovery code" name={name} autoComplete="one-time-code" />;
}

/** Whether one can log in by the provider, too. */
export function ProviderLink({ list, provider }: { list: List<unknown>; provider: string }) {
  const linked = me.value?.ways.includes("provider") ?? false;

  async function link(fields: FormData): Promise<boolean> {
    await list.change(async () => {
      const { location: there } = await api.linkProvider(String(fields.get("link-password")));
      location.assign(there);
    });
    return false;
  }

  if (!linked) {
    return (
      <Asking title={`Link with “${provider}”`} button="Link" send={link}>
        <p>Afterwards you can log in that way, too. You are sent there and come back here.</p>
        <Field
          label="Your own password"
          name="link-password"
          type="password"
          autoComplete="current-password"
        />
      </Asking>
    );
  }
  return (
    <section class="card">
      <h2>{`Linked with “${provider}”`}</h2>
      <p>You can log in that way, too.</p>
      <button
        type="button"
        class="warn"
        onClick={() =>
          list.change(async () => {
            await api.unlinkProvider();
            await refreshMe();
          })
        }
      >
        Unlink
      </button>
    </section>
  );
}
