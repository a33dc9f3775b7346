import assert from "node:assert/strict";
import { test } from "node:test";

import { enrollCommand } from "./words-enroll";

test("the command names the broker, and has the key on its standard input", () => {
  const at = { origin: "https://moorline.example.org", host: "moorline.example.org" };
  const plain = { origin: "http://broker.lan:8080", host: "broker.lan:8080" };
  const own = { origin: "http://127.0.0.1:8080", host: "127.0.0.1:8080" };
  assert.equal(
    enrollCommand(at, "mli_x"),
    "printf %s 'mli_x' | moorline-agent enroll --broker wss://moorline.example.org --key-file -",
  );
  assert.equal(
    enrollCommand(plain, null),
    "moorline-agent enroll --broker ws://broker.lan:8080 --insecure --key-file -",
  );
  assert.equal(
    enrollCommand(own, null),
    "moorline-agent enroll --broker ws://127.0.0.1:8080 --key-file -",
  );
});
