// @ts-check
// A timeline's attempts from the compact form that files hold: pictures/timeline/packing.py.

const TICK = 1e4; // Times are whole numbers of this part of a second.

/**
 * The answer of `Gaia.timeline`, without the attempts' ids.
 * @param {PackedTimeline} packed
 * @returns {{ workflow: string, now: number, attempts: TimelineAttempt[] }}
 */
export function unpack({ workflow, now, zero, steps, texts, attempts }) {
  /** @param {number | null} index */
  const text = (index) => (index === null ? null : texts[index]);
  const names = whole(steps);
  let queued = zero;
  return {
    workflow,
    now,
    attempts: attempts.map((row) => {
      const [step, command, state, reason, worker, wait, pause, length, code, message, from, used] =
        row;
      queued += wait / TICK;
      const started = pause === null ? null : queued + pause / TICK;
      return {
        step: names[step], command: text(command), state: texts[state], reason: texts[reason],
        worker, queued, started, task: null,
        ended: started === null || length === null ? null : started + length / TICK,
        exit_code: code, message: text(message),
        usage: used ? usage(used) : null,
        ...(from ? { reused: { workflow: texts[from[0]], step: texts[from[1]] } } : {}),
      };
    }),
  };
}

/** @param {(number | null)[]} numbers @returns {Usage} */
function usage([staging, running, publishing, cpu_user, cpu_system, memory, read, written, received,
  sent]) {
  return { staging, running, publishing, cpu_user, cpu_system, memory, read, written, received,
    sent };
}

/**
 * Names, each as the number of UTF-16 units that it shares with the one before, and the rest.
 * @param {[number, string][]} coded
 */
function whole(coded) {
  let before = "";
  return coded.map(([shared, rest]) => {
    before = before.slice(0, shared) + rest;
    return before;
  });
}
