// A TCP relay: the network between two programs, as bad as a test wants it.

import net from 'node:net';

const END = Symbol('end');

/** Node's `resetAndDestroy` sends what is queued and a FIN before its RST; this sends the RST alone. */
function reset(socket) {
  socket.resetAndClosing = true;
  socket.destroy();
}

/** One direction of one connection. */
class Way {
  constructor(from, to, pair, budget) {
    Object.assign(this, { from, to, pair, budget, queue: [] });
    from.on('data', (chunk) => this.arrive(chunk));
    from.on('end', () => this.arrive(END));
    from.on('error', () => pair.cut());
    to.on('drain', () => this.pair.relay.stalled || from.resume());
  }

  arrive(chunk) {
    const { delay } = this.pair.relay;
    if (delay > 0) setTimeout(() => this.enqueue(chunk), delay);
    else this.enqueue(chunk);
  }

  enqueue(chunk) {
    this.queue.push(chunk);
    if (this.pair.relay.stalled) this.from.pause();
    else this.flush();
  }

  flush() {
    while (this.queue.length > 0 && !this.pair.over) this.pass(this.queue.shift());
    if (!this.pair.over && !this.to.writableNeedDrain) this.from.resume();
  }

  pass(chunk) {
    if (chunk === END) {
      this.to.end();
      return;
    }
    const allowed = chunk.subarray(0, this.budget);
    this.budget -= allowed.length;
    if (this.budget === 0) {
      this.pair.over = true;
      this.pair.relay.onCut();
      this.to.write(allowed, () => this.pair.reset());
    } else if (!this.to.write(allowed)) {
      this.from.pause();
    }
  }
}

class Pair {
  constructor(relay, client, plan) {
    Object.assign(this, { relay, client, over: false });
    this.server = net.connect({ port: relay.target, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [client, this.server]) {
      socket.setNoDelay(true);
      socket.once('close', () => relay.pairs.delete(this));
    }
    this.up = new Way(client, this.server, this, plan.up ?? Number.POSITIVE_INFINITY);
    this.down = new Way(this.server, client, this, plan.down ?? Number.POSITIVE_INFINITY);
  }

  cut() {
    if (this.over) return;
    this.over = true;
    this.reset();
  }

  /** RST to both. */
  reset() {
    reset(this.client);
    reset(this.server);
  }

  flush() {
    this.up.flush();
    this.down.flush();
  }
}

export class Relay {
  /** Milliseconds by which every byte comes later. */
  delay = 0;
  /** How many connections were cut by their plan. */
  cuts = 0;
  stalled = false;
  refusing = false;
  pairs = new Set();
  planner = () => ({});

  static async open() {
    const relay = new Relay();
    relay.server = net.createServer({ allowHalfOpen: true }, (client) => relay.accept(client));
    await new Promise((done) => relay.server.listen(0, '127.0.0.1', done));
    relay.port = relay.server.address().port;
    return relay;
  }

  accept(client) {
    client.on('error', () => {});
    if (this.refusing) reset(client);
    else this.pairs.add(new Pair(this, client, this.planner()));
  }

  onCut() {
    this.cuts += 1;
  }

  /** Each new connection is cut with RST after so many bytes: `{ up, down }` as `planner` says. */
  plan(planner) {
    this.planner = planner;
  }

  /** A black hole: nothing passes, nothing breaks, old connections and new ones alike. */
  stall() {
    this.stalled = true;
  }

  /** What was held back passes now, and everything after it. */
  heal() {
    this.stalled = false;
    this.refusing = false;
    for (const pair of this.pairs) pair.flush();
  }

  /** Breaks every connection with RST; with `refuse`, new ones too until it is healed. */
  cut({ refuse = false } = {}) {
    this.refusing = refuse;
    for (const pair of this.pairs) pair.cut();
  }

  close() {
    this.cut({ refuse: true });
    this.server.close();
  }
}

/** A port that nobody listens on now. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}
