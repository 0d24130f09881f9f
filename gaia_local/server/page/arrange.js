// @ts-check
// The places of all that a picture shows: each level laid out by itself, the innermost first.

import { shelves, snake } from "./shelves.js";

const STEP_HEIGHT = 50;
const GROUP = { width: 248, height: 100 };
export const HEAD = 46;
const PAD = 14;
const TILE_HEIGHT = 28;
const DOT = 22; // A Step in a group of very many is its sign alone.
const NAMED = 600;
const GAP = 7;
// With more nodes an opened group shows no edges, but its Steps in rows.
const WOVEN = 80;
const ROW = 5; // A chain in a group is in rows if it has so many Steps.
const CROWDED = 24; // So many edges at one end are drawn thinly.

/** @typedef {{ step: number, tile: number }} Widths */
/** @typedef {{ from: Box, to: Box, points: Point[], across: boolean, links: number[],
 *   arrow: boolean, faint: boolean, straight: boolean }} Bow */
/** @typedef {Size & { items: Item[], boxes: Box[], bows: Bow[], simple: boolean }} Part */

/**
 * The picture of a plan.
 * @param {Level} plan
 * @param {Widths} widths of all Steps, as nodes and as tiles
 * @param {Size} room
 * @param {(task: Task) => Promise<Laid>} layout
 * @returns {Promise<Picture>}
 */
export async function arrange(plan, widths, room, layout) {
  const { items, bows, width, height, simple } = await woven(plan, widths, room, layout);
  return {
    items, width, height, simple,
    lines: bows.map((bow) => (
      { path: path(bow), links: bow.links, arrow: bow.arrow, faint: bow.faint })),
  };
}

/**
 * A level as a graph.
 * @param {Level} plan @param {Widths} widths @param {Size} room
 * @param {(task: Task) => Promise<Laid>} layout @returns {Promise<Part>}
 */
async function woven(plan, widths, room, layout) {
  const parts = await Promise.all(plan.nodes.map((node) => (
    part(node, widths, room, layout, false))));
  const nodes = plan.nodes.map(({ id }, index) => (
    { id, width: parts[index].width, height: parts[index].height }));
  const laid = await layout(
    { nodes, edges: plan.edges.map(({ from, to }) => ({ from, to })), room });
  plan.nodes.forEach(({ id }, index) => {
    const { x, y } = laid.nodes[id];
    move(parts[index], x - parts[index].width / 2, y - parts[index].height / 2);
  });
  const frames = new Map(plan.nodes.map((node, index) => [node, parts[index].boxes[0]]));
  const known = new Map(plan.nodes.map((node) => [node.id, node]));
  const crowd = new Map();
  for (const { from, to } of plan.edges)
    for (const end of [`from ${from}`, `to ${to}`]) crowd.set(end, (crowd.get(end) ?? 0) + 1);
  const bows = plan.edges.map(({ from, to, links }, index) => {
    const [start, end] = [from, to].map((id) => /** @type {PlanNode} */ (known.get(id)));
    return {
      links, points: laid.edges[index] ?? [], across: laid.across, straight: false,
      from: /** @type {Box} */ (frames.get(start)), to: /** @type {Box} */ (frames.get(end)),
      arrow: end.kind !== "junction",
      faint: Math.max(crowd.get(`from ${from}`), crowd.get(`to ${to}`)) >= CROWDED,
    };
  });
  return {
    items: parts.flatMap(({ items }) => items), boxes: parts.flatMap(({ boxes }) => boxes),
    bows: [...parts.flatMap((one) => one.bows), ...bows], width: laid.width, height: laid.height,
    simple: laid.simple || parts.some(({ simple }) => simple),
  };
}

/**
 * One node at (0, 0): its own box is the first one.
 * @param {PlanNode} node @param {Widths} widths @param {Size} room
 * @param {(task: Task) => Promise<Laid>} layout
 * @param {boolean} small whether a Step is a tile @param {boolean} dots or a mere sign
 * @returns {Promise<Part>}
 */
async function part(node, widths, room, layout, small, dots = false) {
  if (node.kind === "junction") return alone({ x: 0, y: 0, width: 1, height: 1 }, []);
  const at = { x: 0, y: 0, id: node.id };
  if (node.kind === "step") {
    /** @type {"step" | "tile" | "dot"} */
    const kind = dots ? "dot" : small ? "tile" : "step";
    const size = {
      step: { width: widths.step, height: STEP_HEIGHT },
      tile: { width: widths.tile, height: TILE_HEIGHT }, dot: { width: DOT, height: DOT },
    }[kind];
    /** @type {Item} */
    const item = { ...at, ...size, kind, step: node.step, group: null, open: false };
    return alone(item, [item]);
  }
  /** @type {Item} */
  const head = {
    ...at, ...GROUP, kind: "group", step: -1, group: node.group, open: node.inside !== null,
  };
  if (node.inside === null) return alone(head, [head]);
  const shape = { width: room.width, height: Math.max(1, room.height - HEAD) };
  const inside = await inner(node.inside, widths, shape, layout);
  head.width = Math.max(GROUP.width, inside.width + 2 * PAD);
  move(inside, (head.width - inside.width) / 2, HEAD);
  head.height = HEAD + inside.height + PAD;
  return {
    items: [head, ...inside.items], boxes: [head, ...inside.boxes], bows: inside.bows,
    width: head.width, height: head.height, simple: inside.simple,
  };
}

/** @param {Box} box @param {Item[]} items @returns {Part} */
function alone(box, items) {
  return { items, boxes: [box], bows: [], width: box.width, height: box.height, simple: false };
}

/**
 * What an opened group holds: rows of a chain, a graph, or many Steps side by side.
 * @param {Level} level @param {Widths} widths @param {Size} room
 * @param {(task: Task) => Promise<Laid>} layout @returns {Promise<Part>}
 */
async function inner(level, widths, room, layout) {
  const chain = chained(level);
  if (chain === null && level.edges.length > 0 && level.nodes.length <= WOVEN)
    return woven(level, widths, room, layout);
  const nodes = chain ?? level.nodes.filter(({ kind }) => kind !== "junction");
  const row = chain !== null;
  const dots = nodes.length > NAMED;
  const small = !row || nodes.length > WOVEN;
  const parts = await Promise.all(nodes.map((each) => (
    part(each, widths, room, layout, small, dots))));
  const ratio = Math.max(0.7, Math.min(2.2, room.width / room.height));
  const placed = row && !dots
    ? snake(nodes.length, parts[0], { width: 34, height: 26 }, ratio)
    : shelves(parts, GAP, ratio);
  parts.forEach((each, index) => move(each, placed.corners[index].x, placed.corners[index].y));
  const boxes = parts.map((each) => each.boxes[0]);
  const at = new Map(nodes.map(({ id }, index) => [id, boxes[index]]));
  const bows = !row || dots ? [] : level.edges.map(({ from, to, links }) => ({
    links, points: [], across: true, straight: true, arrow: true, faint: false,
    from: /** @type {Box} */ (at.get(from)), to: /** @type {Box} */ (at.get(to)),
  }));
  return {
    items: parts.flatMap(({ items }) => items), boxes: parts.flatMap((each) => each.boxes),
    bows: [...parts.flatMap((each) => each.bows), ...bows],
    width: placed.width, height: placed.height, simple: parts.some(({ simple }) => simple),
  };
}

/**
 * The Steps of a level in their order, if all are one chain that is worth rows.
 * @param {Level} level @returns {StepNode[] | null}
 */
function chained({ nodes, edges }) {
  const steps = nodes.filter((node) => node.kind === "step");
  if (steps.length < ROW || steps.length < nodes.length || edges.length !== nodes.length - 1)
    return null;
  const after = new Map(edges.map(({ from, to }) => [from, to]));
  const later = new Set(after.values());
  if (after.size < edges.length || later.size < edges.length) return null;
  const known = new Map(steps.map((step) => [step.id, step]));
  const found = [];
  for (let next = steps.find(({ id }) => !later.has(id)); next !== undefined;
    next = known.get(after.get(next.id) ?? "")) found.push(next);
  return found.length === steps.length ? found : null;
}

/** @param {Part} moved @param {number} x @param {number} y */
function move({ boxes, bows }, x, y) {
  for (const box of boxes) {
    box.x += x;
    box.y += y;
  }
  for (const { points } of bows) {
    for (const point of points) {
      point.x += x;
      point.y += y;
    }
  }
}

/** A line that leaves and enters boxes in the reading direction. @param {Bow} bow */
function path({ from, to, points, across, straight }) {
  const middle = (/** @type {Box} */ box) => (
    { x: box.x + box.width / 2, y: box.y + box.height / 2 });
  const [one, other] = [middle(from), middle(to)];
  if (straight) {
    const level = Math.abs(one.y - other.y) < 1;
    const sign = Math.sign(level ? other.x - one.x : other.y - one.y);
    const end = (
      /** @type {Point} */ { x, y }, /** @type {Box} */ box, /** @type {number} */ way,
    ) => (level ? { x: x + way * box.width / 2, y } : { x, y: y + way * box.height / 2 });
    return line([end(one, from, sign), end(other, to, -sign)]);
  }
  const ends = across
    ? [{ x: from.x + from.width, y: one.y }, { x: to.x, y: other.y }]
    : [{ x: one.x, y: from.y + from.height }, { x: other.x, y: to.y }];
  const forward = across ? ends[0].x <= ends[1].x : ends[0].y <= ends[1].y;
  if (!forward && points.length > 0) return line(points);
  return curve([ends[0], ...points, ends[1]], across);
}

/** @param {Point[]} points @param {boolean} across */
function curve(points, across) {
  let found = `M${spot(points[0])}`;
  for (let index = 1; index < points.length; index += 1) {
    const [one, other] = [points[index - 1], points[index]];
    const middle = across ? (one.x + other.x) / 2 : (one.y + other.y) / 2;
    const [first, second] = across
      ? [{ x: middle, y: one.y }, { x: middle, y: other.y }]
      : [{ x: one.x, y: middle }, { x: other.x, y: middle }];
    found += `C${spot(first)} ${spot(second)} ${spot(other)}`;
  }
  return found;
}

/** @param {Point[]} points */
function line(points) {
  return `M${points.map(spot).join("L")}`;
}

/** @param {Point} point */
function spot({ x, y }) {
  return `${x.toFixed(1)},${y.toFixed(1)}`;
}
