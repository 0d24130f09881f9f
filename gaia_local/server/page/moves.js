// Moves by arrow keys between the parts of a picture.

const WAYS = {
  ArrowUp: { along: "y", sign: -1 },
  ArrowDown: { along: "y", sign: 1 },
  ArrowLeft: { along: "x", sign: -1 },
  ArrowRight: { along: "x", sign: 1 },
};

/**
 * The nearest of `places` ({x, y, width, height}, x and y of the upper left corner) in the
 * direction of `key`; null if there is none. Places straight ahead count as nearer than others.
 */
export function next(places, from, key) {
  const way = WAYS[key];
  if (way === undefined) return null;
  const [length, across, breadth] = way.along === "x"
    ? ["width", "y", "height"] : ["height", "x", "width"];
  const middle = (place, axis, size) => place[axis] + place[size] / 2;
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

/** The space between two places along an axis; negative if they overlap. */
function gapped(one, other, axis, size) {
  return Math.max(one[axis] - (other[axis] + other[size]), other[axis] - (one[axis] + one[size]));
}
