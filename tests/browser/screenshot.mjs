#!/usr/bin/env node
// Takes the README's picture, web/screenshot.png: a real session in a real browser.

import { mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { launch, ROOT, Window, World } from './harness.mjs';

/** What lies on the device: made up, so that the picture shows nothing of the machine it was taken on. */
const FILES = {
  'bin/levels': String.raw`#!/usr/bin/env bash
# Draws each tank of levels.csv as a bar.
while IFS=, read -r tank level; do
  printf '%-10s \e[38;2;90;98;108m▕\e[0m' "$tank"
  for ((i = 0; i < 60; i++)); do
    if ((i * 100 < level * 60)); then printf '\e[38;2;%d;%d;%dm█' $((90 + i)) $((150 + i)) $((235 - i)); else printf ' '; fi
  done
  printf '\e[38;2;90;98;108m▏\e[0m\e[1m%3d %%\e[0m\n' "$level"
done <levels.csv
`,
  'levels.csv': 'north,82\nsouth,47\nreserve,96\nharbour,23\nmill,64\n',
  'pumps.toml': '[north]\ninterval = "30s"\nalarm_below = 20\n\n[harbour]\ninterval = "5s"\nalarm_below = 25\n',
  'log/pumps.log': `07:58:03 INFO  north    started, 30 l/s
07:58:41 INFO  reserve  full, stopped
08:01:17 WARN  harbour  level 23 %, below 25 %
08:01:18 INFO  harbour  started, 12 l/s
08:02:55 INFO  south    valve half open
`,
  'backup.tar.gz': '',
};

const COMMANDS = [
  'ls --color -lhgG --time-style=long-iso',
  'bin/levels',
  `grep --color=always -E 'WARN|$' log/pumps.log`,
  `grep --color=always -rn interval pumps.toml`,
  'uname -o; uptime -p',
];

/** The folder of the picture, in the world's own folder. */
function furnish(world) {
  for (const [name, content] of Object.entries(FILES)) {
    mkdirSync(dirname(world.path('station', name)), { recursive: true });
    world.file(join('station', name), content, name.startsWith('bin/') ? 0o755 : 0o644);
  }
  symlinkSync('log/pumps.log', world.path('station/today'));
  return world.path('station');
}

const world = await World.start({ devices: { 'pump-station': 'embedded' } });
const browser = await launch();
try {
  const window = await Window.open(browser, world, {
    viewport: { width: 1280, height: 800 },
    deviceScaleFactor: 1.5,
    colorScheme: 'dark',
  });
  const tab = await (await window.open('/')).shell();
  await tab.enter(`cd ${furnish(world)}; PS1='\\[\\e[1;32m\\]root@pump-station\\[\\e[0m\\]:\\[\\e[1;34m\\]~/\\W\\[\\e[0m\\]\\$ '; clear`);
  const prompts = (count) => window.__test.screen().filter((line) => line.startsWith('root@pump-station:')).length === count;
  for (const [number, command] of COMMANDS.entries()) {
    await tab.until(prompts, number + 1, { what: 'prompts:' });
    await tab.type(`${command}\n`);
  }
  await tab.until(prompts, COMMANDS.length + 1, { what: 'prompts:' });
  await tab.page.screenshot({ path: join(ROOT, 'web/screenshot.png') });
  console.log('web/screenshot.png');
} finally {
  await browser.close();
  await world.stop();
}
