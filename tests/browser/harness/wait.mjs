// Waiting for what tells nobody when it happens: a file, a process, an answer of the API.
// (What happens in a page is waited for in the page: see tab.mjs.)

const LOOK_EVERY_MS = 20;

/** Looks again and again until `look` gives something true, and gives that; fails after `within` ms. */
export async function eventually(what, look, within = 10_000) {
  const giveUpAt = performance.now() + within;
  let last;
  for (;;) {
    try {
      const seen = await look();
      if (seen) return seen;
    } catch (error) {
      last = error;
    }
    if (performance.now() > giveUpAt) {
      throw new Error(`waited ${within} ms in vain for ${what}`, { cause: last });
    }
    await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  }
}
