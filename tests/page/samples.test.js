// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { cut, sample } from "../../gaia_local/server/page/samples.js";

test("of a long text the first lines are shown, and of long lines the beginning", () => {
  const most = { lines: 2, width: 5 };
  assert.deepEqual(sample("one\ntwo\nthree\n", most),
    { text: "one\ntwo", more: "6 more characters" });
  assert.deepEqual(sample("one\n", most), { text: "one", more: null });
  assert.equal(sample("123456789\n", most).text, "12345 … 4 more characters");
  assert.equal(sample("x".repeat(1e7), most).text.length, 31);
});

test("no character is cut in two", () => {
  assert.equal(cut("1234😀6", 5), "1234 … 3 more characters");
  assert.equal(cut("123😀", 5), "123😀");
});
