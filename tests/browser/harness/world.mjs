// A real broker, real devices, and what lies between, in a folder of its own.

import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Log } from './logs.mjs';
import { descendants, gone, inEnvironment, kill, output, Program, tail } from './process.mjs';
import { freePort, Relay } from './relay.mjs';
import { eventually } from './wait.mjs';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const ENVIRONMENT = process.env;
/** The path of a unix socket has 107 bytes at most (unix(7)); Chromium and tmux make theirs below TMPDIR. */
const TEMPORARY_MAX = 107 - '/org.chromium.Chromium.XXXXXX/SingletonSocket'.length;
/** Of everybody who has one. */
export const PASSWORD = 'correct horse battery';

/** Where temporary folders are made. */
export const TEMPORARY = tmpdir().length <= TEMPORARY_MAX ? tmpdir() : '/tmp';

function binary(name) {
  const folder = ENVIRONMENT.MOORLINE_BIN_DIR ?? ENVIRONMENT.MOORLINE_BINARIES ?? 'target/release';
  const path = join(resolve(ROOT, folder), name);
  if (!existsSync(path)) throw new Error(`${path} is not there: cargo build --release -p ${name}`);
  return path;
}

const settings = (values) => Object.entries(values).flatMap(([key, value]) => ['--set', `${key}=${value}`]);

export class World {
  devices = new Map();
  programs = [];
  logs = [];

  /**
   * @param devices  names and kinds: `{ router: 'embedded', server: 'openssh' }`
   * @param browserRelay  put a relay between browser and broker (`world.relay`)
   * @param deviceRelays  put one between each device and the broker (`world.device(name).relay`)
   * @param people  outside demo mode, with an administrator `anna`; `world.ask` is asked as her
   * @param secure  the broker speaks TLS, with a certificate that no browser knows (`world.certify` renews it)
   * @param faults  the broker can be made to fail (`world.panic`)
   * @param filter  of the logs of broker and agents
   */
  static async start({ devices = { device: 'embedded' }, browserRelay, deviceRelays, people, secure = false, broker = {}, faults = false, filter = 'info' } = {}) {
    const world = new World();
    world.faults = faults;
    world.secure = secure;
    world.dir = mkdtempSync(join(TEMPORARY, 'moorline-browser-'));
    world.filter = filter;
    try {
      writeFileSync(world.path('install.key'), `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
      if (browserRelay) world.relay = await Relay.open();
      const tls = secure ? world.certify() : {};
      await world.startBroker(people ? { ...world.initialized(), ...tls, ...broker } : { ...tls, ...broker });
      if (people) world.cookie = await world.accept(world.invitation, 'anna');
      for (const [name, kind] of Object.entries(devices)) await world.startDevice(name, kind, deviceRelays);
      return world;
    } catch (error) {
      console.error(world.tails());
      await world.stop({ keep: true });
      throw error;
    }
  }

  path(...names) {
    return join(this.dir, ...names);
  }

  /** Where the keepers of a device have their sockets. Each has this in its environment. */
  keepers(name) {
    return this.path(`${name}-keepers`);
  }

  /** The address of a page, as the browser reaches it. */
  url(path) {
    return `${this.origin(this.relay?.port)}${path}`;
  }

  /** The broker's own address, or that of a relay before it. */
  origin(port = this.port) {
    return `${this.secure ? 'https' : 'http'}://127.0.0.1:${port}`;
  }

  /** Writes a new certificate for the broker, which signs itself; gives the settings for it. */
  certify() {
    const [certificate, key] = [this.path('broker.pem'), this.path('broker.key')];
    const config = this.path('certificate.cnf');
    // An authority's own certificate would not be taken for a server's.
    const extensions = 'basicConstraints=critical,CA:FALSE\nsubjectAltName=IP:127.0.0.1\n';
    writeFileSync(config, `[req]\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n[extensions]\n${extensions}`);
    const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'];
    output('openssl', ...made, '-config', config, '-subj', '/CN=broker', '-keyout', key, '-out', certificate);
    return { 'tls.certificate_file': certificate, 'tls.key_file': key, 'tls.check': '200ms' };
  }

  device(name = 'device') {
    return this.devices.get(name);
  }

  start(name, command, args, { quiet = false, env } = {}) {
    const program = new Program(name, command, args, { log: this.path(`${name}.log`), cwd: this.dir, env });
    this.programs.push(program);
    if (!quiet && !this.logs.some((log) => log.program.name === name)) this.logs.push(new Log(program));
    return program;
  }

  async startBroker(more) {
    this.port ??= await freePort();
    const relayed = this.relay && {
      'http.origins': `http://127.0.0.1:${this.relay.port}`,
      'http.hosts': `127.0.0.1:${this.relay.port}`,
    };
    const values = {
      listen: `127.0.0.1:${this.port}`,
      data_dir: this.path('broker'),
      'enroll.install_key_file': this.path('install.key'),
      'log.format': 'json',
      'log.filter': this.filter,
      ...relayed,
      ...more,
    };
    const args = ['--config', join(ROOT, 'config/demo.toml'), ...settings(values)];
    this.brokerArguments = args;
    if (this.relay) this.relay.target = this.port;
    await this.runBroker();
  }

  /** A folder as `moorline-broker init` makes it; gives the settings for it. */
  initialized() {
    const told = output(binary('moorline-broker'), 'init', '--dir', this.path('made'));
    this.invitation = /\/welcome#(\S+)/.exec(told)[1];
    return { demo: false, data_dir: this.path('made', 'data') };
  }

  /** Sets the password of an invitation; gives the cookie. */
  async accept(secret, name) {
    const body = JSON.stringify({ secret, name, password: PASSWORD });
    const headers = { 'Content-Type': 'application/json' };
    const url = `${this.origin()}/api/v1/invitation/accept`;
    const answer = await fetch(url, { method: 'POST', headers, body });
    if (!answer.ok) throw new Error(`the invitation: ${answer.status} ${await answer.text()}`);
    return answer.headers.get('set-cookie').split(';')[0];
  }

  /** Starts the broker as before, also again after it ended, and waits until it answers. */
  async runBroker() {
    const env = this.faults ? { MOORLINE_TEST_FAULTS: '1' } : {};
    this.broker = this.start('broker', binary('moorline-broker'), this.brokerArguments, { env });
    await eventually('the broker to answer', async () => {
      this.broker.assertAlive();
      return (await fetch(`${this.origin()}/readyz`)).ok;
    });
  }

  async startDevice(name, kind, relayed) {
    const device = { name, kind };
    this.devices.set(name, device);
    let sshd = { 'sshd.mode': 'embedded' };
    if (kind === 'openssh') {
      device.sshd = await this.startSshd(name);
      sshd = {
        'sshd.mode': 'system',
        'sshd.address': `127.0.0.1:${device.sshd.port}`,
        'sshd.host_key_files': this.path(`${name}-sshd`, 'host_key.pub'),
      };
    }
    if (relayed) {
      device.relay = await Relay.open();
      device.relay.target = this.port;
    }
    device.arguments = settings({
      'broker.url': this.origin(device.relay?.port).replace(/^http/, 'ws'),
      ...(this.secure && { 'broker.ca_file': this.path('broker.pem') }),
      'broker.proxy': 'none',
      'keeper.dir': this.keepers(name),
      name,
      state_dir: this.path(`${name}-state`),
      install_key_file: this.path('install.key'),
      'log.format': 'json',
      'log.filter': this.filter,
      ...sshd,
    });
    await this.startAgent(device);
  }

  /** A device that enrols with an install key of the list; gives its agent, which the test is to stop. */
  async enrol(name, key) {
    const [dir, file] = [this.path(name), this.path(`${name}.key`)];
    writeFileSync(file, key, { mode: 0o600 });
    const more = settings({ name, 'broker.proxy': 'none', 'log.format': 'json', 'keeper.dir': this.keepers(name) });
    const broker = `ws://127.0.0.1:${this.port}`;
    output(binary('moorline-agent'), 'enroll', '--broker', broker, '--key-file', file, '--dir', dir, ...more);
    return this.start(name, binary('moorline-agent'), ['--config', join(dir, 'agent.toml')]);
  }

  /** Starts a device's agent, also again after it ended, and waits until it is online. */
  async startAgent(device) {
    device.agent = this.start(device.name, binary('moorline-agent'), device.arguments);
    const found = await eventually(`${device.name} to be online`, async () => {
      device.agent.assertAlive();
      this.broker.assertAlive();
      const { devices } = await this.ask('GET', 'devices');
      return devices.find((one) => one.name === device.name && one.state === 'online');
    });
    device.id = found.id;
  }

  async startSshd(name) {
    const folder = this.path(`${name}-sshd`);
    mkdirSync(folder);
    output('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', join(folder, 'host_key'));
    if (process.getuid() === 0) mkdirSync('/run/sshd', { recursive: true });
    const port = await freePort();
    const config = `
      Port ${port}
      ListenAddress 127.0.0.1
      HostKey ${folder}/host_key
      PidFile none
      UsePAM no
      UseDNS no
      StrictModes no
      PasswordAuthentication no
      KbdInteractiveAuthentication no
      PermitRootLogin prohibit-password
      AuthorizedKeysFile none
      TrustedUserCAKeys ${this.path(`${name}-state`, 'user_ca.pub')}
      AcceptEnv TERM COLORTERM LANG LC_*
      SetEnv MOORLINE_KEEP_DIR=${this.keepers(name)}
      PrintMotd no
      PrintLastLog no
      MaxStartups 100`;
    writeFileSync(join(folder, 'sshd_config'), config);
    const args = ['-D', '-e', '-f', join(folder, 'sshd_config')];
    const program = this.start(`${name}-sshd`, '/usr/sbin/sshd', args, { quiet: true });
    await eventually('sshd to listen', () => {
      program.assertAlive();
      return tail(program.log, 5).includes('Server listening');
    });
    return { program, port };
  }

  /** A call of the API; gives the JSON of the answer, and fails when it is a refusal. */
  async ask(method, path, body) {
    const answer = await fetch(`${this.origin()}/api/v1/${path}`, {
      method,
      headers: { ...(this.cookie && { Cookie: this.cookie }), ...(body && { 'Content-Type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  /** The actor of this session panics. */
  async panic(session) {
    const answer = await fetch(`http://127.0.0.1:${this.port}/api/v1/test/panic/${session}`, { method: 'POST' });
    if (!answer.ok) throw new Error(`the session was not made to fail: ${answer.status}`);
  }

  /** Ends every session, and waits until the devices have none of their processes left. */
  async endSessions() {
    const shells = this.shells();
    for (const { id } of this.devices.values()) await this.ask('DELETE', `sessions?device=${id}`);
    await gone(shells, 15_000);
  }

  /** Every process that runs below the agents and their sshds, and the keepers with what runs below them. */
  shells() {
    const programs = [...this.devices.values()].flatMap(({ agent, sshd }) => [agent, sshd?.program]);
    const roots = programs.filter((program) => program && program.how === undefined).map(({ pid }) => pid);
    const kept = inEnvironment(`MOORLINE_KEEP_DIR=${this.dir}/`);
    return [...new Set([...descendants(...roots), ...kept])];
  }

  complaints(announced) {
    return this.logs.flatMap((log) => log.complaints(announced));
  }

  leaks(word) {
    return this.logs.flatMap((log) => log.leaks(word));
  }

  /** The ends of all logs. */
  tails() {
    const names = new Set(this.programs.map(({ log }) => log));
    return [...names].map((log) => `---- the end of ${log}\n${tail(log, 40)}`).join('\n');
  }

  /** Ends everything, and fails when something of a session is left on a device. */
  async stop({ keep = false } = {}) {
    const shells = this.shells();
    this.relay?.close();
    for (const { agent, relay } of this.devices.values()) {
      await agent?.stop();
      relay?.close();
    }
    await this.broker?.stop();
    for (const program of this.programs) await program.stop();
    // Keepers outlive what started them.
    const kept = inEnvironment(`MOORLINE_KEEP_DIR=${this.dir}/`);
    for (const pid of kept) kill(pid);
    await gone([...shells, ...kept]);
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
  }

  /** A file that the programs in the terminals can read. */
  file(name, content, mode = 0o644) {
    const path = this.path(name);
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  }
}
