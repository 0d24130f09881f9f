// @ts-check
// Moves by arrow keys between the parts of a picture.

/** @type {Record<string, { along: "x" | "y", sign: number }>} */
const WAYS = {
  ArrowUp: { along: "y", sign: -1 },
  ArrowDown: { along: "y", sign: 1 },
  ArrowLeft: { along: "x", sign: -1 },
  ArrowRight: { along: "x", sign: 1 },
};

/**
 * The nearest of `places` ({x, y, width, height}, x and y of the upper left corner) in the
 * direction of `key`; null if there is none. Places straight ahead count as nearer than others.
 * @template {Box} T
 * @param {T[]} places @param {T} from @param {string} key @returns {T | null}
 */
export function next(places, from, key) {
  const way = WAYS[key];
  if (way === undefined) return null;
  const [length, across, breadth] =
    /** @type {["width" | "height", "x" | "y", "width" | "height"]} */ (
      way.along === "x" ? ["width", "y", "height"] : ["height", "x", "width"]);
  const middle = (
    /** @type {Box} */ place, /** @type {"x" | "y"} */ axis, /** @type {"width" | "height"} */ size,
  ) => place[axis] + place[size] / 2;
  let best = null;
  let least = Infinity;
  for (const place of places) {
    if (place === from) continue;
    const ahead = (middle(place, way.along, length) - middle(from, way.along, length)) * way.sign;
    const gap = gapped(place, from, way.along, length);
    const aside = gapped(place, from, across, breadth);
    if (ahead <= 0 || (gap <= 0 && aside >= 0)) continue;
    // Between two at the same distance, the middles decide.
    const distance = Math.max(0, gap) + 2.5 * Math.max(0, aside)
      + Math.abs(middle(place, across, breadth) - middle(from, across, breadth)) / 100;
    if (distance < least) [best, least] = [place, distance];
  }
  return best;
}

/**
 * The space between two places along an axis; negative if they overlap.
 * @param {Box} one @param {Box} other
 * @param {"x" | "y"} axis @param {"width" | "height"} size
 */
function gapped(one, other, axis, size) {
  return Math.max(one[axis] - (other[axis] + other[size]), other[axis] - (one[axis] + one[size]));
}
