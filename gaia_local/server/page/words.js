// @ts-check
// Words for numbers and times. States are shown by the names that they have everywhere in Gaia;
// durations and sizes read as those of the command line do.

import { URGENCY } from "./states.js";

/** @type {[string, string, number, number][]} */
const TIMES = [["d", "h", 3600, 24], ["h", "min", 60, 60], ["min", "s", 1, 60]];
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/**
 * A Step's states, those first that want attention.
 * @param {Iterable<string>} states
 */
export function byUrgency(states) {
  /** @param {string} state */
  const place = (state) => (URGENCY.indexOf(state) + 1 || URGENCY.length + 1);
  return [...states].sort((one, other) => place(one) - place(other));
}

/**
 * `1 Step`, `2 Steps`.
 * @param {number} number
 * @param {string} thing
 */
export function count(number, thing) {
  return `${number} ${thing}${number === 1 ? "" : "s"}`;
}

/**
 * A time to two or three digits: `35 ms`, `0.35 s`, `12.4 s`, `3 min 20 s`, `3 d 4 h`.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 0.0995) return `${Math.round(1000 * Math.max(0, seconds))} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  for (const [unit, smaller, size, most] of TIMES) {
    const parts = Math.floor(whole / size);
    const [large, small] = [Math.floor(parts / most), parts % most];
    if (large) return `${large} ${unit}${small ? ` ${small} ${smaller}` : ""}`;
  }
  return `${whole} s`;
}

/**
 * A size of files or of data: `12.5 MB`, in units of 1000.
 * @param {number} number
 */
export function bytes(number) {
  const [amount, unit] = scaled(number, 1000, ["bytes", "kB", "MB", "GB", "TB"]);
  return `${Number(amount.toFixed(1))} ${unit}`;
}

/**
 * An amount of memory to three digits: `310 MB`, in units of 1024, as in a Command's resources.
 * @param {number} number
 */
export function memory(number) {
  const [amount, unit] = scaled(number, 1024, ["bytes", "KB", "MB", "GB", "TB"]);
  return `${amount < 999.5 ? Number(amount.toPrecision(3)) : Math.round(amount)} ${unit}`;
}

/**
 * @param {number} number
 * @param {number} base
 * @param {string[]} units
 * @returns {[number, string]}
 */
function scaled(number, base, units) {
  let unit = 0;
  let rest = number;
  while (rest >= base && unit < units.length - 1) {
    rest /= base;
    unit += 1;
  }
  return [rest, units[unit]];
}

/**
 * Seconds since the epoch as the reader's locale writes a date and a time.
 * @param {number} seconds
 */
export function moment(seconds) {
  return MOMENT.format(seconds * 1000);
}

/**
 * `a`, `a and b`, `a, b and c`; of more than `most` the number that is left out.
 * @param {unknown[]} names
 */
export function several(names, most = 4) {
  const shown = names.slice(0, most).map(String);
  if (names.length > most) return `${shown.join(", ")} and ${names.length - most} more`;
  if (shown.length < 2) return shown.join("");
  return `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/**
 * State → number of Steps: a Map, the urgent ones first.
 * @param {Iterable<string>} states
 * @returns {Map<string, number>}
 */
export function tally(states) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  return new Map(byUrgency(counts.keys()).map((state) => [state, counts.get(state) ?? 0]));
}
