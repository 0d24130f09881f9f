// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { halting, question } from "../../gaia_local/server/page/asking.js";

/** @param {string[]} steps @param {Partial<Plan>} [facts] @returns {Plan} */
const plan = (steps, facts = {}) => ({
  would: steps.map((step) => ({ step, reason: "expired" })),
  complete: steps.length, running: 0, reused: 0, timed: steps.length, seconds: 1, ...facts,
});

test("what the reader named runs without a question if it took less than a minute", () => {
  assert.equal(question(plan(["a"]), new Set(["a"])), null);
  assert.equal(question(plan(["a"], { seconds: 60 }), new Set(["a"])), null);
  assert.notEqual(question(plan(["a"], { seconds: 61 }), new Set(["a"])), null);
  assert.notEqual(question(plan(["a"]), new Set(["a"]), { lost: 61 }), null);
  assert.notEqual(question(plan(["a"]), new Set(["a"]), { always: true }), null);
});

test("where more would run, the question says how many and how long they took", () => {
  assert.deepEqual(question(plan(["a", "b", "c"], { complete: 2, timed: 2, seconds: 7205 }),
    new Set(["a"])), [
    "3 Steps run, 2 of them because they depend on the others or are left to run: a, b and c.",
    "2 of them are complete now.",
    "The last time that took 2 h in sum, without 1 that never was complete.",
  ]);
});

test("the question says what is stopped and what is reused", () => {
  const told = question(plan(["a", "b"], { running: 1, reused: 1, complete: 0, timed: 1 }),
    new Set(["a"]), { lost: 30 });
  assert.deepEqual(told?.slice(1), [
    "None of them is complete now.",
    "1 of them runs now, and is stopped first, after 30.0 s in sum.",
    "1 of them is given the results of equal Steps.",
    "The last time that took 1.0 s in sum.",
  ]);
});

test("of many Steps the number is told, not the names", () => {
  const [sizes, , times] = question(plan(["a", "b", "c", "d", "e"], { timed: 0 }), new Set()) ?? [];
  assert.equal(sizes, "5 Steps run.");
  assert.equal(times, "How long that takes isn't known: none of them was complete before.");
});

test("a halt asks if a Step has run for more than a minute", () => {
  assert.equal(halting([]), null);
  assert.equal(halting([{ step: "a", seconds: 59 }]), null);
  assert.equal(halting([{ step: "a", seconds: 90 }])?.[0], "a has run for 1 min 30 s.");
  assert.equal(halting([{ step: "a", seconds: 10 }, { step: "b", seconds: 90 }])?.[0],
    "2 Steps run now. b has run for 1 min 30 s, the others shorter.");
});
