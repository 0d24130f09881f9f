// Lays graphs out, beside the page's own thread: a request is {number, task}, the answer
// {number, laid}.

import { placed, SPACE } from "./placing.js";
import dagre from "./vendor/dagre-3.1.3.esm.js";

onmessage = ({ data: { number, task } }) => {
  postMessage({ number, laid: placed(task, byDagre) });
};

function byDagre(nodes, edges, direction) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: direction, ...SPACE[direction] });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, width, height } of nodes) graph.setNode(id, { width, height });
  for (const { from, to } of edges) graph.setEdge(from, to);
  dagre.layout(graph);
  const { width, height } = graph.graph();
  const across = direction === "LR";
  const places = nodes.map(({ id }) => ({ x: graph.node(id).x, y: graph.node(id).y }));
  const rows = new Map();
  for (const node of nodes) {
    const [row, depth] = across
      ? [graph.node(node.id).x, node.width] : [graph.node(node.id).y, node.height];
    rows.set(Math.round(row), Math.max(depth, rows.get(Math.round(row)) ?? 0));
  }
  const lines = edges.map(({ from, to }) => passed(graph.edge(from, to).points, rows, across));
  if (backward(places, across)) {
    for (const point of [...places, ...lines.flat()]) {
      if (across) point.y = height - point.y;
      else point.x = width - point.x;
    }
  }
  return {
    across, width: Math.max(1, width), height: Math.max(1, height), simple: false, edges: lines,
    nodes: Object.fromEntries(nodes.map(({ id }, index) => [id, places[index]])),
  };
}

/**
 * The points where an edge enters and leaves the rows that it crosses, straight through them.
 * `rows` are the depths of rows by their middles. Every other point is half-way, for a label.
 */
function passed(points, rows, across) {
  return points.slice(1, -1).filter((point, index) => index % 2 === 1).flatMap(({ x, y }) => {
    const half = (rows.get(Math.round(across ? x : y)) ?? 0) / 2;
    return across
      ? [{ x: x - half, y }, { x: x + half, y }] : [{ x, y: y - half }, { x, y: y + half }];
  });
}

/** Whether early nodes are mostly at the ends of their rows: a mirror image reads better then. */
function backward(places, across) {
  const rows = new Map();
  places.forEach(({ x, y }, index) => {
    const [row, place] = across ? [x, y] : [y, x];
    rows.set(Math.round(row), [...(rows.get(Math.round(row)) ?? []), { index, place }]);
  });
  let sum = 0;
  for (const row of rows.values()) {
    const mean = (name) => row.reduce((total, node) => total + node[name], 0) / row.length;
    const [index, place] = [mean("index"), mean("place")];
    for (const node of row) sum += Math.sign(node.index - index) * (node.place - place);
  }
  return sum < 0;
}
