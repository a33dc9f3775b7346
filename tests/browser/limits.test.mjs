// The limits of a session: warned of in its terminal before it ends.

import { scene } from './harness.mjs';

const test = scene({ broker: { 'timing.idle': '6s', 'timing.warning': '4s' } });

test('who does not type is warned in the terminal, keeps the session by a key, and is told why it ended', async (stage) => {
  const tab = await stage.shell();
  await tab.says(/This session ends in \d seconds, because nobody typed/);
  await tab.type('x');
  await tab.page.getByRole('button', { name: 'Dismiss' }).click();
  await tab.says(/This session ends in \d seconds, because nobody typed/, 15_000);
  await tab.is('ended', 15_000);
  await tab.says(/Nobody typed for 6 seconds/);
});
