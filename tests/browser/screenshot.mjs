#!/usr/bin/env node
// Takes the README's picture, web/screenshot.png: a real session in a real browser.

import { join } from 'node:path';

import { launch, ROOT, Window, World } from './harness.mjs';

const COMMANDS = [
  'uname -sr',
  'ls --color=always -C /',
  'df -h --output=source,size,used,pcent / /dev/shm',
  `for c in 31 32 33 34 35 36; do printf '\\e[%sm███ \\e[1mcolour %s\\e[0m  ' $c $c; done; echo`,
  'grep --color=always -n root /etc/passwd',
];

const world = await World.start({ devices: { 'router-7': 'embedded' } });
const browser = await launch();
try {
  const window = await Window.open(browser, world, {
    viewport: { width: 1280, height: 800 },
    deviceScaleFactor: 1.5,
    colorScheme: 'dark',
  });
  const tab = await (await window.open('/')).shell();
  await tab.enter(`cd /; PS1='\\[\\e[1;32m\\]root@router-7\\[\\e[0m\\]:\\[\\e[1;34m\\]\\w\\[\\e[0m\\]\\$ '; clear`);
  for (const command of COMMANDS) {
    await tab.until(() => /\$ $/.test(window.__test.screen().filter(Boolean).at(-1) ?? '') || window.__test.screen().filter(Boolean).at(-1)?.endsWith('$'));
    await tab.type(`${command}\n`);
  }
  await tab.until(() => window.__test.screen().filter(Boolean).at(-1)?.endsWith('$'));
  await tab.page.screenshot({ path: join(ROOT, 'web/screenshot.png') });
  console.log('web/screenshot.png');
} finally {
  await browser.close();
  await world.stop();
}
