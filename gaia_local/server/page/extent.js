// @ts-check
// The length and the breadth of a graph.

/**
 * The number of rows of these nodes, each below its dependencies, that in the longest row, and the
 * row of each (those on a cycle have none).
 * @param {string[]} ids @param {{ from: string, to: string }[]} edges
 */
export function extent(ids, edges) {
  const missing = new Map(ids.map((id) => [id, 0]));
  /** @type {Map<string, string[]>} */
  const after = new Map(ids.map((id) => [id, []]));
  for (const { from, to } of edges) {
    if (from === to) continue;
    missing.set(to, (missing.get(to) ?? 0) + 1);
    after.get(from)?.push(to);
  }
  /** @type {Map<string, number>} */
  const rows = new Map();
  let row = ids.filter((id) => missing.get(id) === 0);
  let [length, breadth] = [0, 0];
  while (row.length) {
    for (const id of row) rows.set(id, length);
    length += 1;
    breadth = Math.max(breadth, row.length);
    row = row.flatMap((id) => after.get(id) ?? []).filter((id) => {
      const left = (missing.get(id) ?? 0) - 1;
      missing.set(id, left);
      return left === 0;
    });
  }
  return { length: Math.max(1, length), breadth: Math.max(1, breadth), rows };
}
