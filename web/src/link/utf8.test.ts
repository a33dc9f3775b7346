import assert from "node:assert/strict";
import { test } from "node:test";
import { Utf8Gate } from "./utf8";

const TEXT = "aé漢“—…、。👩\u200d🚀ü\u0080z";

test("text split anywhere passes whole and complete", () => {
  const bytes = new TextEncoder().encode(TEXT);
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second++) {
      const gate = new Utf8Gate();
      const parts = [
        bytes.subarray(0, first),
        bytes.subarray(first, second),
        bytes.subarray(second),
      ];
      // A decoder that is not told that more comes shows each incomplete end as a fault.
      const text = parts.map((part) =>
        new TextDecoder("utf-8", { fatal: true }).decode(gate.pass(part)),
      );
      assert.equal(text.join(""), TEXT);
      assert.equal(gate.kept, 0);
    }
  }
});

test("what is no UTF-8 is not held up", () => {
  for (const bytes of [[0x80], [0xbf, 0xbf, 0xbf, 0xbf], [0xff], [0xc0], [0x61, 0xf5]]) {
    const gate = new Utf8Gate();
    assert.deepEqual([...gate.pass(Uint8Array.from(bytes))], bytes);
  }
});

test("what is kept back can be forgotten", () => {
  const gate = new Utf8Gate();
  assert.deepEqual([...gate.pass(Uint8Array.from([0x61, 0xe2, 0x80]))], [0x61]);
  assert.equal(gate.kept, 2);
  gate.forget();
  assert.equal(gate.kept, 0);
  assert.deepEqual([...gate.pass(Uint8Array.from([0x62]))], [0x62]);
});
