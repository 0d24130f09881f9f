// @ts-check
// Whether an order is carried out at once or asked about first, and what the reader is told then.

import { duration, several } from "./words.js";

export const LONG_SECONDS = 60; // What took longer than this is lost only after a question.

/**
 * The question before Steps run, as sentences; null if they may run at once: nothing but the
 * `named` ones runs, and that took no more than a minute the last time.
 * @param {Plan} plan
 * @param {ReadonlySet<string>} named The Steps that the reader meant.
 * @param {{ lost?: number, always?: boolean }} [more] `lost` are the seconds that those of them
 *   which run now have taken so far.
 * @returns {string[] | null}
 */
export function question(plan, named, { lost = 0, always = false } = {}) {
  const others = plan.would.filter(({ step }) => !named.has(step)).length;
  if (!always && others === 0 && plan.seconds <= LONG_SECONDS && lost <= LONG_SECONDS) return null;
  const { complete, running, reused } = plan;
  return [
    sizes(plan, others),
    complete === 0 ? "None of them is complete now."
      : `${counted(complete, "of them is", "of them are")} complete now.`,
    running === 0 ? null
      : `${counted(running, "of them runs now, and is", "of them run now, and are")} stopped first${
        lost < 1 ? "" : `, after ${duration(lost)} in sum`}.`,
    reused === 0 ? null
      : `${counted(reused, "of them is", "of them are")} given the results of equal Steps.`,
    times(plan),
  ].filter((sentence) => sentence !== null);
}

/**
 * The question before running Steps are stopped; null if all of them began less than a minute ago.
 * @param {{ step: string, seconds: number }[]} running
 * @returns {string[] | null}
 */
export function halting(running) {
  const longest = running.reduce((one, other) => (one.seconds < other.seconds ? other : one),
    { step: "", seconds: 0 });
  if (longest.seconds <= LONG_SECONDS) return null;
  return [
    running.length === 1 ? `${longest.step} has run for ${duration(longest.seconds)}.`
      : `${running.length} Steps run now. ${longest.step} has run for ${
        duration(longest.seconds)}, the others shorter.`,
    "What they did so far is lost: the next run begins with them anew.",
  ];
}

/** @param {Plan} plan @param {number} others */
function sizes({ would }, others) {
  const names = would.length > 4 ? "" : `: ${several(would.map(({ step }) => step))}`;
  const beside = others === 0 || others === would.length ? ""
    : `, ${others} of them because they depend on the others or are left to run`;
  return `${counted(would.length, "Step runs", "Steps run")}${beside}${names}.`;
}

/** @param {Plan} plan */
function times({ would, reused, timed, seconds }) {
  if (would.length === reused) return null;
  if (timed === 0) return "How long that takes isn't known: none of them was complete before.";
  const unknown = would.length - reused - timed;
  const without = unknown === 0 ? ""
    : `, without ${unknown} that never ${unknown === 1 ? "was" : "were"} complete`;
  return `The last time that took ${duration(seconds)} in sum${without}.`;
}

/** @param {number} number @param {string} one @param {string} many */
function counted(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}
