// The length and the breadth of a graph.

/** The number of rows of these nodes, each below its dependencies, and that in the longest row. */
export function extent(ids, edges) {
  const missing = new Map(ids.map((id) => [id, 0]));
  const after = new Map(ids.map((id) => [id, []]));
  for (const { from, to } of edges) {
    if (from === to) continue;
    missing.set(to, missing.get(to) + 1);
    after.get(from).push(to);
  }
  let row = ids.filter((id) => missing.get(id) === 0);
  let [length, breadth] = [0, 0];
  while (row.length) {
    length += 1;
    breadth = Math.max(breadth, row.length);
    row = row.flatMap((id) => after.get(id)).filter((id) => {
      missing.set(id, missing.get(id) - 1);
      return missing.get(id) === 0;
    });
  }
  return { length: Math.max(1, length), breadth: Math.max(1, breadth) };
}
