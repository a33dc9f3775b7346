// Runs every src/**/*.test.ts on plain node: vite bundles each into a folder under node_modules
// (so that packages still resolve), then `node --test` runs them with web/ as working directory.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const web = fileURLToPath(new URL("..", import.meta.url));
const out = `${web}node_modules/.cache/tests`;
const named = process.argv.slice(2);

function* testsIn(folder) {
  for (const entry of readdirSync(`${web}${folder}`, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* testsIn(path);
    else if (path.endsWith(".test.ts") && named.every((part) => path.includes(part))) yield path;
  }
}

const tests = [...testsIn("src")];
rmSync(out, { recursive: true, force: true });
await build({
  root: web,
  configFile: false,
  logLevel: "warn",
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: out,
    sourcemap: "inline",
    rollupOptions: {
      input: Object.fromEntries(tests.map((path) => [path.replace(/\.ts$/, ""), `${web}${path}`])),
      output: { entryFileNames: "[name].mjs" },
    },
  },
});
const built = tests.map((path) => `${out}/${path.replace(/\.ts$/, ".mjs")}`);
const run = spawnSync(process.execPath, ["--test", "--enable-source-maps", ...built], {
  cwd: web,
  stdio: "inherit",
});
process.exit(run.status ?? 1);
