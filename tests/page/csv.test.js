// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { separator, table } from "../../gaia_local/server/page/csv.js";

test("fields end at separators and lines, but not within quotes", () => {
  assert.deepEqual(table("a,b\n1,\"x, \"\"y\"\"\nz\"\r\n,\n", ",", 9),
    { rows: [["a", "b"], ["1", "x, \"y\"\nz"], ["", ""]], more: false });
  assert.deepEqual(table("\ufeffa;b;", ";", 9).rows, [["a", "b", ""]]);
  assert.deepEqual(table("a\rb", ",", 9).rows, [["a"], ["b"]]);
  assert.deepEqual(table("", ",", 9).rows, []);
  assert.deepEqual(table("\n\na", ",", 9).rows, [[""], [""], ["a"]]);
});

test("broken quotes leave nothing out", () => {
  assert.deepEqual(table("\"a,b\nc", ",", 9).rows, [["a,b\nc"]]);
  assert.deepEqual(table("\"a\"x\"y,b", ",", 9).rows, [["ax\"y", "b"]]);
  assert.deepEqual(table("a\"b\",c", ",", 9).rows, [["a\"b\"", "c"]]);
  assert.deepEqual(table("\"", ",", 9).rows, [[""]]);
});

test("of many rows the first ones are read", () => {
  assert.deepEqual(table("1\n2\n3\n", ",", 2), { rows: [["1"], ["2"]], more: true });
  assert.deepEqual(table("1\n2\n", ",", 2), { rows: [["1"], ["2"]], more: false });
});

test("the separator is found in the first line, outside of quotes", () => {
  assert.equal(separator("a;b;c\n1,2,3,4,5"), ";");
  assert.equal(separator("\"a,b,c,d\"\tx"), "\t");
  assert.equal(separator("one\ntwo;"), ",");
  assert.equal(separator("a,b,c", "x.TSV"), "\t");
  assert.equal(separator(""), ",");
});
