// @ts-check
// The layout of one level of a picture: each connected part by the library where it is quick, else
// in simple rows; the parts beside each other.

import { extent } from "./extent.js";
import { layered } from "./layered.js";
import { components, shelves } from "./shelves.js";

export const SPACE = {
  TB: { nodesep: 22, ranksep: 46, edgesep: 14 },
  LR: { nodesep: 16, ranksep: 58, edgesep: 12 },
};
// The library takes a tenth of a second for so many nodes and rows crossed by edges; the time
// grows faster than their square.
const QUICK = 160;
const BETWEEN = 40;

/** @typedef {"TB" | "LR"} Direction */
/** @typedef {(nodes: SizedNode[], edges: Ends[], direction: Direction) => Laid} Library */

/**
 * @param {Task} task
 * @param {Library | null} library for parts that are small enough; null: for none
 * @returns {Laid}
 */
export function placed({ nodes, edges, room }, library) {
  const [across, other] = library === null || work(nodes, edges) > QUICK
    ? [likely(nodes, edges, room)] : /** @type {Direction[]} */ (["TB", "LR"]);
  const laid = inDirection(nodes, edges, room, across, library);
  if (other === undefined) return laid;
  // From the top down unless the other way is clearly larger on the screen.
  const turned = inDirection(nodes, edges, room, other, library);
  return scale(room, turned) > scale(room, laid) * 1.15 ? turned : laid;
}

/**
 * @param {SizedNode[]} nodes @param {Ends[]} edges @param {Size} room
 * @param {Direction} direction @param {Library | null} library @returns {Laid}
 */
function inDirection(nodes, edges, room, direction, library) {
  const known = new Map(nodes.map((node) => [node.id, node]));
  const parts = components(nodes.map(({ id }) => id), edges);
  const home = new Map(parts.flatMap((part, index) => part.map((id) => [id, index])));
  /** @type {number[][]} */
  const within = parts.map(() => []);
  edges.forEach(({ from }, index) => within[home.get(from) ?? 0].push(index));
  const laid = parts.map((part, index) => {
    const sized = part.map((id) => /** @type {SizedNode} */ (known.get(id)));
    const theirs = within[index].map((edge) => edges[edge]);
    return library === null || work(sized, theirs) > QUICK
      ? simply(sized, theirs, direction) : library(sized, theirs, direction);
  });
  const { corners, width, height } = shelves(laid, BETWEEN, room.width / room.height);
  /** @type {Record<string, Point>} */
  const places = {};
  /** @type {Point[][]} */
  const lines = edges.map(() => []);
  laid.forEach((one, index) => {
    const { x, y } = corners[index];
    const moved = (/** @type {Point} */ point) => ({ x: point.x + x, y: point.y + y });
    for (const id of parts[index]) places[id] = moved(one.nodes[id]);
    within[index].forEach((edge, nth) => { lines[edge] = (one.edges[nth] ?? []).map(moved); });
  });
  return {
    nodes: places, edges: lines, width, height, across: direction === "LR",
    simple: library === null,
  };
}

/**
 * @param {SizedNode[]} nodes @param {Ends[]} edges @param {Direction} direction @returns {Laid}
 */
function simply(nodes, edges, direction) {
  if (direction === "TB") {
    const laid = layered(nodes, edges, SPACE.TB);
    return { ...laid, edges: [], across: false, simple: false };
  }
  const turned = nodes.map(({ id, width, height }) => ({ id, width: height, height: width }));
  const laid = layered(turned, edges, SPACE.LR);
  const places = Object.entries(laid.nodes)
    .map(([id, { x, y }]) => /** @type {[string, Point]} */ ([id, { x: y, y: x }]));
  return {
    nodes: Object.fromEntries(places), width: laid.height, height: laid.width, edges: [],
    across: true, simple: false,
  };
}

/**
 * Nodes, and the rows that edges cross: what the library's time depends on.
 * @param {SizedNode[]} nodes @param {Ends[]} edges
 */
export function work(nodes, edges) {
  if (nodes.length + edges.length > QUICK) return Infinity;
  const { rows } = extent(nodes.map(({ id }) => id), edges);
  const spans = edges.map(({ from, to }) => Math.abs((rows.get(to) ?? 0) - (rows.get(from) ?? 0)));
  return nodes.length + spans.reduce((sum, span) => sum + span, 0);
}

/** The scale at which a picture fits into the room.
 * @param {Size} room @param {Size} picture
 */
function scale(room, { width, height }) {
  return Math.min(1, room.width / width, room.height / height);
}

/**
 * The direction that suits a large graph's length and breadth.
 * @param {SizedNode[]} nodes @param {Ends[]} edges @param {Size} room @returns {Direction}
 */
function likely(nodes, edges, room) {
  const { length, breadth } = extent(nodes.map(({ id }) => id), edges);
  const width = Math.max(...nodes.map((node) => node.width));
  const height = Math.max(...nodes.map((node) => node.height));
  const down = {
    width: breadth * (width + SPACE.TB.nodesep), height: length * (height + SPACE.TB.ranksep),
  };
  const across = {
    width: length * (width + SPACE.LR.ranksep), height: breadth * (height + SPACE.LR.nodesep),
  };
  return scale(room, across) > scale(room, down) ? "LR" : "TB";
}
