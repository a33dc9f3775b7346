// Programs that a test starts. None of them outlives the test process, however it ends.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, openSync, closeSync, readFileSync, readdirSync } from 'node:fs';

import { eventually } from './wait.mjs';

const running = new Set();

process.on('exit', () => {
  for (const program of running) program.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

// The kernel ends the child when we are killed ourselves, where the machine has setpriv.
const withParent = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] : [];

// Our own variables are no settings of the programs; the rest of the surroundings is kept.
function surroundings(more) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('MOORLINE_'));
  return { ...Object.fromEntries(kept), ...more };
}

export class Program {
  /** Starts it; both of its outputs are appended to `log`. */
  constructor(name, command, args, { log, cwd, env = {} }) {
    this.name = name;
    this.log = log;
    const file = openSync(log, 'a', 0o600);
    const [first, ...rest] = [...withParent, command, ...args];
    this.child = spawn(first, rest, { cwd, env: surroundings(env), stdio: ['ignore', file, file] });
    closeSync(file);
    running.add(this);
    this.ended = new Promise((done) => {
      this.child.once('error', (error) => done(`${error}`));
      this.child.once('exit', (status, signal) => done(signal ?? status));
    });
    this.ended.then((how) => {
      this.how = how;
      running.delete(this);
    });
  }

  get pid() {
    return this.child.pid;
  }

  /** Fails when the program has ended, with the end of its log. */
  assertAlive() {
    if (this.how === undefined) return;
    throw new Error(`${this.name} has ended (${this.how}):\n${tail(this.log, 15)}`);
  }

  kill(signal) {
    if (this.how === undefined) this.child.kill(signal);
  }

  /** Asks it to end, ends it if it has not within `patience`, and waits until it is gone. */
  async stop({ signal = 'SIGTERM', patience = 5_000 } = {}) {
    this.kill(signal);
    const timer = setTimeout(() => this.kill('SIGKILL'), patience);
    await this.ended;
    clearTimeout(timer);
  }
}

/** The last lines of a file. */
export function tail(path, lines) {
  if (!existsSync(path)) return '';
  return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

/** Runs a program to its end and gives its output; fails when it does. */
export function output(command, ...args) {
  const done = spawnSync(command, args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.status ?? done.error} ${done.stderr}`);
  return done.stdout;
}

function status(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state, parent: Number(parent) };
  } catch {
    return null;
  }
}

/** Whether a process of that number runs (a zombie does not). */
export function isAlive(pid) {
  const now = status(pid);
  return now !== null && now.state !== 'Z';
}

/** Every process below these, the nearest first. */
export function descendants(...roots) {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => [Number(name), status(Number(name))?.parent]);
  const found = [];
  let above = roots;
  while (above.length > 0) {
    above = parents.filter(([, parent]) => above.includes(parent)).map(([pid]) => pid);
    found.push(...above);
  }
  return found;
}

/** Waits until none of these processes is left. */
export async function gone(pids, within = 10_000) {
  await eventually(`the end of the processes ${pids.join(' ')}`, () => !pids.some(isAlive), within);
}

/** Every process with this at the beginning of a variable of its environment. */
export function inEnvironment(text) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').some((variable) => variable.startsWith(text));
      } catch {
        return false;
      }
    });
}

/** Ends a process at once, if it is still there. */
export function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}
