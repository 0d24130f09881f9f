// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, size } from "../../gaia_local/server/page/json.js";

/** @param {import("../../gaia_local/server/page/json.js").Json} json @returns {any} */
function plain(json) {
  if (json.kind === "object") return json.entries.map(([name, value]) => [name, plain(value)]);
  return json.kind === "array" ? json.items.map(plain) : json.text;
}

test("values are kept as they are written", () => {
  const text = " {\"a\": [1, 12345678901234567890, -1.50e+3, true, null], \"a\": \"x\\n\\u00e4\"} ";
  assert.deepEqual(plain(parse(text)),
    [["a", ["1", "12345678901234567890", "-1.50e+3", "true", "null"]], ["a", "x\nä"]]);
  assert.deepEqual(plain(parse("[NaN, -Infinity, {}, []]")), ["NaN", "-Infinity", [], []]);
  assert.deepEqual(plain(parse("{\"__proto__\": {\"x\": 1}}")), [["__proto__", [["x", "1"]]]]);
});

test("the number of values within", () => {
  assert.equal(size(parse("{\"a\": 1, \"b\": 2}")), 2);
  assert.equal(size(parse("[1]")), 1);
  assert.equal(size(parse("\"[1]\"")), null);
});

test("what is no JSON is refused with its offset", () => {
  const broken = ["", "{", "[1,]", "{\"a\"}", "{\"a\":}", "{a: 1}", "[1 2]", "1 2", "\"\\x\"",
    "\"a\nb\"", "'a'", "[".repeat(300)];
  for (const text of broken) assert.throws(() => parse(text), SyntaxError, text);
});

test("it reads what JSON.parse reads", () => {
  const values = [[], {}, "", 0, [[[]]], { "": [{ "\"": "\\" }] }, "\u2028", "\ud800", -0.5, 1e300];
  for (const value of values) {
    const text = JSON.stringify(value, null, 1);
    assert.equal(typeof parse(text).kind, "string", text);
  }
});
