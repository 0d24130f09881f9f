// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { natural } from "../../gaia_local/server/page/natural.js";
import { format, parse, towards } from "../../gaia_local/server/page/route.js";

test("an address and its route are the same", () => {
  const name = "<a> & b/c?d#e%41 größe";
  /** @type {Route[]} */
  const routes = [
    { name: null, step: null, query: {} },
    { name, step: null, query: {} },
    { name, step: name, query: { view: "table", key: "a/b?c=d&e" } },
    { name: "one", step: "__proto__", query: { state: "failed" } },
  ];
  for (const route of routes) assert.deepEqual(parse(format(route)), route);
});

test("an address is written as a reader would", () => {
  assert.equal(format({}), "#/");
  assert.equal(format({ name: "one", step: "two", query: { task: "3" } }), "#/one/two?task=3");
  assert.deepEqual(parse(""), { name: null, step: null, query: {} });
  assert.deepEqual(parse("#/one"), { name: "one", step: null, query: {} });
});

test("what can't be decoded is taken as it is", () => {
  assert.equal(parse("#/100%").name, "100%");
});

test("the tab and its filter stay when a Step is opened, the Step's own parameters go", () => {
  const route = parse("#/one/two?view=table&state=failed&task=3");
  assert.equal(format(towards(route, "four", {})), "#/one/four?view=table&state=failed");
  assert.equal(format(towards(route, null, { view: "timeline", state: "" })),
    "#/one?view=timeline");
  assert.equal(format(towards(route, "two", { line: "7" })),
    "#/one/two?view=table&state=failed&line=7");
});

test("names sort naturally", () => {
  const names = ["run10", "run9", "Run1", "run1", "a", "run09", "10", "9"];
  assert.deepEqual(names.sort(natural),
    ["9", "10", "a", "run1", "Run1", "run09", "run9", "run10"]);
});
