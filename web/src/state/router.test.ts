import assert from "node:assert/strict";
import { test } from "node:test";

import { routeOf } from "./router";

test("each address shows its page", () => {
  assert.deepEqual(routeOf("/"), { page: "home" });
  assert.deepEqual(routeOf("/devices"), { page: "devices" });
  assert.deepEqual(routeOf("/devices/"), { page: "devices" });
  for (const page of ["sessions", "actors", "account", "people", "grants", "audit", "welcome"]) {
    assert.deepEqual(routeOf(`/${page}`), { page });
    assert.deepEqual(routeOf(`/${page}/x`), { page: "nowhere" });
  }
  assert.deepEqual(routeOf("/d/d-abc234"), { page: "open", device: "d-abc234" });
  assert.deepEqual(routeOf("/s/s-abc234"), { page: "session", session: "s-abc234" });
});

test("an address of no page says so", () => {
  for (const path of [
    "/d",
    "/s/a/b",
    "/devices/x",
    "/actors/x",
    "/s/../x",
    "/s/%2e%2e",
    "/x",
    "/d/a b",
  ]) {
    assert.deepEqual(routeOf(path), { page: "nowhere" }, path);
  }
});
