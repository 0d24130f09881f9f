// @ts-check
// Attempts in lanes: one for each worker, and within it a row for each of those that overlap.

import { Axis } from "./axis.js";
import { COMMAND_HUE, ORDER } from "./states.js";
import { count, duration } from "./words.js";

export const REUSED = "reused";
// What was reused took no time of a worker, and many may be at once: they share so many rows.
const REUSED_ROWS = 4;
// Times are rounded; two attempts that overlap by less follow each other.
const ROUNDING = 1e-3;
const QUIET = ["complete", REUSED, "running"];

/** The hue of the Command with this number, in degrees. @param {number} number */
export function hue(number) {
  return (COMMAND_HUE.first + number * COMMAND_HUE.turn) % 360;
}

/** The state that an attempt is shown in. @param {TimelineAttempt} attempt */
export function stateOf(attempt) {
  return attempt.reused ? REUSED : attempt.state;
}

/** Whether attempts in this state are worth a look however short they are. @param {string} state */
export function marked(state) {
  return !QUIET.includes(state);
}

/**
 * The attempts of a workflow as lanes; those that run end at `now`, in seconds since the epoch.
 * @param {TimelineAttempt[]} attempts
 * @param {number} now
 * @returns {Lanes}
 */
export function arrange(attempts, now) {
  const began = attempts.filter(({ started }) => started !== null)
    .sort((one, other) => Number(one.started) - Number(other.started));
  /** @param {TimelineAttempt} attempt @returns {[number, number]} */
  const span = ({ started, ended }) => [Number(started), Math.max(ended ?? now, Number(started))];
  const axis = new Axis(began.map(span));
  const commands = numbered(attempts);
  /** @type {Map<number, { kind: number, worker: number, bars: Bar[] }>} */
  const found = new Map();
  for (const attempt of began) {
    const [start, end] = span(attempt);
    const kind = attempt.reused ? 2 : attempt.worker === null ? 1 : 0;
    const worker = kind ? -kind : Number(attempt.worker);
    let lane = found.get(worker);
    if (lane === undefined) found.set(worker, lane = { kind, worker, bars: [] });
    lane.bars.push({
      attempt, end, state: stateOf(attempt), left: axis.place(start), right: axis.place(end),
      command: commands.get(attempt.command ?? "") ?? 0, lane: 0, row: 0,
    });
  }
  const lanes = [...found.values()]
    .sort((one, other) => one.kind - other.kind || one.worker - other.worker)
    .map((lane, index) => inRows(lane, index, axis));
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const attempt of attempts) {
    const state = stateOf(attempt);
    counts.set(state, (counts.get(state) ?? 0) + 1);
  }
  const order = [...ORDER.filter((state) => counts.has(state)), ...counts.keys()];
  return {
    axis, lanes, commands: [...commands.keys()], number: attempts.length,
    counts: new Map(order.map((state) => [state, counts.get(state) ?? 0])),
    running: began.some(({ ended }) => ended === null),
  };
}

/**
 * One sentence: how many attempts, by how many workers, in what time.
 * @param {Lanes} lanes
 * @param {(seconds: number) => string} moment
 */
export function summary({ axis, lanes, number, counts }, moment) {
  const began = lanes.reduce((sum, { number: bars }) => sum + bars, 0);
  const workers = lanes.filter(({ kind }) => kind === 0).length;
  const reused = counts.get(REUSED) ?? 0;
  const parts = [reused && `${reused} reused`, number - began && `${number - began} not started`]
    .filter(Boolean).join(", ");
  const all = `${count(number, "attempt")}${parts && ` (${parts})`}`;
  if (began === 0) return number === 0 ? "nothing has started yet" : all;
  const by = workers ? ` by ${count(workers, "worker")}` : "";
  const [first, last] = [axis.segments[0].start, axis.segments[axis.segments.length - 1].end];
  return `${all}${by} in ${duration(axis.busy)}, from ${moment(first)} to ${moment(last)}`;
}

/**
 * Command → its number, in the order of the first attempts at it.
 * @param {TimelineAttempt[]} attempts
 * @returns {Map<string, number>}
 */
function numbered(attempts) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const { command } of attempts)
    if (!found.has(command ?? "")) found.set(command ?? "", found.size);
  return found;
}

/**
 * @param {{ kind: number, worker: number, bars: Bar[] }} found
 * @param {number} index
 * @param {Axis} axis
 * @returns {Lane}
 */
function inRows({ kind, worker, bars }, index, axis) {
  /** @type {Bar[][]} */
  const rows = [];
  /** @type {number[]} */
  const free = [];
  let busy = 0;
  for (const bar of bars) {
    const start = Number(bar.attempt.started);
    let row = free.findIndex((until) => until <= start + ROUNDING);
    if (row < 0) row = free.length;
    if (kind === 2 && row >= REUSED_ROWS) row = free.indexOf(Math.min(...free));
    free[row] = Math.max(free[row] ?? 0, bar.end);
    (rows[row] ??= []).push(bar);
    [bar.lane, bar.row] = [index, row];
    busy += bar.end - start;
  }
  const share = axis.busy ? Math.min(1, busy / axis.busy) : 0;
  const name = [`worker ${worker}`, "no worker known", REUSED][kind];
  const about = kind === 2 ? count(bars.length, "Step") : `${Math.round(100 * share)}% busy`;
  return { kind, name, about, rows, number: bars.length };
}
