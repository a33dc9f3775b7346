// The viewer plays the scripts of `wire/golden/term/*.script`, as its Rust twin does.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import {
  type HostFrame,
  type Size,
  type ViewerControl,
  type ViewerFrame,
  Violation,
} from "./protocol";
import { bytesOf, frameOf, golden, hex, type Written, written } from "./testing";
import { Viewer, type ViewerOutput } from "./viewer";

interface Line {
  op: string;
  at?: number;
  text?: string;
  bytes?: string | number;
  ticket?: string;
  resume?: string;
  is?: unknown;
  frame?: Written;
  violation?: boolean;
  offset?: number;
  size?: Size;
  hidden?: boolean;
  control?: ViewerControl;
  number?: number;
  frames?: Written[];
  outputs?: Written[];
  rtt_ms?: number;
  device_rtt_ms?: number;
  behind?: number;
}

class Player {
  private readonly viewer = new Viewer("k1", { cols: 80, rows: 24, xpx: 0, ypx: 0 });
  private now = 0;

  plays(line: Line): void {
    const { viewer } = this;
    this.now = line.at ?? this.now;
    const typed = () =>
      line.text !== undefined ? new TextEncoder().encode(line.text) : bytesOf(String(line.bytes));
    const acts: Record<string, () => void> = {
      connected: () => viewer.connected(this.now),
      disconnected: () => viewer.disconnected(),
      hello: () => this.hello(line),
      receive: () => this.receive(line),
      typed: () => assert.ok(viewer.typed(this.now, typed())),
      pasted: () => assert.ok(viewer.pasted(this.now, typed())),
      parsed: () => viewer.parsed(this.now, line.offset ?? 0),
      resize: () => line.size && viewer.resize(line.size),
      hidden: () => viewer.setHidden(this.now, line.hidden === true),
      probe: () => viewer.probe(this.now),
      send: () => line.control && viewer.send(line.control),
      signal: () => viewer.signal(line.number ?? 0),
      pass: () => viewer.handleTimeout(this.now),
      sends: () => assert.deepEqual(this.sent(), (line.frames ?? []).map(plain<ViewerFrame>)),
      tells: () => assert.deepEqual(this.told(), (line.outputs ?? []).map(plain<ViewerOutput>)),
      timeout: () => assert.equal(viewer.pollTimeout(), line.is),
      waiting: () => assert.equal(viewer.inputWaiting, line.bytes),
      gauges: () => {
        const { rttMs, deviceRttMs, behind } = viewer;
        assert.deepEqual(
          [rttMs, deviceRttMs, behind],
          [line.rtt_ms, line.device_rtt_ms, line.behind],
        );
      },
    };
    const act = acts[line.op];
    assert.ok(act, `no line is called ${line.op}`);
    act();
  }

  private hello(line: Line): void {
    const token =
      line.ticket !== undefined ? { ticket: line.ticket } : { resume: line.resume ?? "" };
    const frame = this.viewer.hello(token);
    assert.deepEqual(frame, { kind: "control", control: line.is });
  }

  private receive(line: Line): void {
    const receive = () => this.viewer.receive(this.now, frameOf<HostFrame>(line.frame as Written));
    if (line.violation) assert.throws(receive, Violation);
    else receive();
  }

  private sent(): unknown[] {
    const sent: unknown[] = [];
    for (let f = this.viewer.pollTransmit(this.now); f; f = this.viewer.pollTransmit(this.now)) {
      sent.push(written(f));
    }
    return sent;
  }

  private told(): unknown[] {
    const told: unknown[] = [];
    for (let o = this.viewer.pollOutput(); o; o = this.viewer.pollOutput()) {
      told.push("bytes" in o ? { ...o, bytes: hex(o.bytes) } : o);
    }
    return told;
  }
}

/** As written in the script, with the bytes in plain hex. */
function plain<Thing extends ViewerFrame | ViewerOutput>(thing: Written): unknown {
  const read = frameOf<Thing>(thing);
  return "bytes" in read ? { ...read, bytes: hex(read.bytes) } : read;
}

const scripts = readdirSync("../wire/golden/term").filter((name) => name.endsWith(".script"));
assert.ok(scripts.length >= 7);

for (const script of scripts) {
  test(`the viewer plays ${script}`, () => {
    const player = new Player();
    for (const [number, line] of golden(script).split("\n").entries()) {
      if (!line.startsWith("{")) continue;
      try {
        player.plays(JSON.parse(line) as Line);
      } catch (error) {
        throw new Error(`${script}:${number + 1}: ${(error as Error).message}`, { cause: error });
      }
    }
  });
}
