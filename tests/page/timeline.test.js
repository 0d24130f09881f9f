// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Axis } from "../../gaia_local/server/page/axis.js";
import { blocks, nearest } from "../../gaia_local/server/page/bars.js";
import { byCommand, facts } from "../../gaia_local/server/page/facts.js";
import { arrange, summary } from "../../gaia_local/server/page/lanes.js";
import { unpack } from "../../gaia_local/server/page/packed.js";
import { apart } from "../../gaia_local/server/page/paint.js";

const T0 = 1_790_000_000;
/** @param {number} seconds */
const moment = (seconds) => `T${seconds - T0}`;

/**
 * @param {string} step
 * @param {number | null} started
 * @param {number | null} ended
 * @param {Partial<TimelineAttempt>} more
 * @returns {TimelineAttempt}
 */
function attempt(step, started, ended, more = {}) {
  return {
    step, command: "c", task: step, state: "complete", reason: "new", worker: 1, exit_code: 0,
    queued: T0, started: started === null ? null : T0 + started,
    ended: ended === null ? null : T0 + ended, message: null, usage: null, ...more,
  };
}

const MIXED = [
  attempt("a", 0, 60),
  attempt("b", 1, 20, { worker: 2, state: "error", exit_code: 3, message: "exit code 3" }),
  attempt("c", 60, null, { state: "running", exit_code: null, command: null }),
  attempt("d", 20, 21, { worker: 2, state: "cancelled", exit_code: null, message: "halted" }),
  attempt("e", null, null, { state: "queued", worker: null, exit_code: null }),
];

test("lanes are workers, and bars lie in proportion", () => {
  const { lanes, axis, counts } = arrange(MIXED, T0 + 120);
  assert.deepEqual(lanes.map(({ name, about }) => [name, about]),
    [["worker 1", "100% busy"], ["worker 2", "17% busy"]]);
  assert.deepEqual(lanes[0].rows[0].map(({ left, right }) => [left, right]), [[0, 60], [60, 120]]);
  assert.equal(axis.whole, 120);
  assert.deepEqual([...counts], [["complete", 1], ["running", 1], ["queued", 1], ["error", 1],
    ["cancelled", 1]]);
});

test("the summary counts what all tables count", () => {
  assert.equal(summary(arrange(MIXED, T0 + 120), moment),
    "5 attempts (1 not started) by 2 workers in 2 min, from T0 to T120");
  assert.equal(summary(arrange([], T0), moment), "nothing has started yet");
  assert.equal(summary(arrange([MIXED[4]], T0), moment), "1 attempt (1 not started)");
});

test("attempts that overlap have rows, unless only by the rounding of times", () => {
  const { lanes } = arrange([attempt("a", 0, 10), attempt("b", 5, 15), attempt("c", 9.9999, 12)],
    T0);
  assert.deepEqual(lanes[0].rows.map((row) => row.map((bar) => bar.attempt.step)),
    [["a", "c"], ["b"]]);
});

test("what was reused lies in a lane of its own, in few rows however many there are", () => {
  const reused = { workflow: "v", step: "s" };
  const many = Array.from({ length: 50 }, (_, index) => attempt(`r${index}`, 1, 2,
    { reused, worker: null }));
  const { lanes, counts } = arrange([attempt("a", 0, 10), ...many], T0);
  assert.deepEqual(lanes.map(({ name, number }) => [name, number]),
    [["worker 1", 1], ["reused", 50]]);
  assert.equal(lanes[1].rows.length, 4);
  assert.equal(counts.get("reused"), 50);
});

test("long idle times are cut", () => {
  const days = 3 * 86400;
  const axis = new Axis([[T0, T0 + 10], [T0 + days, T0 + days + 10]]);
  const [gap] = axis.gaps();
  assert.equal(gap.seconds, days - 10);
  assert.ok(axis.place(T0 + 10) < gap.at && gap.at < axis.place(T0 + days));
  assert.equal(axis.busy, 20);
  assert.equal(new Axis([[T0, T0 + 10], [T0 + 11, T0 + 20]]).gaps().length, 0);
});

test("marks of time are few, in order and different at every length", () => {
  for (const length of [0.004, 0.3, 7, 95, 1800, 86400 * 3, 86400 * 400]) {
    const axis = new Axis([[T0 + 0.123, T0 + 0.123 + length]]);
    const ticks = axis.ticks(0, length, length / 10);
    assert.ok(ticks.length >= 2 && ticks.length <= 11, `${length}: ${ticks.length}`);
    assert.equal(new Set(ticks.map(({ text }) => text)).size, ticks.length);
    assert.deepEqual(ticks.map(({ at }) => at).sort((a, b) => a - b), ticks.map(({ at }) => at));
    assert.ok(axis.ticks(length / 2, length / 2 + length / 100, length / 1000).length <= 12);
  }
});

test("bars narrower than pixels become one; those worth a look stay", () => {
  const many = Array.from({ length: 1000 }, (_, index) => attempt(`s${index}`, index, index + 1,
    index === 500 ? { state: "error" } : {}));
  const { lanes } = arrange(many, T0);
  const found = blocks(lanes[0].rows[0], 0, 1000, 0.1, ({ state }) => state === "error");
  assert.deepEqual(found.map(({ number }) => number), [500, 1, 499]);
  assert.equal(found[1].bar.attempt.step, "s500");
  const few = blocks(lanes[0].rows[0], 100, 110, 10, () => false);
  assert.ok(few.length >= 10 && few.length <= 12);
  assert.equal(nearest(lanes[0].rows[0], 500.5, 1)?.attempt.step, "s500");
  assert.equal(nearest(lanes[0].rows[0], 1002, 1), null);
  assert.equal(nearest([], 1, Infinity), null);
});

test("words of idle times don't overlap and stay in sight", () => {
  const words = [0, 30, 35, 120, 199].map((x) => ({ x, wide: 40 }));
  const shown = apart(words, 0, 200);
  for (const [index, { x, wide }] of shown.entries()) {
    assert.ok(x - wide / 2 >= 0 && x + wide / 2 <= 200);
    const next = shown[index + 1];
    if (next !== undefined) assert.ok(x + wide / 2 < next.x - next.wide / 2);
  }
  assert.ok(shown.length >= 3);
});

test("a bar tells Step, Command, end, time, what it took, and why", () => {
  const usage = { staging: 0.3, running: 1.7, publishing: 0.1, cpu_user: 2.9, cpu_system: 0.3,
    memory: 310 * 2 ** 20, read: 10_000_000, written: 5_000, received: 70, sent: 60 };
  assert.deepEqual(facts(attempt("a", 0, 2.1, { usage }), T0, moment), [
    "a", "Command c", "complete, exit code 0", "took 2.1 s, on worker 1",
    "0.30 s copying inputs, 1.7 s running, 0.10 s storing", "3.2 s CPU, 310 MB of memory",
    "read 10 MB, wrote 5 kB, received 70 bytes, sent 60 bytes",
    "started T0, after 0 ms in the queue", "because: new"]);
  assert.deepEqual(facts(MIXED[2], T0 + 120, moment).slice(1, 3),
    ["running", "took 1 min so far, on worker 1"]);
  assert.ok(facts(MIXED[4], T0, moment).includes("not started"));
});

test("what each Command took", () => {
  const [first, second] = byCommand([attempt("a", 0, 2), attempt("b", 0, 4, { state: "error" }),
    attempt("c", 0, 9, { command: "other" })], ["c", "other", "none"], T0);
  assert.deepEqual([first.attempts, first.failed, first.seconds, first.median, first.most],
    [2, 1, 6, 3, 4]);
  assert.equal(second.median, 9);
});

test("a file's compact attempts are the whole ones", () => {
  const { attempts, workflow } = unpack({
    workflow: "w", now: T0, zero: T0, steps: [[0, "sim_1"], [4, "2"]],
    texts: ["c", "complete", "new", "error", "exit code 3", "v"],
    attempts: [[0, 0, 1, 2, 1, 0, 5000, 10000, 0, null],
      [1, null, 3, 2, null, 20000, null, null, 3, 4, [5, 2], Array(10).fill(7)]],
  });
  assert.equal(workflow, "w");
  assert.deepEqual(attempts[0], { ...attempt("sim_1", 0.5, 1.5), task: null });
  const [, second] = attempts;
  assert.deepEqual([second.step, second.command, second.queued, second.started, second.message],
    ["sim_2", null, T0 + 2, null, "exit code 3"]);
  assert.deepEqual(second.reused, { workflow: "v", step: "new" });
  assert.equal(second.usage?.memory, 7);
});
