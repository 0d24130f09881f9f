// @ts-check
// A simple layout in rows from the top down: each node below what it depends on, near its
// neighbours. Its time grows with the edges alone, so it serves where the library takes too long.

const SWEEPS = 6;

/**
 * Centres from the top down, with these spaces between nodes of a row and between rows.
 * @param {SizedNode[]} nodes @param {Ends[]} edges
 * @param {{ nodesep: number, ranksep: number }} space
 * @returns {Size & { nodes: Record<string, Point> }}
 */
export function layered(nodes, edges, space) {
  const sizes = new Map(nodes.map((node) => [node.id, node]));
  const { before, after } = neighbours(nodes, edges);
  const rows = ordered(ranked(nodes, before, after), before, after);
  const across = aligned(rows, sizes, before, after, space.nodesep);
  const left = Math.min(...nodes.map(({ id, width }) => (across.get(id) ?? 0) - width / 2));
  /** @type {Record<string, Point>} */
  const placed = {};
  let [top, width] = [0, 1];
  for (const row of rows) {
    const high = Math.max(...row.map((id) => sizes.get(id)?.height ?? 0));
    for (const id of row) {
      const x = (across.get(id) ?? 0) - left;
      placed[id] = { x, y: top + high / 2 };
      width = Math.max(width, x + (sizes.get(id)?.width ?? 0) / 2);
    }
    top += high + space.ranksep;
  }
  return { nodes: placed, width, height: Math.max(1, top - space.ranksep) };
}

/**
 * @typedef {Map<string, string[]>} Neighbours
 * @param {SizedNode[]} nodes @param {Ends[]} edges
 * @returns {{ before: Neighbours, after: Neighbours }}
 */
function neighbours(nodes, edges) {
  /** @type {Neighbours} */
  const before = new Map(nodes.map(({ id }) => [id, []]));
  /** @type {Neighbours} */
  const after = new Map(nodes.map(({ id }) => [id, []]));
  for (const { from, to } of edges) {
    if (from === to) continue;
    before.get(to)?.push(from);
    after.get(from)?.push(to);
  }
  return { before, after };
}

/**
 * Rows of nodes; a node that depends on nothing is just above the first one that needs it. What
 * lies on a cycle comes in the order given.
 * @param {SizedNode[]} nodes @param {Neighbours} before @param {Neighbours} after
 * @returns {string[][]}
 */
function ranked(nodes, before, after) {
  const missing = new Map([...before].map(([id, list]) => [id, list.length]));
  /** @type {Map<string, number>} */
  const rank = new Map();
  const ready = nodes.map(({ id }) => id).filter((id) => missing.get(id) === 0);
  const rest = nodes.map(({ id }) => id)[Symbol.iterator]();
  while (rank.size < nodes.length) {
    let id = ready.pop();
    if (id === undefined) {
      id = /** @type {string} */ (rest.next().value);
      if (rank.has(id)) continue;
    } else if (rank.has(id)) {
      continue;
    }
    rank.set(id, Math.max(-1, ...(before.get(id) ?? []).map((maker) => rank.get(maker) ?? -1)) + 1);
    for (const reader of after.get(id) ?? []) {
      missing.set(reader, (missing.get(reader) ?? 0) - 1);
      if (missing.get(reader) === 0) ready.push(reader);
    }
  }
  for (const { id } of nodes) {
    const readers = (after.get(id) ?? []).map((reader) => rank.get(reader) ?? 0);
    if (before.get(id)?.length === 0 && readers.length)
      rank.set(id, Math.max(0, Math.min(...readers) - 1));
  }
  /** @type {string[][]} */
  const rows = [];
  for (const { id } of nodes) (rows[rank.get(id) ?? 0] ??= []).push(id);
  return rows.filter(Boolean);
}

/**
 * Rows whose nodes are sorted by the mean place of their neighbours, so that few edges cross.
 * @param {string[][]} rows @param {Neighbours} before @param {Neighbours} after
 */
function ordered(rows, before, after) {
  const places = new Map(rows.flatMap((row) => row.map((id, index) => [id, index / row.length])));
  let found = rows;
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    const near = down ? before : after;
    const next = [...found];
    const order = next.map((_, index) => (down ? index : next.length - 1 - index));
    for (const index of order) {
      const wish = new Map(next[index].map((id) => [id, mean(near.get(id), places)
        ?? places.get(id) ?? 0]));
      next[index] = [...next[index]]
        .sort((one, other) => (wish.get(one) ?? 0) - (wish.get(other) ?? 0));
      next[index].forEach((id, place) => places.set(id, (place + 0.5) / next[index].length));
    }
    found = next;
  }
  return found;
}

/**
 * Places along the rows: as near to the neighbours' mean as order and sizes allow.
 * @param {string[][]} rows @param {Map<string, SizedNode>} sizes
 * @param {Neighbours} before @param {Neighbours} after @param {number} gap
 * @returns {Map<string, number>}
 */
function aligned(rows, sizes, before, after, gap) {
  /** @type {Map<string, number>} */
  const places = new Map();
  const wide = (/** @type {string} */ id) => sizes.get(id)?.width ?? 0;
  for (const row of rows) {
    let x = 0;
    for (const id of row) {
      places.set(id, x + wide(id) / 2);
      x += wide(id) + gap;
    }
    for (const id of row) places.set(id, (places.get(id) ?? 0) - (x - gap) / 2);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const near = sweep % 2 === 0 ? before : after;
    for (const row of sweep % 2 === 0 ? rows : [...rows].reverse()) {
      const wishes = row.map((id) => mean(near.get(id), places) ?? places.get(id) ?? 0);
      spread(wishes, row.map(wide), gap).forEach((x, index) => places.set(row[index], x));
    }
  }
  return places;
}

/**
 * The centres nearest to those wished for, in order and without overlap (least squares: boxes that
 * touch move as one block).
 * @param {number[]} wishes @param {number[]} widths @param {number} gap
 */
export function spread(wishes, widths, gap) {
  // Without the room that those before take, the order alone is left to keep.
  /** @type {number[]} */
  const offsets = [];
  let taken = 0;
  for (const width of widths) {
    offsets.push(taken + width / 2);
    taken += width + gap;
  }
  /** @type {{ sum: number, count: number }[]} */
  const blocks = [];
  wishes.forEach((wish, index) => {
    let block = { sum: wish - offsets[index], count: 1 };
    for (let last = blocks.at(-1); last !== undefined
      && last.sum / last.count > block.sum / block.count; last = blocks.at(-1)) {
      blocks.pop();
      block = { sum: block.sum + last.sum, count: block.count + last.count };
    }
    blocks.push(block);
  });
  return blocks.flatMap(({ sum, count }) => Array.from({ length: count }, () => sum / count))
    .map((x, index) => x + offsets[index]);
}

/** @param {string[] | undefined} ids @param {Map<string, number>} places */
function mean(ids, places) {
  if (ids === undefined || ids.length === 0) return null;
  return ids.reduce((sum, id) => sum + (places.get(id) ?? 0), 0) / ids.length;
}
