// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { PLAIN } from "../../gaia_local/server/page/ansi.js";
import { LISTED, marked, placeInLine, Tally } from "../../gaia_local/server/page/matches.js";
import { random } from "./random.js";

test("each match is in one list of one step", () => {
  const tally = new Tally();
  for (const [from, count] of [[0, 2], [100, 0], [200, 2500], [300, 1]]) tally.add(from, count);
  assert.equal(tally.total, 2503);
  assert.deepEqual(tally.locate(1), { from: 0, skip: 0, place: 1 });
  assert.deepEqual(tally.locate(2), { from: 200, skip: 0, place: 0 });
  assert.deepEqual(tally.locate(2 + LISTED), { from: 200, skip: LISTED, place: 0 });
  assert.deepEqual(tally.locate(2501), { from: 200, skip: 2 * LISTED, place: 499 });
  assert.deepEqual(tally.locate(2502), { from: 300, skip: 0, place: 0 });
  assert.throws(() => tally.locate(2503), RangeError);
});

test("a match has a number in its line", () => {
  /** @type {[number, number][]} */
  const listed = [[1, 0], [1, 5], [2, 9], [2, 12], [2, 15]];
  assert.deepEqual(listed.map((_, place) => placeInLine(listed, place)), [0, 1, 0, 1, 2]);
});

test("matches are marked in the line's text, whatever its colours", () => {
  const { pick, whole } = random(4);
  const styles = [PLAIN, { ...PLAIN, bold: true }, { ...PLAIN, fore: 1 }];
  for (let round = 0; round < 5000; round += 1) {
    const spans = Array.from({ length: 1 + whole(5) }, () => (
      { text: Array.from({ length: 1 + whole(4) }, () => pick(["a", "B", "b", "ä"])).join(""),
        style: pick(styles) }));
    const text = pick(["a", "ab", "B", "aa", "bä"]);
    const matchCase = whole(2) === 1;
    const parts = marked(spans, text, matchCase, 3);
    assert.equal(parts.map((part) => part.text).join(""),
      spans.map((span) => span.text).join(""));
    assert.ok(parts.every((part) => part.text !== ""));
    const wanted = new RegExp(text, matchCase ? "g" : "gi");
    const found = [...spans.map((span) => span.text).join("").matchAll(wanted)].slice(0, 3);
    /** @type {string[]} */
    const given = [];
    for (const { text: part, match } of parts)
      if (match !== null) given[match] = (given[match] ?? "") + part;
    assert.deepEqual(given, found.map(([each]) => each));
  }
});
