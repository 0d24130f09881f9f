// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { isMeant, readable } from "../../gaia_local/server/page/readable.js";

test("what fits into a line has one, and the rest is indented", () => {
  const value = {
    name: "simulate", inputs: { a: "/in/a", b: "/in/b" }, vars: {}, steps: [],
    command: ["sh", "-c", "x".repeat(70)],
  };
  assert.equal(readable(value), `{
  "name": "simulate",
  "inputs": {"a": "/in/a", "b": "/in/b"},
  "vars": {},
  "steps": [],
  "command": [
    "sh",
    "-c",
    "${"x".repeat(70)}"
  ]
}`);
});

test("the text is JSON of the same value", () => {
  const odd = { "a\"b": [null, true, 1.5, "\u2028\n", { deep: [[[]], { "": "y".repeat(99) }] }] };
  assert.deepEqual(JSON.parse(readable(odd)), odd);
});

test("a definition is found by a part of its name, and by the names of what it became", () => {
  assert.ok(isMeant("Simulate", "mul"));
  assert.ok(isMeant("sim", "sim-10-a"));
  assert.ok(isMeant("sim", "sim:inner"));
  assert.ok(isMeant("sim", ""));
  assert.ok(!isMeant("sim", "simulate"));
  assert.ok(!isMeant("sim", "other"));
});
