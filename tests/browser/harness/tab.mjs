// One page with one terminal, as a test drives it.

const WITHIN = 10_000;

export class Tab {
  /** The number of the last prompt that was waited for. */
  number = 0;

  constructor(page) {
    this.page = page;
  }

  /** Waits in the page until `look(argument)` is true. */
  async until(look, argument, { within = WITHIN, what } = {}) {
    try {
      return await this.page.waitForFunction(look, argument, { timeout: within, polling: 20 });
    } catch (error) {
      const state = await this.page.evaluate(() => window.__test.state()).catch(() => 'unknown');
      const screen = await this.screen().catch(() => []);
      const words = await this.words().catch(() => '');
      const seen = `state: ${state}\nscreen:\n${screen.join('\n').trimEnd()}\nwords:\n${words.slice(0, 2000)}`;
      throw new Error(`waited in vain for ${what ?? look} ${JSON.stringify(argument) ?? ''}\n${seen}`, { cause: error });
    }
  }

  state() {
    return this.page.evaluate(() => window.__test.state());
  }

  /** Waits until the terminal is in this state (`live`, `reconnecting`, ...). */
  async is(state, within = WITHIN) {
    await this.until((wanted) => window.__test.state() === wanted, state, { within, what: 'the state' });
  }

  session() {
    return this.page.evaluate(() => window.__moorline.session);
  }

  screen() {
    return this.page.evaluate(() => window.__test.screen());
  }

  words() {
    return this.page.evaluate(() => window.__test.words());
  }

  everything() {
    return this.page.evaluate(() => window.__test.everything());
  }

  /** Waits until the terminal's screen has this text. */
  async shows(text, within = WITHIN) {
    const look = (wanted) => window.__test.screen().join('\n').includes(wanted);
    await this.until(look, text, { within, what: 'on the terminal:' });
  }

  /** Waits until the page around the terminal has these words (a regular expression). */
  async says(pattern, within = WITHIN) {
    const look = ([source, flags]) => new RegExp(source, flags).test(window.__test.words());
    await this.until(look, [pattern.source, pattern.flags], { within, what: 'the words' });
  }

  async focus() {
    await this.page.evaluate(() => window.__moorline.term.focus());
  }

  /** Types by hand: one key after the other. */
  async type(text) {
    await this.focus();
    await this.page.keyboard.type(text);
  }

  async press(key) {
    await this.focus();
    await this.page.keyboard.press(key);
  }

  /** Types a line; quicker than keys for what is not about keys. */
  async enter(line) {
    await this.page.evaluate((text) => window.__moorline.term.input(`${text}\r`), line);
  }

  /** Pastes as the browser's own menu does. */
  async paste(text) {
    await this.page.evaluate((pasted) => {
      const clipboardData = new DataTransfer();
      clipboardData.setData('text/plain', pasted);
      const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true });
      window.__moorline.term.textarea.dispatchEvent(event);
    }, text);
  }

  /** Waits for a live terminal and gives it a shell whose prompts are numbered. */
  async shell(within = 20_000) {
    await this.is('live', within);
    this.number = 0;
    await this.enter('exec bash --norc --noprofile');
    await this.enter("PS1='[\\#]''> '; HISTFILE=; stty sane; clear");
    await this.prompted();
    return this;
  }

  /** Waits for the prompt after the last one that was waited for. */
  async prompted(within = WITHIN) {
    const look = (number) => (window.__test.prompt() ?? 0) > number && window.__test.prompt();
    const found = await this.until(look, this.number, { within, what: 'a prompt after number' });
    this.number = await found.jsonValue();
  }

  /** Runs a command to its end, and gives the lines that it wrote. */
  async run(command, within = WITHIN) {
    const prompt = await this.until(() => window.__test.prompt(), null, { what: 'a prompt' });
    const before = await prompt.jsonValue();
    this.number = before;
    await this.enter(command);
    await this.prompted(within);
    const lines = await this.everything();
    const first = lines.findLastIndex((line) => line.startsWith(`[${before}]> `));
    const last = lines.findLastIndex((line) => line.startsWith(`[${this.number}]>`));
    return lines.slice(first + 1, last);
  }
}
