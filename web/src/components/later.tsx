import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Bar } from "./bar";
import { Nothing } from "./nothing";
import { Places } from "./places";

type Load = () => Promise<ComponentType>;

/** What was fetched before is there at once. */
const fetched = new Map<Load, ComponentType>();

/** A page whose code is fetched when somebody goes there, so that a terminal does not wait for it. */
export function Later({ load }: { load: Load }) {
  const [Page, show] = useState(() => fetched.get(load));
  const [failed, fail] = useState(false);
  useEffect(() => {
    if (Page) return;
    load().then(
      (page) => {
        fetched.set(load, page);
        show(() => page);
      },
      () => fail(true),
    );
  }, []);
  if (Page) return <Page />;
  return (
    <>
      <Bar>
        <Places />
      </Bar>
      <main class="page">{failed ? <NotLoaded /> : <p class="quiet">Loading…</p>}</main>
    </>
  );
}

/** The broker is away, or newer than this page: a reload finds out. */
function NotLoaded() {
  return (
    <Nothing
      title="This page could not be loaded from the broker"
      action={
        <button type="button" class="primary" onClick={() => location.reload()}>
          Reload
        </button>
      }
    >
      The broker may have been upgraded, or be away for a moment. A reload finds out.
    </Nothing>
  );
}
