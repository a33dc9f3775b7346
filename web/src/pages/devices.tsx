import { useEffect, useState } from "preact/hooks";

import { api, type Device, type SessionInfo } from "../api";
import { Bar } from "../components/bar";
import { DeviceDialog } from "../components/device-dialog";
import { DeviceTable } from "../components/device-table";
import { NoDevice } from "../components/no-device";
import { Places } from "../components/places";
import { QuestionDialog } from "../components/question";
import { administers, me } from "../state/account";
import { devices, liveSessions, refreshDevices, unreachable, watchDevices } from "../state/devices";
import { now } from "../state/now";
import { enrollCommand } from "../state/words-enroll";

type Asked =
  | { about: "end"; session: SessionInfo }
  | { about: "host key"; device: Device }
  | { about: "device"; device: Device };

/** Every device, and how it is. */
export function DevicesPage() {
  const [asked, ask] = useState<Asked | null>(null);
  const [refused, setRefused] = useState("");
  useEffect(watchDevices, []);
  useEffect(() => {
    document.title = "Devices · Moorline";
  }, []);

  async function answer(yes: boolean): Promise<void> {
    ask(null);
    if (!yes || asked === null) return;
    if (asked.about === "end") await act(() => api.endSession(asked.session.id));
    if (asked.about === "host key") await act(() => api.acceptHostKeys(asked.device.id));
  }

  async function act(what: () => Promise<unknown>): Promise<void> {
    try {
      await what();
      setRefused("");
    } catch (error) {
      setRefused(error instanceof Error ? error.message : String(error));
    }
    await refreshDevices();
  }

  const found = devices.value;
  return (
    <>
      <Bar>
        <Places />
      </Bar>
      <main class="page">
        <h1>Devices</h1>
        <p class="said" role="status">
          {unreachable.value
            ? "The broker cannot be reached; trying again. What you see is from before."
            : refused}
        </p>
        {found === null && !unreachable.value && <p class="quiet">Asking the broker…</p>}
        {found?.length === 0 && <NoDevice command={installCommand()} demo={isDemo()} />}
        {found !== null && found.length > 0 && (
          <DeviceTable
            devices={found}
            sessions={liveSessions.value}
            now={now.value}
            endSession={(session) => ask({ about: "end", session })}
            showHostKey={(device) => ask({ about: "host key", device })}
            approve={(device) => void act(() => api.approveDevice(device.id))}
            manage={(device) => ask({ about: "device", device })}
          />
        )}
      </main>
      {asked?.about === "device" ? (
        <DeviceDialog
          device={asked.device}
          tags={administers.value}
          close={() => {
            ask(null);
            void refreshDevices();
          }}
        />
      ) : (
        asked && <DevicesQuestion asked={asked} answer={answer} />
      )}
    </>
  );
}

function DevicesQuestion({
  asked,
  answer,
}: {
  asked: Exclude<Asked, { about: "device" }>;
  answer: (yes: boolean) => void;
}) {
  if (asked.about === "end") {
    return (
      <QuestionDialog title="End this session?" yes="End it" no="Keep it" answer={answer}>
        <p>The shell on {asked.session.device_name} and what runs in it are ended.</p>
      </QuestionDialog>
    );
  }
  return (
    <QuestionDialog
      title="Accept the new host key?"
      yes="Accept the new key"
      no="Keep refusing"
      answer={answer}
    >
      <p>
        {asked.device.name} shows another host key than the one pinned when it was enrolled, so no
        session is opened. Accept it only if you know that the key was changed on purpose; if not,
        somebody may be listening.
      </p>
      <p>Pinned now:</p>
      <pre class="preview">{asked.device.fingerprints.join("\n")}</pre>
      <p>Shown instead:</p>
      <pre class="preview">{asked.device.offered_fingerprints?.join("\n")}</pre>
    </QuestionDialog>
  );
}

function isDemo(): boolean {
  return me.value?.mode === "demo";
}

/** In demo mode the install key is a file that the broker made; else it is one of the list. */
function installCommand(): string {
  const broker = location.origin.replace(/^http/, "ws");
  return isDemo()
    ? `moorline-agent --set broker.url=${broker} --set install_key_file=install.key`
    : enrollCommand(location, null);
}
