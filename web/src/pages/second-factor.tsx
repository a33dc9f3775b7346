import { useEffect, useMemo } from "preact/hooks";

import { Bar } from "../components/bar";
import { logOut } from "../state/account";
import { List } from "../state/list";
import { SecondFactor } from "./account-security";

/** Stands in the place of any page for whoever has yet to set up the second factor that the broker requires. */
export function SecondFactorPage() {
  const list = useMemo(() => new List<unknown>(async () => []), []);
  useEffect(() => {
    document.title = "Set up a second factor · Moorline";
  }, []);
  return (
    <>
      <Bar />
      <main class="page">
        <h1>One thing first</h1>
        <p>This broker wants a second factor beside your password, and you have none yet.</p>
        <p class="said" role="status">
          {list.refused.value}
        </p>
        <SecondFactor list={list} />
        <p>
          <button type="button" onClick={() => void logOut()}>
            Log out
          </button>
        </p>
      </main>
    </>
  );
}
