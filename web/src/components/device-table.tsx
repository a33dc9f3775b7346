import type { Device, SessionInfo } from "../api";
import { addressOf } from "../state/router";
import { span } from "../state/time";
import type { Tone } from "../state/words";
import { Chip } from "./chip";
import type { IconName } from "./icon";
import { Link } from "./link";
import { ShellList } from "./shell-list";

interface Shown {
  devices: Device[];
  sessions: SessionInfo[];
  now: number;
  endSession: (session: SessionInfo) => void;
  showHostKey: (device: Device) => void;
  approve: (device: Device) => void;
  manage: (device: Device) => void;
}

/** The devices, each with what it is, how it is, and the shells that run on it. */
export function DeviceTable(props: Shown) {
  return (
    <table class="list devices">
      <thead>
        <tr>
          <th scope="col">Device</th>
          <th scope="col">State</th>
          <th scope="col">Round trip</th>
          <th scope="col">Login</th>
          <th scope="col">Platform</th>
          <th scope="col">SSH server</th>
          <th scope="col">Host key</th>
          <td />
        </tr>
      </thead>
      {props.devices.map((device) => (
        <tbody key={device.id}>
          <DeviceRow {...props} device={device} />
          <ShellList
            sessions={props.sessions.filter((session) => session.device === device.id)}
            now={props.now}
            end={props.endSession}
          />
        </tbody>
      ))}
    </table>
  );
}

const STATES: Record<Device["state"], { icon: IconName; word: string; tone: Tone }> = {
  online: { icon: "check", word: "Online", tone: "good" },
  unstable: { icon: "warning", word: "Unstable", tone: "warn" },
  away: { icon: "unlinked", word: "Link lost, may come back", tone: "warn" },
  offline: { icon: "cross", word: "Offline", tone: "quiet" },
  pending: { icon: "clock", word: "Waits for approval", tone: "warn" },
  revoked: { icon: "stop", word: "Revoked", tone: "bad" },
};

function DeviceRow(props: Omit<Shown, "devices" | "sessions" | "endSession"> & { device: Device }) {
  const { device, now } = props;
  const since = device.since ?? device.last_seen;
  return (
    <tr class="device">
      <th scope="row">
        <DeviceName device={device} />
        <span class="quiet id">{device.id}</span>
        {device.tags.length > 0 && <span class="quiet id">{device.tags.join(", ")}</span>}
      </th>
      <td data-label="State">
        <Chip {...STATES[device.state]} />
        {device.state === "pending" ? (
          <span class="quiet since">{device.connected ? "connected" : "not connected"}</span>
        ) : (
          since && <span class="quiet since">for {span(now - Date.parse(since))}</span>
        )}
        {device.state === "pending" && device.may_manage && (
          <button
            type="button"
            class="primary above"
            aria-label={`Approve ${device.name}`}
            onClick={() => props.approve(device)}
          >
            Approve
          </button>
        )}
      </td>
      <td data-label="Round trip">
        {device.rtt_ms === null ? "–" : `${roundTrip(device.rtt_ms)} ms`}
      </td>
      <td data-label="Login">{device.login}</td>
      <td data-label="Platform">{device.platform}</td>
      <td data-label="SSH server">{device.sshd === "embedded" ? "Embedded" : "System"}</td>
      <td data-label="Host key">
        {device.host_key === "pinned" ? (
          "Pinned"
        ) : (
          <button type="button" class="warn above" onClick={() => props.showHostKey(device)}>
            Changed: look
          </button>
        )}
      </td>
      <td class="acts">
        {device.may_manage && (
          <button
            type="button"
            class="above"
            aria-label={`Manage ${device.name}`}
            onClick={() => props.manage(device)}
          >
            Manage
          </button>
        )}
      </td>
    </tr>
  );
}

/** A link to a shell, where one can be had. */
function DeviceName({ device }: { device: Device }) {
  if (device.state === "pending" || device.state === "revoked") return <>{device.name}</>;
  return (
    <Link
      to={addressOf.open(device.id)}
      class="device-link"
      label={`Open a shell on ${device.name}`}
    >
      {device.name}
    </Link>
  );
}

function roundTrip(ms: number): string {
  return ms < 10 ? ms.toFixed(1) : String(Math.round(ms));
}
