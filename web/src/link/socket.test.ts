import assert from "node:assert/strict";
import { test } from "node:test";
import { LinkFailure, type LinkOptions } from "./face";
import type { Attached, HostControl, ViewerControl } from "./protocol";
import { openTerminalLink } from "./socket";
import type { LinkStatus } from "./status";
import { CLOSING, FakeBrowser, type FakeSocket, hex, settled } from "./testing";

const SIZE = { cols: 80, rows: 24, xpx: 0, ypx: 0 };

function attached(news: Partial<Attached> = {}): HostControl {
  return {
    t: "attached",
    session: "s-abcdefghijklmnopqrstuvwxyz",
    resume: "r1",
    role: "driver",
    from: 0,
    head: 0,
    in_ack: 0,
    window: 262_144,
    in_window: 131_072,
    ping_ms: 5_000,
    dead_ms: 15_000,
    size: SIZE,
    snapshot: false,
    kept_s: 600,
    keeper: false,
    device: "router-7",
    login: "root",
    ...news,
  };
}

/** A page with a link, whose terminal parses at once, and a test that plays the host. */
class Page {
  readonly told: string[] = [];
  readonly statuses: LinkStatus[] = [];
  readonly link: ReturnType<typeof openTerminalLink>;
  ticketsAsked = 0;

  constructor(
    readonly browser = new FakeBrowser(),
    news: Partial<LinkOptions> = {},
  ) {
    this.link = openTerminalLink({
      session: "s-1",
      url: "ws://broker/terminal",
      size: SIZE,
      ticket: "t1",
      newTicket: () => {
        this.ticketsAsked++;
        return Promise.resolve(`asked-${this.ticketsAsked}`);
      },
      environment: browser,
      events: {
        write: (bytes, done, replay) => {
          this.told.push(`${replay ? "replay" : "write"} ${hex(bytes)}`);
          done();
        },
        rebuild: (cols, rows, bytes, done) => {
          this.told.push(`rebuild ${cols}x${rows} ${hex(bytes)}`);
          done();
        },
        gap: ({ from, to }) => this.told.push(`gap ${from}-${to}`),
        control: (control) => this.told.push(control.t),
        status: (status) => this.statuses.push(status),
        pasteCancelled: (sent, dropped) => this.told.push(`cancelled ${sent} ${dropped}`),
      },
      ...news,
    });
  }

  get socket(): FakeSocket {
    return this.browser.socket;
  }

  get status(): LinkStatus {
    return this.link.status;
  }

  /** Opens the socket and gives the hello. */
  async opens(): Promise<ViewerControl & { t: "hello" }> {
    await this.browser.pass(0);
    this.socket.onopen?.({});
    const [hello] = this.socket.take();
    assert.equal(hello?.kind, "control");
    return hello.control as ViewerControl & { t: "hello" };
  }

  says(control: HostControl): void {
    this.socket.gets({ kind: "control", control });
  }

  async goesLive(news: Partial<Attached> = {}): Promise<ViewerControl & { t: "hello" }> {
    const hello = await this.opens();
    this.says(attached(news));
    this.says({ t: "live" });
    await settled();
    return hello;
  }

  async closes(code: number): Promise<void> {
    this.socket.onclose?.({ code, reason: "" });
    await settled();
  }

  writes(offset: number, text: string): void {
    this.socket.gets({ kind: "out", offset, bytes: new TextEncoder().encode(text) });
  }
}

test("a first attach goes from hello over the steps to live", async () => {
  const page = new Page();
  const hello = await page.opens();
  assert.equal(hello.ticket, "t1");
  assert.equal(hello.have, null);
  page.says(attached());
  page.says({ t: "step", step: "device", ms: 12 });
  await settled();
  assert.equal(page.status.phase, "connecting");
  assert.deepEqual(page.status.steps, [{ step: "device", ms: 12 }]);
  assert.equal(page.link.typed("x"), false, "there is no shell yet");
  page.says({ t: "live" });
  await settled();
  assert.equal(page.status.phase, "live");
  assert.equal(page.status.input, "on");
  assert.equal(page.browser.stored.get("moorline.resume.s-1"), "r1");
  assert.equal(page.browser.stored.get("moorline.viewer.s-1"), hello.viewer);
});

test("nothing is given to a socket that the broker is closing, and it goes out over the next one", async () => {
  const page = new Page();
  await page.goesLive();
  const closing = page.socket;
  closing.readyState = CLOSING;
  page.link.typed("x");
  assert.deepEqual(closing.take(), []);
  await page.closes(1001);
  await page.browser.pass(20_000);
  assert.notEqual(page.socket, closing);
  await page.goesLive();
  assert.deepEqual(
    page.socket
      .take()
      .flatMap((frame) => (frame.kind === "in" ? [new TextDecoder().decode(frame.bytes)] : [])),
    ["x"],
  );
});

test("output is written and acknowledged, and what is typed goes out at once", async () => {
  const page = new Page();
  await page.goesLive();
  page.writes(0, "hi");
  assert.deepEqual(page.told.at(-1), "write 6869");
  assert.deepEqual(page.socket.take(), [], "a little is acknowledged with the next key");
  assert.equal(page.link.typed("ls\r"), true);
  const [ack, input] = page.socket.take();
  assert.deepEqual(ack, { kind: "ack", offset: 2 });
  assert.ok(input?.kind === "in");
  assert.equal(hex(input.bytes), "6c730d");
});

test("a character that is split between frames reaches the terminal whole", async () => {
  const page = new Page();
  await page.goesLive();
  page.socket.gets({ kind: "out", offset: 0, bytes: Uint8Array.from([0x61, 0xe2, 0x80]) });
  assert.equal(page.told.at(-1), "write 61");
  assert.deepEqual(page.socket.take(), [], "two bytes are not parsed yet");
  page.socket.gets({ kind: "out", offset: 3, bytes: Uint8Array.from([0x94]) });
  assert.equal(page.told.at(-1), "write e28094");
  await page.browser.pass(100);
  assert.deepEqual(page.socket.take(), [{ kind: "ack", offset: 4 }]);
  page.socket.gets({ kind: "out", offset: 4, bytes: Uint8Array.from([0xe2]) });
  await page.browser.pass(120);
  assert.deepEqual(page.socket.take(), [{ kind: "ack", offset: 5 }], "nobody waits for the rest");
  await page.browser.pass(5_000);
  page.socket.take();
  page.socket.gets({ kind: "out", offset: 5, bytes: Uint8Array.from([0x80, 0x9c]) });
  assert.equal(page.told.at(-1), "write e2809c", "however late it comes");
});

test("a break is healed with what is missing both ways", async () => {
  const page = new Page();
  await page.goesLive();
  page.writes(0, "abc");
  page.link.typed("ls");
  page.socket.take();
  await page.closes(1006);
  assert.equal(page.status.phase, "reconnecting");
  assert.equal(page.status.keptUntil, page.browser.time + 600_000);
  const hello = await page.goesLive({ from: 3, head: 5, in_ack: 1, resume: "r2" });
  assert.deepEqual(
    [hello.resume, hello.have, hello.in_next, hello.ticket],
    ["r1", 3, 2, undefined],
  );
  assert.equal(page.status.phase, "live");
  const [input] = page.socket.take().filter(({ kind }) => kind === "in");
  assert.deepEqual(input, { kind: "in", offset: 1, bytes: Uint8Array.from([0x73]) });
  page.writes(3, "de");
  assert.equal(page.told.at(-1), "replay 6465");
  assert.equal(page.browser.stored.get("moorline.resume.s-1"), "r2");
});

test("what is typed in a break is kept for two seconds and refused after that", async () => {
  const page = new Page();
  await page.goesLive();
  page.browser.chance = 1;
  await page.closes(1006);
  assert.equal(page.status.input, "queued");
  assert.equal(page.link.typed("a"), true);
  await page.browser.pass(1_999);
  assert.equal(page.status.input, "queued");
  await page.browser.pass(1);
  assert.equal(page.status.input, "blocked");
  assert.equal(page.link.typed("b"), false);
  assert.equal(page.statuses.at(-1)?.input, "blocked", "the page is told");
  await page.goesLive();
  const sent = page.socket.take().filter(({ kind }) => kind === "in");
  assert.deepEqual(sent, [{ kind: "in", offset: 0, bytes: Uint8Array.from([0x61]) }]);
});

test("tries come later and later, and at once when the network is back or a key is pressed", async () => {
  const page = new Page();
  await page.goesLive();
  page.browser.chance = 1;
  const waits: number[] = [];
  for (let n = 0; n < 8; n++) {
    await page.closes(1006);
    waits.push((page.status.retryAt ?? 0) - page.browser.time);
    await page.browser.pass(waits.at(-1) ?? 0);
  }
  assert.deepEqual(waits, [250, 500, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]);
  for (const nudge of [
    () => page.browser.wake(),
    () => page.link.typed("x"),
    () => page.link.retryNow(),
  ]) {
    await page.closes(1006);
    const before = page.browser.sockets.length;
    nudge();
    await page.browser.pass(0);
    assert.equal(page.browser.sockets.length, before + 1);
  }
});

test("a black hole is noticed within 15 s and the page is told after 3", async () => {
  const page = new Page();
  await page.goesLive();
  await page.browser.pass(5_000);
  assert.ok(page.socket.take().some(({ kind }) => kind === "ping"));
  await page.browser.pass(3_000);
  assert.equal(page.status.network, "unstable");
  assert.equal(page.status.phase, "live");
  await page.browser.pass(6_999);
  assert.equal(page.status.phase, "live");
  await page.browser.pass(1);
  assert.equal(page.status.phase, "reconnecting");
  assert.equal(page.browser.sockets.length, 2);
});

test("a page that is shown again asks at once and does not wait long", async () => {
  const page = new Page();
  await page.goesLive();
  page.browser.visibility(false);
  await page.browser.pass(60_000);
  assert.ok(!page.socket.take().some(({ kind }) => kind === "ping"), "nobody looks");
  page.browser.visibility(true);
  page.browser.wake();
  assert.ok(page.socket.take().some(({ kind }) => kind === "ping"));
  await page.browser.pass(2_000);
  assert.equal(page.browser.sockets.length, 2);
});

test("the host hears that nobody looks, also when it was so before", async () => {
  const page = new Page();
  page.browser.isVisible = false;
  await page.goesLive();
  const said = { kind: "control", control: { t: "visibility", hidden: true } };
  assert.deepEqual(page.socket.take(), [said]);
});

test("a page that goes says so while its connection still stands", async () => {
  const page = new Page();
  await page.goesLive();
  page.socket.take();
  page.browser.leave();
  assert.deepEqual(page.socket.take(), [{ kind: "control", control: { t: "leaving" } }]);
});

test("a socket that does not open is given up", async () => {
  const page = new Page();
  await page.browser.pass(10_000);
  assert.ok(page.browser.sockets.length >= 2);
});

test("a reload comes back with the stored token and key and asks for the screen", async () => {
  const browser = new FakeBrowser();
  browser.stored.set("moorline.resume.s-1", "kept");
  browser.stored.set("moorline.viewer.s-1", "key-of-this-tab");
  const page = new Page(browser, { ticket: undefined });
  const hello = await page.opens();
  assert.deepEqual([hello.resume, hello.viewer, hello.have], ["kept", "key-of-this-tab", null]);
  page.says(attached({ from: 900, head: 900, in_ack: 40, snapshot: true }));
  page.socket.gets({ kind: "snap", offset: 900, cols: 80, rows: 24, bytes: Uint8Array.of(0x24) });
  page.says({ t: "live" });
  await settled();
  assert.ok(page.told.includes("rebuild 80x24 24"));
  page.link.typed("l");
  const sent = page.socket.take();
  assert.deepEqual(sent, [
    { kind: "ack", offset: 900 },
    { kind: "in", offset: 40, bytes: Uint8Array.of(0x6c) },
  ]);
});

test("a refused token is replaced by a new ticket", async () => {
  const browser = new FakeBrowser();
  browser.stored.set("moorline.resume.s-1", "stale");
  const page = new Page(browser, { ticket: undefined });
  await page.opens();
  page.says({ t: "error", code: "ticket_expired", text: "x", remedy: "y" });
  await page.closes(4402);
  const hello = await page.opens();
  assert.equal(hello.ticket, "asked-1");
});

test("a ticket that cannot be had ends with its reason", async () => {
  const newTicket = () =>
    Promise.reject(new LinkFailure("unknown", "There is no such session.", "q7"));
  const page = new Page(new FakeBrowser(), { ticket: undefined, newTicket });
  await page.browser.pass(0);
  assert.equal(page.status.phase, "failed");
  assert.equal(page.status.failure?.text, "There is no such session.");
  assert.equal(page.status.failure?.requestId, "q7");
});

test("an exit is final, says how, and leaves nothing in the storage", async () => {
  const page = new Page();
  await page.goesLive();
  const ending = { code: "exited", text: "The shell exited with status 3.", exit: { status: 3 } };
  page.says({ t: "ended", ending });
  await page.closes(1000);
  await page.browser.pass(60_000);
  assert.equal(page.status.phase, "ended");
  assert.deepEqual(page.status.ending, ending);
  assert.equal(page.browser.sockets.length, 1);
  assert.equal(page.browser.stored.size, 0);
  assert.equal(page.browser.waiting, 0, "no timer is left");
});

test("a kill shows who and why, even when a proxy eats the close code", async () => {
  const page = new Page();
  await page.goesLive();
  page.says({
    t: "ended",
    ending: { code: "killed", text: "anna ended this session: x", by: "anna" },
  });
  await page.closes(1006);
  assert.equal(page.status.phase, "ended");
  assert.equal(page.status.ending?.by, "anna");
  assert.equal(page.link.typed("x"), false);
});

test("a terminal that was taken over waits until it is taken back", async () => {
  const page = new Page();
  await page.goesLive();
  page.says({ t: "taken_over", by: "anna, another tab" });
  await page.closes(4409);
  await page.browser.pass(60_000);
  assert.equal(page.status.phase, "taken_over");
  assert.equal(page.status.takenOverBy, "anna, another tab");
  assert.equal(page.browser.sockets.length, 1);
  page.link.takeControl();
  const hello = await page.goesLive();
  assert.equal(hello.role, "driver");
  assert.equal(page.status.phase, "live");
});

test("a copy of the tab makes the older one somebody else", async () => {
  const page = new Page();
  const first = await page.goesLive();
  await page.closes(4475);
  assert.equal(page.status.phase, "taken_over");
  page.link.requestView();
  const hello = await page.opens();
  assert.notEqual(hello.viewer, first.viewer);
  assert.equal(hello.role, "watcher");
});

test("a broken rule is forgiven once", async () => {
  const page = new Page();
  await page.goesLive();
  page.writes(7, "a hole");
  await settled();
  assert.equal(page.socket.closedWith, 4400);
  await page.goesLive();
  page.writes(7, "a hole");
  await settled();
  assert.equal(page.status.phase, "failed");
  assert.equal(page.status.failure?.code, "protocol");
});

test("a policy refusal is final and keeps its words", async () => {
  const page = new Page();
  await page.opens();
  page.says({
    t: "error",
    code: "limit",
    text: "16 viewers are here.",
    remedy: "z",
    request_id: "q1",
  });
  await page.closes(4429);
  await page.browser.pass(60_000);
  assert.equal(page.status.phase, "failed");
  assert.deepEqual(page.status.failure, {
    number: 4429,
    code: "limit",
    text: "16 viewers are here.",
    remedy: "z",
    requestId: "q1",
  });
  assert.equal(page.browser.sockets.length, 1);
});

test("a restart of the broker is waited for with a spread", async () => {
  for (const code of [1012, 4506, 1001]) {
    const page = new Page();
    await page.goesLive();
    page.browser.chance = 0.5;
    await page.closes(code);
    assert.equal((page.status.retryAt ?? 0) - page.browser.time, 1_000);
  }
});

test("Ctrl-C drops what is left of a paste and says how much", async () => {
  const page = new Page();
  await page.goesLive({ in_window: 32 * 1024 });
  page.link.pasted("x".repeat(100_000));
  const pieces = page.socket.take().map((frame) => (frame.kind === "in" ? frame.bytes.length : 0));
  assert.deepEqual(pieces, [8192, 8192, 8192]);
  assert.equal(page.link.typed("\x03"), true);
  const [interrupt] = page.socket.take();
  assert.deepEqual(interrupt, { kind: "in", offset: 24_576, bytes: Uint8Array.of(3) });
  await settled();
  assert.equal(page.told.at(-1), "cancelled 24576 75424");
});

test("a full socket is not filled further", async () => {
  const page = new Page();
  await page.goesLive();
  page.socket.bufferedAmount = 65 * 1024;
  page.link.typed("a");
  assert.deepEqual(page.socket.take(), []);
  page.socket.bufferedAmount = 0;
  await page.browser.pass(10);
  assert.equal(page.socket.take().length, 1);
});

test("the device's link can be lost and come back while the page stays", async () => {
  const page = new Page();
  await page.goesLive();
  page.says({ t: "device", state: "lost", kept_s: 60 });
  await settled();
  assert.equal(page.status.input, "blocked");
  assert.equal(page.status.deviceKeptUntil, page.browser.time + 60_000);
  page.says({ t: "device", state: "steady", kept_s: 0 });
  await settled();
  assert.equal(page.status.input, "on");
});

test("closing leaves and ends everything", async () => {
  const page = new Page();
  await page.goesLive();
  page.link.close();
  await settled();
  assert.deepEqual(page.socket.sent.at(-1), { kind: "control", control: { t: "detach" } });
  assert.equal(page.socket.closedWith, 1000);
  assert.equal(page.statuses.at(-1)?.phase, "closed");
  assert.equal(page.browser.waiting, 0);
});

test("output is a replay up to the head at the attach, and live from that very byte on", async () => {
  const page = new Page();
  await page.goesLive({ from: 0, head: 0 });
  page.writes(0, "abc");
  await page.closes(1006);
  await page.goesLive({ from: 3, head: 5 });
  page.writes(3, "d");
  page.writes(4, "efg");
  page.writes(7, "h");
  const written = page.told.filter((told) => /^(write|replay)/.test(told));
  assert.deepEqual(written, ["write 616263", "replay 64", "replay 65", "write 6667", "write 68"]);
});

test("a character across the head goes to the terminal whole, and all of it is acknowledged", async () => {
  const page = new Page();
  await page.goesLive({ from: 0, head: 1 });
  page.writes(0, "é!");
  const written = page.told.filter((told) => /^(write|replay)/.test(told));
  assert.deepEqual(written, ["write c3a921"]);
  await page.browser.pass(150);
  const acks = page.socket.take().filter(({ kind }) => kind === "ack");
  assert.deepEqual(acks.at(-1), { kind: "ack", offset: 3 });
});

test("an interruption behind the broker is answered at once and is no failure", async () => {
  const page = new Page();
  page.browser.chance = 1;
  for (let n = 0; n < 20; n++) {
    await page.goesLive({ keeper: true });
    await page.closes(4457);
    assert.equal(page.status.phase, "reconnecting");
    assert.equal((page.status.retryAt ?? 0) - page.browser.time, 250);
    await page.browser.pass(250);
  }
});

test("one that comes again before the shell is there is answered later and later", async () => {
  const page = new Page();
  await page.goesLive({ keeper: true });
  page.browser.chance = 1;
  const waits: number[] = [];
  for (let n = 0; n < 17; n++) {
    await page.closes(4457);
    waits.push((page.status.retryAt ?? 0) - page.browser.time);
    await page.browser.pass(waits.at(-1) ?? 0);
    page.socket.onopen?.({});
  }
  assert.deepEqual(waits, [250, 500, ...Array<number>(12).fill(1_000), 2_000, 4_000, 8_000]);
});

test("a hello may stay unanswered for as long as the broker says what it waits for", async () => {
  const page = new Page();
  await page.goesLive({ keeper: true });
  await page.closes(4457);
  await page.opens();
  const opened = page.browser.sockets.length;
  const began = page.browser.time;
  for (let n = 0; n < 20; n++) {
    page.says({ t: "device", state: "lost", kept_s: 86_400 - 5 * n });
    await page.browser.pass(5_000);
  }
  assert.equal(page.browser.sockets.length, opened, "it waits on the same connection");
  assert.equal(page.status.waiting, true);
  assert.equal(page.status.device, "lost");
  assert.equal(page.status.deviceSince, began);
  assert.equal(page.status.deviceKeptUntil, began + 86_400_000);
  assert.equal(page.status.input, "blocked");
  page.link.typed("x");
  await page.browser.pass(0);
  assert.equal(page.browser.sockets.length, opened, "a key does not begin anew");
  page.says({ t: "device", state: "steady", kept_s: 86_400 });
  page.says(attached({ keeper: true, resume: "r2" }));
  page.says({ t: "live" });
  await settled();
  assert.equal(page.status.phase, "live");
  assert.equal(page.status.waiting, false);
  assert.equal(page.status.input, "on");
});

test("silence of a broker that has not answered the hello is a dead connection", async () => {
  const page = new Page();
  await page.goesLive();
  await page.closes(4457);
  await page.opens();
  page.says({ t: "device", state: "lost", kept_s: 60 });
  await page.browser.pass(15_000);
  assert.equal(page.status.phase, "reconnecting");
  assert.equal(page.status.waiting, false);
});

test("who waits for a device can have the connection made anew", async () => {
  const page = new Page();
  await page.goesLive();
  await page.closes(4457);
  await page.opens();
  page.says({ t: "device", state: "lost", kept_s: 60 });
  const opened = page.browser.sockets.length;
  page.link.retryNow();
  await page.browser.pass(0);
  assert.equal(page.browser.sockets.length, opened + 1);
});

test("a shell that is there before the page is attached to it is not live yet", async () => {
  const page = new Page();
  await page.opens();
  page.says({ t: "step", step: "shell", ms: 1 });
  page.says({ t: "live" });
  assert.equal(page.status.phase, "connecting");
  assert.equal(page.status.input, "off");
  page.says(attached({ keeper: true }));
  page.says({ t: "live" });
  await settled();
  assert.equal(page.status.phase, "live");
  assert.ok(page.statuses.every(({ phase, keeper }) => phase !== "live" || keeper));
});
