// The golden frames of `wire/golden/term/*.txt`, which the Rust side reads as well.

import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeHostFrame, encodeViewerFrame, type ViewerFrame, Violation } from "./protocol";
import { bytesOf, decodeViewerFrame, frameOf, golden, type Written, written } from "./testing";

interface Case {
  name: string;
  expect: string;
  message: string | Uint8Array<ArrayBuffer>;
  frame: Written | null;
}

function cases(file: string): Case[] {
  const all = golden(file).split("\n== ").slice(1).map(readCase);
  assert.ok(all.length > 20);
  return all;
}

function readCase(text: string): Case {
  const [name = "", ...lines] = text.split("\n");
  const field = (wanted: string) =>
    lines
      .find((line) => line.startsWith(`${wanted}:`))
      ?.slice(wanted.length + 1)
      .trim();
  const binary = field("binary");
  const message = binary === undefined ? (field("text") ?? "") : bytesOf(binary);
  const frame = field("frame");
  return {
    name,
    expect: field("expect") ?? "",
    message,
    frame: frame ? (JSON.parse(frame) as Written) : null,
  };
}

function outcome(decode: () => unknown): string {
  try {
    return decode() === null ? "ignored" : "frame";
  } catch (error) {
    if (error instanceof Violation) return `violation ${error.code}`;
    throw error;
  }
}

for (const { name, expect, message, frame } of cases("host.txt")) {
  test(`a host's frame: ${name}`, () => {
    assert.equal(
      outcome(() => decodeHostFrame(message)),
      expect,
    );
    if (!frame) return;
    const decoded = decodeHostFrame(message);
    assert.ok(decoded);
    assert.deepEqual(written(decoded), written(frameOf(frame)));
  });
}

for (const { name, expect, message, frame } of cases("viewer.txt")) {
  if (expect !== "frame" || !frame) continue;
  test(`a viewer's frame: ${name}`, () => {
    const encoded = encodeViewerFrame(frameOf<ViewerFrame>(frame));
    if (typeof message === "string") {
      assert.deepEqual(JSON.parse(encoded as string), JSON.parse(message));
    } else {
      assert.deepEqual(encoded, message);
    }
    const decoded = decodeViewerFrame(message);
    assert.ok(decoded);
    assert.deepEqual(written(decoded), written(frameOf(frame)));
  });
}
