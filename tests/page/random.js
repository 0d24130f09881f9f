// @ts-check
// Random values that are the same in each run.

/** @param {number} seed */
export function random(seed) {
  let state = seed;
  /** @param {number} below a whole number from 0 on */
  const whole = (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  /** @template T @param {T[]} values @returns {T} */
  const pick = (values) => values[whole(values.length)];
  return { whole, pick };
}
