// @ts-check
// What to draw of a workflow's graph: Steps, groups of Steps, long chains as rows, and edges.

import { isOpen } from "./groups.js";

// At least so many Steps one after the other are folded into rows.
const FOLDED = 12;
// A chain of more than that is drawn as a closed group at first.
const LONG = 60;

/**
 * The nodes and edges of a graph, and within each open group its own.
 * @param {Pick<Graph, "steps" | "edges">} graph
 * @param {DrawnGroup[]} groups
 * @param {ReadonlySet<string>} turned the groups that the reader opened or closed, by id
 * @returns {Level}
 */
export function plan(graph, groups, turned) {
  const places = new Map(graph.steps.map(({ step }, index) => [step, index]));
  const ends = graph.edges.map(({ from, to }) => (
    /** @type {[number, number]} */ ([places.get(from), places.get(to)])));
  const grouped = new Set(groups.flatMap(({ steps }) => steps));
  const own = graph.steps.map((_, index) => index).filter((index) => !grouped.has(index));
  return level(own, groups, ends, ends.map((_, index) => index), turned);
}

/**
 * @param {number[]} own @param {DrawnGroup[]} groups @param {[number, number][]} ends
 * @param {number[]} links those with both ends here @param {ReadonlySet<string>} turned
 * @returns {Level}
 */
function level(own, groups, ends, links, turned) {
  const kept = groups.filter(({ steps }) => steps.length > 1);
  const alone = groups.flatMap(({ steps }) => (steps.length === 1 ? steps : []));
  /** @type {Map<number, PlanNode>} */
  const home = new Map();
  /** @type {[number, StepNode | GroupNode][]} */
  const nodes = [...own, ...alone]
    .map((step) => [step, { id: `step ${step}`, kind: "step", step }]);
  for (const group of kept)
    nodes.push([group.steps[0], { id: `group ${group.id}`, kind: "group", group, inside: null }]);
  nodes.sort(([one], [other]) => one - other);
  for (const [, node] of nodes)
    for (const step of node.kind === "group" ? node.group.steps : [node.step]) home.set(step, node);

  /** @type {Map<string, number[]>} */
  const within = new Map();
  /** @type {Map<string, PlanEdge>} */
  const edges = new Map();
  for (const link of links) {
    const [from, to] = ends[link].map((step) => /** @type {PlanNode} */ (home.get(step)));
    if (from === to) {
      add(within, from.id, link);
      continue;
    }
    const id = JSON.stringify([from.id, to.id]);
    const found = edges.get(id);
    if (found !== undefined) found.links.push(link);
    else edges.set(id, { from: from.id, to: to.id, links: [link] });
  }
  for (const [, node] of nodes) {
    if (node.kind === "group" && isOpen(node.group, turned)) {
      const { group } = node;
      node.inside = level(group.own, group.groups, ends, within.get(node.id) ?? [], turned);
    }
  }
  return gathered(folded(nodes.map(([, node]) => node), [...edges.values()], turned));
}

/**
 * Long chains of Steps become groups of their own: `40 in a row`.
 * @param {PlanNode[]} nodes @param {PlanEdge[]} edges @param {ReadonlySet<string>} turned
 * @returns {Level}
 */
function folded(nodes, edges, turned) {
  /** @type {Map<string, PlanEdge[]>} */
  const into = new Map();
  /** @type {Map<string, PlanEdge[]>} */
  const out = new Map();
  for (const edge of edges) {
    add(into, edge.to, edge);
    add(out, edge.from, edge);
  }
  const known = new Map(nodes.map((node) => [node.id, node]));
  /** The Step after this one, if nothing else follows it and it follows nothing else.
   * @param {PlanNode} node @returns {StepNode | null} */
  const after = (node) => {
    const leaving = out.get(node.id) ?? [];
    if (node.kind !== "step" || leaving.length !== 1) return null;
    const found = known.get(leaving[0].to);
    return found?.kind === "step" && into.get(found.id)?.length === 1 ? found : null;
  };
  const followers = new Set(nodes.map((node) => after(node)?.id));
  /** @type {Map<string, GroupNode>} */
  const home = new Map();
  for (const node of nodes) {
    if (followers.has(node.id) || node.kind !== "step") continue;
    const row = [node];
    for (let next = after(node); next !== null; next = after(next)) row.push(next);
    if (row.length < FOLDED) continue;
    const steps = row.map(({ step }) => step);
    const group = {
      id: `row ${node.step}`, name: `${row.length} in a row`, by: "row", steps, own: steps,
      groups: [], startsOpen: row.length <= LONG,
    };
    /** @type {GroupNode} */
    const folding = { id: `group ${group.id}`, kind: "group", group, inside: null };
    if (isOpen(group, turned)) {
      const ids = new Set(row.map(({ id }) => id));
      const inner = edges.filter(({ from, to }) => ids.has(from) && ids.has(to));
      folding.inside = { nodes: row, edges: inner };
    }
    for (const { id } of row) home.set(id, folding);
  }
  if (home.size === 0) return { nodes, edges };
  const at = (/** @type {string} */ id) => home.get(id)?.id ?? id;
  return {
    nodes: [...new Set(nodes.map((node) => home.get(node.id) ?? node))],
    edges: edges.map((edge) => ({ ...edge, from: at(edge.from), to: at(edge.to) }))
      .filter(({ from, to }) => from !== to),
  };
}

/**
 * If several nodes lead to the same several others, use a junction: n + m edges, not n × m.
 * @param {Level} level @returns {Level}
 */
function gathered({ nodes, edges }) {
  /** @type {Map<string, PlanEdge[]>} */
  const leaving = new Map();
  for (const edge of edges) add(leaving, edge.from, edge);
  /** @type {Map<string, PlanEdge[][]>} */
  const alike = new Map();
  for (const theirs of leaving.values())
    add(alike, JSON.stringify(theirs.map(({ to }) => to).sort()), theirs);
  /** @type {PlanEdge[]} */
  const kept = [];
  /** @type {JunctionNode[]} */
  const junctions = [];
  for (const sources of alike.values()) {
    const targets = sources[0].map(({ to }) => to);
    const all = sources.flat();
    if (sources.length * targets.length <= sources.length + targets.length + 1) {
      kept.push(...all);
      continue;
    }
    const id = `junction ${junctions.length}`;
    junctions.push({ id, kind: "junction" });
    for (const theirs of sources)
      kept.push({ from: theirs[0].from, to: id, links: theirs.flatMap(({ links }) => links) });
    for (const to of targets) {
      const links = all.flatMap((edge) => (edge.to === to ? edge.links : []));
      kept.push({ from: id, to, links });
    }
  }
  return { nodes: [...nodes, ...junctions], edges: kept };
}

/**
 * @template K, V
 * @param {Map<K, V[]>} lists @param {K} key @param {V} value
 */
function add(lists, key, value) {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
