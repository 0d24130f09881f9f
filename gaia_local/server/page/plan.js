// The drawing of a workflow's graph: Steps, or groups of Steps by Command, and edges between them.

import { extent } from "./extent.js";

// A graph with more Steps, more of them side by side, or more edges than this is grouped at first.
const MANY = 200;
const BROAD = 24;
const CROWDED = 1500;

/** Whether a graph is better shown by Command until the reader says otherwise. */
export function wantsGroups(graph) {
  return graph.steps.length > MANY || graph.edges.length > CROWDED
    || extent(graph.steps.map(({ step }) => step), graph.edges).breadth > BROAD;
}

/** The Steps of each Command, in the order of upload. */
export function byCommand(steps) {
  const groups = new Map();
  for (const step of steps) {
    if (!groups.has(step.command)) groups.set(step.command, []);
    groups.get(step.command).push(step);
  }
  return groups;
}

/**
 * The nodes and edges to draw. A node is `{id, kind: "step", step}` or
 * `{id, kind: "group", command, steps, open}`; a Command with one Step makes no group. An edge is
 * `{from, to, makers, readers}`: ids, and the Steps at its two ends, several if it stands for many
 * edges. A node of the kind `junction` gathers edges that all lead to the same nodes.
 */
export function plan(graph, grouped, opened) {
  const nodes = [];
  const home = new Map();
  for (const [command, steps] of byCommand(graph.steps)) {
    if (grouped && steps.length > 1) {
      const open = opened.has(command);
      const node = { id: `group ${command}`, kind: "group", command, steps, open };
      nodes.push(node);
      for (const step of steps) home.set(step.step, node);
    } else {
      for (const step of steps) {
        const node = { id: `step ${step.step}`, kind: "step", step };
        nodes.push(node);
        home.set(step.step, node);
      }
    }
  }
  const { junctions, edges } = gathered(merged(graph.edges, home));
  return { nodes: [...nodes, ...junctions], edges, home };
}

/** One edge for all that lead from one node to another; none within a node. */
function merged(edges, home) {
  const found = new Map();
  for (const edge of edges) {
    const [from, to] = [home.get(edge.from).id, home.get(edge.to).id];
    if (from === to) continue;
    const id = JSON.stringify([from, to]);
    if (!found.has(id)) found.set(id, { from, to, makers: new Set(), readers: new Set() });
    found.get(id).makers.add(edge.from);
    found.get(id).readers.add(edge.to);
  }
  return [...found.values()];
}

/** If several nodes lead to the same several others, use a junction: n + m edges, not n × m. */
function gathered(edges) {
  const leaving = new Map();
  for (const edge of edges) leaving.set(edge.from, [...(leaving.get(edge.from) ?? []), edge]);
  const alike = new Map();
  for (const [from, theirs] of leaving) {
    const ends = JSON.stringify(theirs.map((edge) => edge.to).sort());
    alike.set(ends, [...(alike.get(ends) ?? []), { from, theirs }]);
  }
  const kept = [];
  const junctions = [];
  for (const sources of alike.values()) {
    const targets = sources[0].theirs.map((edge) => edge.to);
    const all = sources.flatMap((source) => source.theirs);
    if (sources.length * targets.length <= sources.length + targets.length + 1) {
      kept.push(...all);
      continue;
    }
    const id = `junction ${junctions.length}`;
    junctions.push({ id, kind: "junction" });
    const union = (some, side) => new Set(some.flatMap((edge) => [...edge[side]]));
    for (const { from, theirs } of sources) {
      kept.push(
        { from, to: id, makers: union(theirs, "makers"), readers: union(theirs, "readers") });
    }
    for (const to of targets) {
      const ending = all.filter((edge) => edge.to === to);
      kept.push(
        { from: id, to, makers: union(ending, "makers"), readers: union(ending, "readers") });
    }
  }
  return { junctions, edges: kept };
}
