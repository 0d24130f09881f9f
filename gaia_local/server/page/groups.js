// @ts-check
// Groups of Steps: which there are, which are open, and what they say of their Steps in numbers.

import { tally } from "./words.js";

/**
 * A grouping's groups as they are drawn.
 * @param {Grouping | null} grouping
 * @returns {DrawnGroup[]}
 */
export function drawnGroups(grouping) {
  return (grouping?.groups ?? []).map((group) => drawn(group, grouping?.by ?? ""));
}

/** @param {Group} group @param {string} by @returns {DrawnGroup} */
function drawn(group, by) {
  const groups = group.groups.map((inner) => drawn(inner, by));
  const within = new Set(groups.flatMap((inner) => inner.steps));
  const steps = [...new Set([...group.steps, ...within])].sort((one, other) => one - other);
  return {
    id: group.id, name: group.name, by, steps, groups, startsOpen: false,
    own: steps.filter((step) => !within.has(step)),
  };
}

/**
 * The same groups, but open until the reader closes them.
 * @param {DrawnGroup[]} groups @returns {DrawnGroup[]}
 */
export function opened(groups) {
  return groups.map((group) => (
    { ...group, startsOpen: true, groups: opened(group.groups) }));
}

/**
 * Whether a group is open, where the reader turned some (by id).
 * @param {DrawnGroup} group @param {ReadonlySet<string>} turned
 */
export function isOpen(group, turned) {
  return group.startsOpen !== turned.has(group.id);
}

/**
 * The groups around a Step, the outermost first.
 * @param {DrawnGroup[]} groups @param {number} step @returns {DrawnGroup[]}
 */
export function around(groups, step) {
  const outer = groups.find(({ steps }) => steps.includes(step));
  return outer === undefined ? [] : [outer, ...around(outer.groups, step)];
}

/**
 * What a group says of its Steps.
 * @param {Iterable<{ state: string, started: number | null, ended: number | null }>} news
 * @returns {Summary}
 */
export function summary(news) {
  const states = [];
  const times = [];
  for (const { state, started, ended } of news) {
    states.push(state);
    if (started !== null && ended !== null) times.push(Math.max(0, ended - started));
  }
  times.sort((one, other) => one - other);
  const middle = times.length / 2;
  const median = times.length === 0 ? 0
    : (times[Math.floor(middle)] + times[Math.ceil(middle) - 1]) / 2;
  return {
    counts: tally(states), total: times.reduce((sum, time) => sum + time, 0), median,
    timed: times.length,
  };
}

const UNITS = /** @type {[string, number][]} */ (
  [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]);

/**
 * A number of seconds where there is little room: `0.4 s`, `2 min 5 s`, `3 h`.
 * @param {number} seconds
 */
export function brief(seconds) {
  if (seconds < 9.95) return `${seconds < 0.05 ? "< 0.1" : Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  const first = UNITS.findIndex(([, size]) => whole >= size);
  let rest = whole;
  const parts = [];
  for (const [name, size] of UNITS.slice(first, first + 2)) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number > 0) parts.push(`${number} ${name}`);
  }
  return parts.join(" ");
}
