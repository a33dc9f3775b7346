import { useEffect, useState } from "preact/hooks";

import { api, type Device, type SessionInfo } from "../api";
import { Bar } from "../components/bar";
import { DeviceTable } from "../components/device-table";
import { NoDevice } from "../components/no-device";
import { Places } from "../components/places";
import { QuestionDialog } from "../components/question";
import { devices, liveSessions, refreshDevices, unreachable, watchDevices } from "../state/devices";
import { now } from "../state/now";

type Asked = { about: "end"; session: SessionInfo } | { about: "host key"; device: Device };

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
    try {
      if (asked.about === "end") await api.endSession(asked.session.id);
      else await api.acceptHostKeys(asked.device.id);
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
        {found?.length === 0 && <NoDevice command={installCommand()} />}
        {found !== null && found.length > 0 && (
          <DeviceTable
            devices={found}
            sessions={liveSessions.value}
            now={now.value}
            endSession={(session) => ask({ about: "end", session })}
            showHostKey={(device) => ask({ about: "host key", device })}
          />
        )}
      </main>
      {asked && <DevicesQuestion asked={asked} answer={answer} />}
    </>
  );
}

function DevicesQuestion({ asked, answer }: { asked: Asked; answer: (yes: boolean) => void }) {
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
    </QuestionDialog>
  );
}

/** `ws://` is for the broker's own machine; elsewhere the agent wants to be told that it is meant. */
function installCommand(): string {
  const broker = location.origin.replace(/^http/, "ws");
  const open = broker.startsWith("ws:") && !/^(localhost|127\.|\[::1\])/.test(location.host);
  const insecure = open ? " --set broker.insecure=true" : "";
  return `moorline-agent --set broker.url=${broker}${insecure} --set install_key_file=install.key`;
}
