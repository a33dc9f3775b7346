import { Bar } from "../components/bar";
import { Link } from "../components/link";
import { addressOf } from "../state/router";

/** An address that is none of ours. */
export function NowherePage() {
  return (
    <>
      <Bar />
      <main class="page">
        <h1>There is no such page</h1>
        <p>
          The address may be mistyped. <Link to={addressOf.devices()}>All devices</Link> are one
          click away.
        </p>
      </main>
    </>
  );
}
