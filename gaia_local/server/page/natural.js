// @ts-check
// The order of names: numbers in them count as numbers, so that 9 comes before 10.

const collator = new Intl.Collator("en", { numeric: true });

/**
 * Compares two names, for `sort`; names that only look alike keep one order, too.
 * @param {string} one
 * @param {string} other
 */
export function natural(one, other) {
  return collator.compare(one, other) || (one < other ? -1 : one > other ? 1 : 0);
}
