// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { csv, filtered, places, sorted, updated } from "../../gaia_local/server/page/rows.js";

/** @param {string} step @param {Partial<StepRow>} [facts] @returns {StepRow} */
const row = (step, facts = {}) => ({
  step, command: "c", state: "complete", reason: "new", task: "t", started: 1, ended: 3,
  elapsed: 2, duration: 2, cpu: 1, memory: 10, attempts: 1, ...facts,
});

/** @param {StepRow[]} rows */
const names = (rows) => rows.map(({ step }) => step);

test("names sort by the numbers in them", () => {
  const rows = ["s10", "s9", "a2", "S9"].map((step) => row(step));
  const named = places(names(rows));
  assert.deepEqual(names(sorted(rows, { column: "step", down: false }, named)),
    ["a2", "s9", "S9", "s10"]);
  assert.deepEqual(names(sorted(rows, { column: "step", down: true }, named)),
    ["s10", "S9", "s9", "a2"]);
});

test("what has no value comes last in both directions, and equal ones by their names", () => {
  const rows = [row("c", { elapsed: null }), row("b", { elapsed: 2 }), row("a", { elapsed: 2 }),
    row("d", { elapsed: 1 })];
  const named = places(names(rows));
  assert.deepEqual(names(sorted(rows, { column: "elapsed", down: false }, named)),
    ["d", "a", "b", "c"]);
  assert.deepEqual(names(sorted(rows, { column: "elapsed", down: true }, named)),
    ["a", "b", "d", "c"]);
});

test("states sort with those first that want attention", () => {
  const rows = ["complete", "new-kind", "waiting", "running", "error"]
    .map((state) => row(state, { state }));
  assert.deepEqual(names(sorted(rows, { column: "state", down: false }, places(names(rows)))),
    ["error", "running", "waiting", "complete", "new-kind"]);
});

test("failed means every kind of failure", () => {
  const rows = [row("a"), row("b", { state: "error" }), row("c", { state: "exception" })];
  assert.deepEqual(names(filtered(rows, { state: "failed" })), ["b", "c"]);
  assert.deepEqual(names(filtered(rows, { state: "exception" })), ["c"]);
  assert.deepEqual(names(filtered(rows, {})), ["a", "b", "c"]);
});

test("text is looked for in names and reasons, a Command as a whole", () => {
  const rows = [row("Alpha-1"),
    row("beta-1", { command: "cc", reason: "upstream alpha-1 ran again" })];
  assert.deepEqual(names(filtered(rows, { text: "alpha 1" })), ["Alpha-1", "beta-1"]);
  assert.deepEqual(names(filtered(rows, { text: "BETA" })), ["beta-1"]);
  assert.deepEqual(names(filtered(rows, { command: "c" })), ["Alpha-1"]);
});

test("news change a row at once, and empty what they don't tell", () => {
  const before = row("a");
  const same = { state: "complete", task: "t", started: 1, ended: 3 };
  assert.equal(updated(before, same), before);
  assert.equal(updated(before, undefined), before);
  const running = updated(before, { state: "running", task: "u", started: 5, ended: null });
  assert.deepEqual(running, row("a", {
    state: "running", task: "u", started: 5, ended: null, elapsed: null, reason: "", cpu: null,
    memory: null }));
});

test("a table as CSV is quoted by the rules, and no formula for a spreadsheet", () => {
  const text = csv([
    row('say "hi", you\nthere', { started: null, ended: null, elapsed: null }),
    row("=1+1", { command: "@c", reason: "-x", state: "error" }),
  ]);
  assert.equal(text, [
    "step,command,state,reason,started,ended,seconds,cpu_seconds,memory_bytes,attempts",
    '"say ""hi"", you\nthere",c,complete,new,,,,1,10,1',
    "'=1+1,'@c,error,'-x,1970-01-01T00:00:01.000Z,1970-01-01T00:00:03.000Z,2,1,10,1",
    "",
  ].join("\r\n"));
});

test("10,000 rows are filtered and sorted within a frame or few", () => {
  const rows = Array.from({ length: 10_000 },
    (_, i) => row(`step-${i % 7}-${i}`, { elapsed: i % 97 }));
  const named = places(names(rows));
  const began = performance.now();
  sorted(filtered(rows, { text: "step" }), { column: "elapsed", down: true }, named);
  assert.ok(performance.now() - began < 500);
});
