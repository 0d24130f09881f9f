// @ts-check
// What changed between two attempts at a Step.

const MOST_COMPARED = 1_000_000; // Pairs of tokens; beyond it, all between the equal ends differ.

/**
 * @typedef {{ key: string, change: "added" | "removed" | "changed",
 *   from: string | null, to: string | null }} InputChange
 * @typedef {{ change: "same" | "added" | "removed", token: string }} TokenChange
 * @typedef {{ from: string, to: string }} Pair
 * @typedef {object} Comparison
 * @property {InputChange[]} inputs
 * @property {number} unknown The number of inputs of both, of which one digest isn't known.
 * @property {TokenChange[] | null} tokens Null if they are the same.
 * @property {Pair | null} image
 * @property {Pair | null} outcome
 * @property {boolean} same Nothing differs of what a run depends on: inputs, tokens and image.
 */

/**
 * The differences between an attempt and an earlier one.
 * @param {AttemptRecord} earlier @param {AttemptRecord} later @returns {Comparison}
 */
export function compare(earlier, later) {
  const { changes, unknown } = compareInputs(earlier.inputs, later.inputs);
  const tokens = compareTokens(earlier.command, later.command);
  const changed = tokens.some(({ change }) => change !== "same");
  const image = pair(imageOf(earlier, later), imageOf(later, earlier));
  return {
    inputs: changes,
    unknown,
    tokens: changed ? tokens : null,
    image,
    outcome: pair(outcome(earlier), outcome(later)),
    same: changes.length === 0 && !changed && image === null,
  };
}

/**
 * How an attempt ended, in few words.
 * @param {{ state: string, exit_code: number | null }} attempt
 */
export function outcome({ state, exit_code: code }) {
  return code === null || (code === 0 && state === "complete") ? state : `${state}, exit ${code}`;
}

/** @param {string} from @param {string} to @returns {Pair | null} */
function pair(from, to) {
  return from === to ? null : { from, to };
}

/**
 * An image's name; with its id where both are known, as a name may get another image.
 * @param {AttemptRecord} one @param {AttemptRecord} other
 */
function imageOf(one, other) {
  return one.image_id === null || other.image_id === null || one.image_id === other.image_id
    ? one.image : `${one.image} (${one.image_id.replace(/^sha256:/, "").slice(0, 12)})`;
}

/** @param {Record<string, string | null>} before @param {Record<string, string | null>} after */
function compareInputs(before, after) {
  /** @type {InputChange[]} */
  const changes = [];
  let unknown = 0;
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [from, to] = [before, after].map((all) => (Object.hasOwn(all, key) ? all[key] : null));
    if (!Object.hasOwn(before, key)) changes.push({ key, change: "added", from, to });
    else if (!Object.hasOwn(after, key)) changes.push({ key, change: "removed", from, to });
    else if (from === null || to === null) unknown += 1;
    else if (from !== to) changes.push({ key, change: "changed", from, to });
  }
  return { changes, unknown };
}

/**
 * The shortest way from one list of tokens to another: those that stay, come and go, in order.
 * @param {string[]} before @param {string[]} after @returns {TokenChange[]}
 */
export function compareTokens(before, after) {
  const least = Math.min(before.length, after.length);
  let start = 0;
  while (start < least && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < least - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const [old, fresh] = [before, after].map((all) => all.slice(start, all.length - end));
  return [
    ...marked("same", before.slice(0, start)),
    ...differing(old, fresh),
    ...marked("same", before.slice(before.length - end)),
  ];
}

/** @param {string[]} old @param {string[]} fresh @returns {TokenChange[]} */
function differing(old, fresh) {
  if (old.length * fresh.length > MOST_COMPARED)
    return [...marked("removed", old), ...marked("added", fresh)];
  // The length of the longest common part of what is left of both, from each pair of places on.
  const width = fresh.length + 1;
  const common = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = old[i] === fresh[j] ? common[(i + 1) * width + j + 1] + 1
        : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  /** @type {TokenChange[]} */
  const found = [];
  let [i, j] = [0, 0];
  while (i < old.length && j < fresh.length) {
    if (old[i] === fresh[j]) {
      found.push({ change: "same", token: old[i] });
      [i, j] = [i + 1, j + 1];
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) {
      found.push({ change: "removed", token: old[i] });
      i += 1;
    } else {
      found.push({ change: "added", token: fresh[j] });
      j += 1;
    }
  }
  return [...found, ...marked("removed", old.slice(i)), ...marked("added", fresh.slice(j))];
}

/** @param {TokenChange["change"]} change @param {string[]} tokens @returns {TokenChange[]} */
function marked(change, tokens) {
  return tokens.map((token) => ({ change, token }));
}
