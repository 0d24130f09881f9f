// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { compare, compareTokens } from "../../gaia_local/server/page/comparing.js";

/** @param {Partial<AttemptRecord>} facts @returns {AttemptRecord} */
const attempt = (facts) => ({
  task: "t", number: 1, state: "complete", reason: "new", message: null, queued: 0, started: 1,
  ended: 2, elapsed: 1, exit_code: 0, usage: null, image: "i", image_id: null, command: ["sh"],
  inputs: {}, has_log: false, worker: 1, ...facts,
});

/** @param {string[]} before @param {string[]} after */
const signs = (before, after) => compareTokens(before, after)
  .map(({ change, token }) => `${{ same: " ", added: "+", removed: "-" }[change]}${token}`);

test("inputs are added, removed or changed by their digests", () => {
  const { inputs, unknown, same } = compare(
    attempt({ inputs: { same: "1", gone: "1", other: "1", unread: null } }),
    attempt({ inputs: { same: "1", other: "2", unread: "3", "new": "4" } }));
  assert.deepEqual(inputs, [
    { key: "gone", change: "removed", from: "1", to: null },
    { key: "other", change: "changed", from: "1", to: "2" },
    { key: "new", change: "added", from: null, to: "4" },
  ]);
  assert.equal(unknown, 1);
  assert.equal(same, false);
});

test("keys that objects have by themselves are keys like others", () => {
  const inputs = JSON.parse('{"__proto__": "1", "constructor": "2"}');
  assert.equal(compare(attempt({}), attempt({ inputs })).inputs.length, 2);
  assert.equal(compare(attempt({ inputs }), attempt({ inputs })).same, true);
});

test("tokens that stay are kept in order around those that came and went", () => {
  assert.deepEqual(signs(["a", "b", "c"], ["a", "x", "c"]), [" a", "-b", "+x", " c"]);
  assert.deepEqual(signs(["a", "b"], ["a", "b", "c"]), [" a", " b", "+c"]);
  assert.deepEqual(signs(["a", "a", "a"], ["a", "a"]), [" a", " a", "-a"]);
  assert.deepEqual(signs([], ["a"]), ["+a"]);
  assert.deepEqual(signs(["x", "a", "y", "b", "z"], ["a", "1", "b", "2"]),
    ["-x", " a", "-y", "+1", " b", "-z", "+2"]);
});

test("very long lists of tokens are compared without much time or memory", () => {
  const [many, others] = ["a", "b"]
    .map((text) => Array.from({ length: 20_000 }, (_, i) => text + i));
  const changes = compareTokens(["same", ...many], ["same", ...others]);
  assert.equal(changes.length, 40_001);
  assert.equal(changes[0].change, "same");
});

test("an image differs by its name, and by its id where both are known", () => {
  const [one, other] = [attempt({ image_id: "sha256:1234567890abcdef" }),
    attempt({ image_id: "sha256:ffff567890abcdef" })];
  assert.deepEqual(compare(one, other).image, { from: "i (1234567890ab)", to: "i (ffff567890ab)" });
  assert.equal(compare(one, attempt({})).image, null);
  assert.deepEqual(compare(one, attempt({ image: "j" })).image, { from: "i", to: "j" });
});

test("the outcome has its exit code, and is none of what a run depends on", () => {
  const found = compare(attempt({ state: "error", exit_code: 3 }), attempt({}));
  assert.deepEqual(found.outcome, { from: "error, exit 3", to: "complete" });
  assert.equal(found.same, true);
  assert.equal(found.tokens, null);
});
