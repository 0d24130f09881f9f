// @ts-check
// Which bars of a timeline are in sight, and which are drawn as one since they are too narrow.

const NARROW = 2; // In pixels: narrower bars side by side become one.

/**
 * The first bar of a row that ends after a place.
 * @param {Bar[]} row
 * @param {number} from
 */
export function firstAfter(row, from) {
  let [low, high] = [0, row.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (row[middle].right < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * What is drawn of a row between two places: a bar, or several narrow ones as one.
 * @param {Bar[]} row
 * @param {number} from
 * @param {number} to
 * @param {number} scale pixels for one second of the axis
 * @param {(bar: Bar) => boolean} apart whether a bar is never merged with others
 * @returns {Block[]}
 */
export function blocks(row, from, to, scale, apart) {
  /** @type {Block[]} */
  const found = [];
  /** @type {Block | null} */
  let open = null;
  for (let index = firstAfter(row, from); index < row.length; index += 1) {
    const bar = row[index];
    if (bar.left > to) break;
    const [left, right] = [scale * (bar.left - from), scale * (bar.right - from)];
    const narrow = right - left < NARROW && !apart(bar);
    if (narrow && open !== null && left - open.right < NARROW / 2) {
      open.right = Math.max(open.right, right);
      open.number += 1;
      if (open.command !== bar.command) open.command = -1;
    } else {
      const block = { bar, left, right, number: 1, command: bar.command };
      found.push(block);
      open = narrow ? block : null;
    }
  }
  return found;
}

/**
 * The bar of a row nearest to a place, if it is within a distance.
 * @param {Bar[]} row
 * @param {number} at
 * @param {number} reach
 * @returns {Bar | null}
 */
export function nearest(row, at, reach) {
  const index = firstAfter(row, at);
  let best = null;
  let least = reach;
  for (const bar of row.slice(Math.max(0, index - 1), index + 2)) {
    const away = Math.max(bar.left - at, at - bar.right, 0);
    if (away < least || (away === 0 && best === null)) [best, least] = [bar, away];
  }
  return best;
}
