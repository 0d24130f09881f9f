// @ts-check
// What is told of an attempt at its bar: lines of text. And what attempts took, by Command.

import { REUSED, stateOf } from "./lanes.js";
import { bytes, duration, memory } from "./words.js";

/** @type {[keyof Usage, string][]} */
const PHASES = [["staging", "copying inputs"], ["running", "running"], ["publishing", "storing"]];
/** @type {[keyof Usage, string][]} */
const DATA = [["read", "read"], ["written", "wrote"], ["received", "received"], ["sent", "sent"]];

/** The CPU seconds of an attempt; null if nobody measured it.
 * @param {{ usage: Usage | null }} attempt */
export function cpu({ usage }) {
  return usage === null || usage.cpu_user === null || usage.cpu_system === null
    ? null : usage.cpu_user + usage.cpu_system;
}

/** The seconds that an attempt took; null if it never began. @param {TimelineAttempt} attempt
 * @param {number} now */
export function took({ started, ended }, now) {
  return started === null ? null : Math.max(0, (ended ?? now) - started);
}

/**
 * The lines of an attempt: its Step, its Command, how it ended, what it took, when, and why.
 * @param {TimelineAttempt} attempt
 * @param {number} now
 * @param {(seconds: number) => string} moment
 */
export function facts(attempt, now, moment) {
  const { step, command, exit_code: code, message, worker, queued, started, reason } = attempt;
  const state = stateOf(attempt);
  const ended = attempt.reused
    ? `reused from workflow '${attempt.reused.workflow}', Step '${attempt.reused.step}'`
    : `${state}${code === null ? "" : `, exit code ${code}`}`;
  const seconds = took(attempt, now);
  const where = worker === null ? "no worker known" : `worker ${worker}`;
  const on = state === REUSED ? "" : `, on ${where}`;
  return [
    step,
    command && `Command ${command}`,
    ended,
    message !== `exit code ${code}` && message,
    seconds === null ? "not started"
      : `took ${duration(seconds)}${attempt.ended === null ? " so far" : ""}${on}`,
    ...taken(attempt),
    started !== null
      && `started ${moment(started)}, after ${duration(started - queued)} in the queue`,
    `because: ${reason}`,
  ].filter((line) => typeof line === "string" && line !== "").map(String);
}

/** @param {TimelineAttempt} attempt */
function taken(attempt) {
  const { usage } = attempt;
  if (usage === null) return [];
  const seconds = cpu(attempt);
  const used = [seconds !== null && `${duration(seconds)} CPU`,
    usage.memory !== null && `${memory(usage.memory)} of memory`].filter(Boolean).join(", ");
  return [phases(usage), used, transferred(usage)];
}

/** "0.30 s copying inputs, 1.7 s running", without what nobody measured. @param {Usage} usage */
export function phases(usage) {
  return told(usage, PHASES, (seconds, what) => `${duration(seconds)} ${what}`);
}

/** "read 10 MB, wrote 5 bytes", without what nobody measured. @param {Usage} usage */
export function transferred(usage) {
  return told(usage, DATA, (number, what) => `${what} ${bytes(number)}`);
}

/** @param {Usage} usage @param {[keyof Usage, string][]} words
 * @param {(number: number, what: string) => string} text */
function told(usage, words, text) {
  return words.flatMap(([key, what]) => {
    const number = usage[key];
    return number === null ? [] : [text(number, what)];
  }).join(", ");
}

/**
 * What the attempts at each Command took, in the order of `commands`; times in seconds.
 * @param {TimelineAttempt[]} attempts
 * @param {string[]} commands
 * @param {number} now
 * @returns {CommandFigures[]}
 */
export function byCommand(attempts, commands, now) {
  /** @type {Map<string, { times: number[], rest: CommandFigures }>} */
  const found = new Map(commands.map((command) => [command, { times: [], rest: {
    command, attempts: 0, failed: 0, seconds: 0, median: null, most: null, cpu: null, memory: null,
  } }]));
  for (const attempt of attempts) {
    const group = found.get(attempt.command ?? "");
    if (group === undefined) continue;
    const { times, rest } = group;
    rest.attempts += 1;
    if (attempt.state === "error" || attempt.state === "exception") rest.failed += 1;
    const seconds = attempt.reused ? null : took(attempt, now);
    if (seconds !== null) times.push(seconds);
    const own = cpu(attempt);
    if (own !== null) rest.cpu = (rest.cpu ?? 0) + own;
    const held = attempt.usage?.memory ?? null;
    if (held !== null) rest.memory = Math.max(rest.memory ?? 0, held);
  }
  return [...found.values()].map(({ times, rest }) => {
    times.sort((one, other) => one - other);
    const half = times.length >> 1;
    const median = times.length % 2 ? times[half] : (times[half - 1] + times[half]) / 2;
    return { ...rest, seconds: times.reduce((sum, time) => sum + time, 0),
      median: times.length ? median : null, most: times.at(-1) ?? null };
  });
}
