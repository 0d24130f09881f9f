// @ts-check
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as words from "../../gaia_local/server/page/words.js";

/** @type {{ durations: any, bytes: any, memory: any }} */
const told = JSON.parse(readFileSync(new URL("amounts.json", import.meta.url), "utf8"));

test("durations and sizes read as those of the command line", () => {
  for (const [seconds, text] of told.durations) assert.equal(words.duration(seconds), text);
  for (const [number, text] of told.bytes) assert.equal(words.bytes(number), text);
  for (const [number, text] of told.memory) assert.equal(words.memory(number), text);
});

test("states that want attention come first, unknown ones last", () => {
  assert.deepEqual([...words.tally(["complete", "new", "error", "complete"])],
    [["error", 1], ["complete", 2], ["new", 1]]);
});

test("names are listed up to a number", () => {
  assert.equal(words.several(["a"]), "a");
  assert.equal(words.several(["a", "b", "c"]), "a, b and c");
  assert.equal(words.several(["a", "b", "c"], 2), "a, b and 1 more");
});
