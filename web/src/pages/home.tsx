import { useEffect, useState } from "preact/hooks";

import { api, type Me } from "../api";
import { Bar } from "../components/bar";
import { devices, watchDevices } from "../state/devices";
import { addressOf, go } from "../state/router";
import { DevicesPage } from "./devices";

/** How long a demo's only device is waited for before the list is shown instead. */
const DEVICE_WITHIN_MS = 10_000;

/** The devices; in a demo with exactly one device, its terminal at once. */
export function HomePage() {
  const [me, setMe] = useState<Me | null>(null);
  const [waited, setWaited] = useState(false);
  useEffect(watchDevices, []);
  useEffect(() => {
    api.me().then(setMe, () => setWaited(true));
    const timer = setTimeout(() => setWaited(true), DEVICE_WITHIN_MS);
    return () => clearTimeout(timer);
  }, []);

  const found = devices.value;
  const [only, ...others] = found ?? [];
  const demo = me?.mode === "demo";
  const ready = demo && only !== undefined && others.length === 0 && only.state === "online";
  useEffect(() => {
    if (ready) go(addressOf.open(only.id), "replace");
  }, [ready]);

  const mayStillCome = me === null || (demo && others.length === 0);
  if (!mayStillCome || (waited && !ready)) return <DevicesPage />;
  return (
    <>
      <Bar />
      <main class="page">
        <h1 class="unseen">Moorline</h1>
        <section class="card" role="status">
          {found !== null &&
            (only
              ? `Waiting for ${only.name} to come online…`
              : "Waiting for the device to call in…")}
        </section>
      </main>
    </>
  );
}
