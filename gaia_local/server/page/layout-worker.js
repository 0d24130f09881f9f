// Lays graphs out, beside the page's own thread. A request is
// {id, nodes: [{id, width, height}], edges: [{from, to}], room: {width, height}}, the answer
// {id, across, width, height, nodes: {id: {x, y}}, edges: [[{x, y}…]]}, with x and y of centres.

import { extent } from "./extent.js";
import dagre from "./vendor/dagre-3.1.3.esm.js";

const SPACE = {
  TB: { nodesep: 22, ranksep: 46, edgesep: 14 },
  LR: { nodesep: 16, ranksep: 58, edgesep: 12 },
};
// Up to so many nodes both directions are tried, which takes milliseconds; else the likely one.
const BOTH = 120;

onmessage = ({ data }) => {
  const directions = data.nodes.length <= BOTH ? ["TB", "LR"] : [likely(data)];
  const tried = directions.map((direction) => laid(data, direction));
  // From the top down unless the other way is clearly larger on the screen.
  const best =
    tried.reduce((one, other) => (fit(data, other) > fit(data, one) * 1.15 ? other : one));
  postMessage({ id: data.id, ...best });
};

/** The scale at which a picture fits into the room. */
function fit({ room }, { width, height }) {
  return Math.min(1, room.width / width, room.height / height);
}

function laid(data, direction) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: direction, ...SPACE[direction] });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, width, height } of data.nodes) graph.setNode(id, { width, height });
  for (const { from, to } of data.edges) graph.setEdge(from, to);
  dagre.layout(graph);
  const { width, height } = graph.graph();
  const across = direction === "LR";
  const places = data.nodes.map(({ id }) => ({ x: graph.node(id).x, y: graph.node(id).y }));
  const lines = data.edges.map(({ from, to }) => graph.edge(from, to).points);
  if (backward(places, across)) {
    for (const point of [...places, ...lines.flat()]) {
      if (across) point.y = height - point.y;
      else point.x = width - point.x;
    }
  }
  return {
    across, width: Math.max(1, width), height: Math.max(1, height),
    nodes: Object.fromEntries(data.nodes.map(({ id }, index) => [id, places[index]])), edges: lines,
  };
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

/** The direction that suits a large graph's length and breadth. */
function likely(data) {
  const { length, breadth } = extent(data.nodes.map(({ id }) => id), data.edges);
  const [width, height] = ["width", "height"]
    .map((side) => Math.max(...data.nodes.map((node) => node[side])));
  const sizes = {
    TB: {
      width: breadth * (width + SPACE.TB.nodesep), height: length * (height + SPACE.TB.ranksep),
    },
    LR: {
      width: length * (width + SPACE.LR.ranksep), height: breadth * (height + SPACE.LR.nodesep),
    },
  };
  return fit(data, sizes.LR) > fit(data, sizes.TB) ? "LR" : "TB";
}
