// Writes every dashboard into the folder above; with --check, says which of them are not as they would be written.

import { readFileSync, writeFileSync } from "node:fs";
import { broker } from "./dist/broker.js";
import { fleet } from "./dist/fleet.js";
import { sessions } from "./dist/sessions.js";

const check = process.argv.includes("--check");
const stale = [];
for (const [name, dashboard] of Object.entries({ fleet, sessions, broker })) {
  const file = new URL(`../${name}.json`, import.meta.url);
  const text = `${JSON.stringify(dashboard, null, 2)}\n`;
  if (!check) {
    writeFileSync(file, text);
  } else if (read(file) !== text) {
    stale.push(`${name}.json`);
  }
}
if (stale.length > 0) {
  console.error(`dashboards: ${stale.join(", ")} differ from dashboards/source. Write them again: make dashboards`);
  process.exitCode = 1;
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
