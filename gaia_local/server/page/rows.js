// @ts-check
// The rows of a table of Steps: kept up to date, filtered, sorted, and written as CSV.

/** @typedef {"step" | "state" | "reason" | "started" | "elapsed" | "cpu" | "memory"} Column */
/** @typedef {{ column: Column, down: boolean }} Order */

const FAILED = ["error", "exception"];
// The first ones want attention, as in the rest of the page.
const URGENCY = [
  "error", "exception", "unfit", "running", "queued", "ready", "waiting", "complete"];
const NATURAL = new Intl.Collator("en", { numeric: true });
// What a spreadsheet would take for the beginning of a formula.
const FORMULA = /^[=+\-@\t\r]/;

/** @type {[string, (row: StepRow) => string | number | null][]} */
const CSV = [
  ["step", ({ step }) => harmless(step)],
  ["command", ({ command }) => harmless(command)],
  ["state", ({ state }) => state],
  ["reason", ({ reason }) => harmless(reason)],
  ["started", ({ started }) => moment(started)],
  ["ended", ({ ended }) => moment(ended)],
  ["seconds", ({ elapsed }) => elapsed],
  ["cpu_seconds", ({ cpu }) => cpu],
  ["memory_bytes", ({ memory }) => memory],
  ["attempts", ({ attempts }) => attempts],
];

/**
 * A row with the news of its Step. What only the server's table tells is empty until that is asked
 * for again, if the news are of another attempt.
 * @param {StepRow} row @param {StepNews | undefined} news @returns {StepRow}
 */
export function updated(row, news) {
  if (news === undefined || typeof news === "string") return row;
  const { state, task, started, ended } = news;
  const elapsed = started === null || ended === null ? null : ended - started;
  if (task === row.task && state === row.state && started === row.started && ended === row.ended)
    return row;
  const same = task === row.task && state === row.state;
  const rest = same ? {} : { reason: "", cpu: null, memory: null };
  return { ...row, state, task, started, ended, elapsed, ...rest };
}

/**
 * Names in natural order, `s9` before `s10`, as name → place.
 * @param {string[]} names @returns {Map<string, number>}
 */
export function places(names) {
  const inOrder = [...names].sort((one, other) => NATURAL.compare(one, other)
    || (one < other ? -1 : 1));
  return new Map(inOrder.map((name, place) => [name, place]));
}

/**
 * The rows that a reader asked for. `state` may be `failed`, which is every kind of failure.
 * @param {StepRow[]} rows
 * @param {{ state?: string, command?: string, text?: string }} wanted
 */
export function filtered(rows, { state = "", command = "", text = "" }) {
  const states = state === "failed" ? FAILED : [state];
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => (state === "" || states.includes(row.state))
    && (command === "" || row.command === command)
    && words.every((word) => row.step.toLowerCase().includes(word)
      || row.reason.toLowerCase().includes(word)));
}

/**
 * The rows in an order; those without a value come last, and equal ones by their names.
 * @param {StepRow[]} rows @param {Order} order @param {Map<string, number>} named
 * @param {number} [now] In seconds since the epoch: running ones have lasted until then.
 */
export function sorted(rows, { column, down }, named, now = 0) {
  const sign = down ? -1 : 1;
  /** @type {(row: StepRow, place: number) => number | string | null} */
  const valueOf = column === "step" ? (_, place) => place
    : column === "state" ? ({ state }) => urgency(state)
      : column === "elapsed" ? (row) => lasted(row, now) : (row) => row[column];
  return rows
    .map((row) => {
      const place = named.get(row.step) ?? Infinity;
      return { row, place, value: valueOf(row, place) };
    })
    .sort((one, other) => {
      if (one.value === other.value) return one.place - other.place;
      if (one.value === null || other.value === null) return one.value === null ? 1 : -1;
      return one.value < other.value ? -sign : sign;
    })
    .map(({ row }) => row);
}

/**
 * The seconds that the latest attempt took, or has taken so far; null if it never began.
 * @param {StepRow} row @param {number} now
 */
export function lasted({ state, started, elapsed }, now) {
  return state === "running" && started !== null ? Math.max(0, now - started) : elapsed;
}

/** @param {string} state */
function urgency(state) {
  return (URGENCY.indexOf(state) + 1) || URGENCY.length + 1;
}

/**
 * Rows as CSV by RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe
 * before it; times are in UTC by ISO 8601.
 * @param {StepRow[]} rows
 */
export function csv(rows) {
  const lines = [CSV.map(([name]) => name),
    ...rows.map((row) => CSV.map(([, value]) => quoted(value(row))))];
  return lines.map((fields) => `${fields.join(",")}\r\n`).join("");
}

/** @param {string} text */
function harmless(text) {
  return FORMULA.test(text) ? `'${text}` : text;
}

/** @param {string | number | null} value */
function quoted(value) {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {number | null} seconds */
function moment(seconds) {
  return seconds === null ? null : new Date(seconds * 1000).toISOString();
}
