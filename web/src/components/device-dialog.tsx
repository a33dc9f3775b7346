import { useEffect, useRef, useState } from "preact/hooks";

import { api, type Device, Refusal } from "../api";
import { text, wordsOf } from "./admin";
import { Field } from "./form";

/** What can be done with a device, for whoever may manage it. Esc closes it. */
export function DeviceDialog(props: {
  device: Device;
  /** Tags decide who else may do what: they are for administrators. */
  tags: boolean;
  close: () => void;
}) {
  const { device } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const [wrong, setWrong] = useState("");
  const [sure, setSure] = useState<"revoke" | "forget" | null>(null);
  useEffect(() => dialog.current?.showModal(), []);

  function close(): void {
    dialog.current?.close();
    props.close();
  }

  async function act(what: () => Promise<unknown>): Promise<void> {
    try {
      await what();
      close();
    } catch (error) {
      setWrong(error instanceof Refusal ? error.message : "The broker cannot be reached.");
    }
  }

  function save(event: SubmitEvent): void {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const fields = new FormData(event.currentTarget);
    const [name, tags] = [text(fields, "device-name"), wordsOf(fields, "device-tags")];
    const change = {
      ...(name !== device.name && { name }),
      ...(props.tags && tags.join() !== device.tags.join() && { tags }),
    };
    void act(() => api.changeDevice(device.id, change));
  }

  return (
    <dialog ref={dialog} aria-labelledby="device-title" onCancel={close}>
      <h2 id="device-title">{device.name}</h2>
      <p class="quiet">{device.id}</p>
      <form onSubmit={save}>
        <Field label="Name" name="device-name" autoComplete="off" starts={device.name} />
        {props.tags && (
          <Field
            label="Tags"
            name="device-tags"
            autoComplete="off"
            hint="with commas between: lab,env=prod"
            starts={device.tags.join(",")}
            optional
          />
        )}
        <p class="said" role="alert">
          {wrong}
        </p>
        <div class="dialog-buttons">
          <button type="button" onClick={close}>
            Close
          </button>
          <button type="submit" class="primary">
            Save
          </button>
        </div>
      </form>
      {sure === null ? (
        <div class="dialog-buttons">
          {device.state !== "revoked" && (
            <button
              type="button"
              aria-disabled={device.key_asked}
              onClick={() => act(() => api.rotateDeviceKey(device.id))}
            >
              {device.key_asked ? "New key asked for" : "New key"}
            </button>
          )}
          {device.state !== "revoked" && (
            <button type="button" class="warn" onClick={() => setSure("revoke")}>
              Revoke…
            </button>
          )}
          <button type="button" class="warn" onClick={() => setSure("forget")}>
            Forget…
          </button>
        </div>
      ) : (
        <Sure
          what={sure}
          stay={() => setSure(null)}
          go={() =>
            act(() =>
              sure === "revoke" ? api.revokeDevice(device.id) : api.forgetDevice(device.id),
            )
          }
        />
      )}
    </dialog>
  );
}

const MEANS = {
  revoke:
    "Its link and its sessions end at once, and its key is refused for ever. Do this when the device is lost.",
  forget:
    "Its link and its sessions end, and it is gone from the list. Unless it was revoked, it can be enrolled again.",
};

function Sure(props: { what: "revoke" | "forget"; stay: () => void; go: () => void }) {
  return (
    <section role="alert">
      <p>{MEANS[props.what]}</p>
      <div class="dialog-buttons">
        <button type="button" onClick={props.stay}>
          Keep it
        </button>
        <button type="button" class="warn" onClick={props.go}>
          {props.what === "revoke" ? "Revoke it" : "Forget it"}
        </button>
      </div>
    </section>
  );
}
