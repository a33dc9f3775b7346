import { useState } from "preact/hooks";

import { copyText } from "../terminal/clipboard";

/** There is no device yet: the one command that brings the first. */
export function NoDevice({ command, demo }: { command: string; demo: boolean }) {
  const [copied, setCopied] = useState("");
  async function copy(): Promise<void> {
    setCopied((await copyText(command)) ? "Copied" : "Select it and copy by hand");
  }
  return (
    <section class="card empty">
      <h2>Install the agent</h2>
      <p>
        {demo
          ? "No device has called in yet. Give a device this broker's install key, and run there:"
          : "No device has called in yet. Let an administrator make an install key, run this on the device, and paste the key there:"}
      </p>
      <div class="command">
        <code>{command}</code>
        <button type="button" class="primary" onClick={copy}>
          Copy
        </button>
      </div>
      <p class="quiet" aria-live="polite">
        {copied || "Waiting for the first contact… it shows up here by itself."}
      </p>
    </section>
  );
}
