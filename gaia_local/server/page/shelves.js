// @ts-check
// Boxes in rows, as books on shelves, and the parts of a graph that no edge joins.

/**
 * The upper left corners of boxes in rows, in the given order, each row as high as its highest, in
 * a shape near to `ratio` (width by height).
 * @param {Size[]} sizes @param {number} gap @param {number} ratio
 * @returns {Size & { corners: Point[] }}
 */
export function shelves(sizes, gap, ratio) {
  const area = sizes.reduce((sum, { width, height }) => sum + (width + gap) * (height + gap), 0);
  const widest = Math.max(1, ...sizes.map(({ width }) => width));
  const least = Math.max(widest, Math.sqrt(area * ratio));
  // What is left free at the ends of rows makes it higher than wished: a little more width helps.
  const tried = [1, 1.12, 1.25].map((factor) => packed(sizes, gap, least * factor));
  const away = (/** @type {Size} */ { width, height }) => (
    Math.abs(Math.log(width / height / ratio)));
  return tried.reduce((one, other) => (away(other) < away(one) ? other : one));
}

/** @param {Size[]} sizes @param {number} gap @param {number} most */
function packed(sizes, gap, most) {
  const corners = [];
  let [x, y, high, width] = [0, 0, 0, 1];
  for (const size of sizes) {
    if (x > 0 && x + size.width > most) {
      y += high + gap;
      [x, high] = [0, 0];
    }
    corners.push({ x, y });
    x += size.width + gap;
    width = Math.max(width, x - gap);
    high = Math.max(high, size.height);
  }
  return { corners, width, height: Math.max(1, y + high) };
}

/**
 * A chain of equal boxes in rows: to the right, then back to the left. The path of each edge says
 * where it passes.
 * @param {number} count @param {Size} size @param {Size} gap @param {number} ratio
 * @returns {Size & { corners: Point[], columns: number }}
 */
export function snake(count, size, gap, ratio) {
  const [across, down] = [size.width + gap.width, size.height + gap.height];
  const wished = Math.round(Math.sqrt(count * down * ratio / across));
  const columns = Math.max(2, Math.min(count, wished));
  const corners = Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const column = row % 2 === 0 ? index % columns : columns - 1 - (index % columns);
    return { x: column * across, y: row * down };
  });
  return {
    corners, columns, width: Math.min(count, columns) * across - gap.width,
    height: Math.ceil(count / columns) * down - gap.height,
  };
}

/**
 * The nodes of each part of a graph that no edge joins to the others, in the given order.
 * @param {string[]} ids @param {Ends[]} edges @returns {string[][]}
 */
export function components(ids, edges) {
  /** @type {Map<string, string>} */
  const above = new Map(ids.map((id) => [id, id]));
  const top = (/** @type {string} */ id) => {
    let found = id;
    for (let next = above.get(found); next !== undefined && next !== found;
      next = above.get(found)) {
      above.set(found, above.get(next) ?? next);
      found = next;
    }
    return found;
  };
  for (const { from, to } of edges) above.set(top(from), top(to));
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const id of ids) {
    const part = found.get(top(id));
    if (part === undefined) found.set(top(id), [id]);
    else part.push(id);
  }
  return [...found.values()];
}
