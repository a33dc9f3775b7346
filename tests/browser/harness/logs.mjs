// What the programs' logs say, and must not say.

import { readFileSync } from 'node:fs';

/** Whether someone may want to look at this line. */
function isSerious(line) {
  if (/"level":"(WARN|ERROR)"/.test(line)) return true;
  return /^\S*\s*(\S+\s+)?(WARN|ERROR)\b/.test(line) || line.includes('panicked at');
}

export class Log {
  constructor(program) {
    this.program = program;
    this.seen = 0;
  }

  text() {
    return readFileSync(this.program.log, 'utf8');
  }

  /** The lines since the last call that someone may want to look at and nobody announced. */
  complaints(announced) {
    const text = this.text();
    const fresh = text.slice(this.seen);
    this.seen = text.length;
    return fresh
      .split('\n')
      .filter((line) => isSerious(line) && !announced.some((pattern) => pattern.test(line)))
      .map((line) => `${this.program.name}: ${line}`);
  }

  /** In which of the forms that a careless `{:?}` or hex dump takes, the word stands in the log. */
  leaks(word) {
    const text = this.text();
    const bytes = [...Buffer.from(word)];
    const forms = {
      plain: word,
      hex: Buffer.from(word).toString('hex'),
      'spaced hex': bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' '),
      'list of bytes': bytes.join(', '),
      base64: Buffer.from(word).toString('base64').slice(0, -4),
    };
    return Object.entries(forms)
      .filter(([, form]) => text.toLowerCase().includes(form.toLowerCase()))
      .map(([name]) => `${this.program.name} has it as ${name}`);
  }
}
