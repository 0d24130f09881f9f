// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { arrange } from "../../gaia_local/server/page/arrange.js";
import {
  first, fitted, READABLE, revealed, seen, shows, zoomed,
} from "../../gaia_local/server/page/fitting.js";
import {
  around, brief, drawnGroups, isOpen, opened, summary,
} from "../../gaia_local/server/page/groups.js";
import { layered, spread } from "../../gaia_local/server/page/layered.js";
import { placed, work } from "../../gaia_local/server/page/placing.js";
import { plan } from "../../gaia_local/server/page/plan.js";
import { components, shelves, snake } from "../../gaia_local/server/page/shelves.js";
import { Told } from "../../gaia_local/server/page/told.js";

const ROOM = { width: 1200, height: 700 };

/** A graph of edges written `ab`: each letter is a Step, and its own Command.
 * @param {string} steps @param {string[]} edges @returns {Graph} */
function graph(steps, edges) {
  return graphOf([...steps], edges.map(([from, to]) => [from, to]));
}

/** @param {string[]} names @param {string[][]} edges @returns {Graph} */
function graphOf(names, edges) {
  return {
    workflow: "w", state: "running", version: "1", labels: names, groupings: [], suggested: null,
    steps: names.map((step) => ({ step, command: step, state: "waiting" })),
    edges: edges.map(([from, to]) => ({ from, to, keys: [`k:${from}`] })),
  };
}

/** @param {number} count */
function chain(count) {
  const names = Array.from({ length: count }, (_, index) => `s${index}`);
  return graphOf(names, names.slice(1).map((name, index) => [names[index], name]));
}

/** @param {string} id @param {number[]} steps @param {Group[]} groups @returns {Group} */
const group = (id, steps, groups = []) => ({ id, name: id, steps, groups });

/** @param {Group[]} groups */
const drawn = (groups) => drawnGroups({ by: "name", label: "name", groups });

const none = new Set();

test("edges from many to many run through a junction", () => {
  const edges = [..."abc"].flatMap((from) => [..."wxyz"].map((to) => from + to));
  const found = plan(graph("abcwxyz", edges), [], none);
  assert.deepEqual(found.nodes.map(({ kind }) => kind), [...Array(7).fill("step"), "junction"]);
  assert.equal(found.edges.length, 7);
  const [into] = found.edges;
  assert.deepEqual([into.from, into.to, into.links], ["step 0", "junction 0", [0, 1, 2, 3]]);
  assert.deepEqual(found.edges.at(-1)?.links, [3, 7, 11]);
});

test("a closed group is one node, an opened one holds its Steps, one level at a time", () => {
  const groups = drawn([group("all", [1, 2, 3, 4], [group("ab", [1, 2]), group("cd", [3, 4])])]);
  const made = graph("rabcde", ["ra", "ab", "bc", "cd", "de"]);
  const closed = plan(made, groups, none);
  assert.deepEqual(closed.nodes.map(({ id }) => id), ["step 0", "group all", "step 5"]);
  assert.deepEqual(closed.edges.map(({ from, to }) => `${from} > ${to}`),
    ["step 0 > group all", "group all > step 5"]);
  const [, outer] = plan(made, groups, new Set(["all"])).nodes;
  assert.equal(outer.kind, "group");
  const { inside } = /** @type {GroupNode} */ (outer);
  assert.deepEqual(inside?.nodes.map(({ id }) => id), ["group ab", "group cd"]);
  assert.deepEqual(inside?.edges.map(({ links }) => links), [[2]]);
});

test("a group of one Step is drawn as the Step", () => {
  const found = plan(graph("ab", ["ab"]), drawn([group("a", [0]), group("b", [1])]), none);
  assert.deepEqual(found.nodes.map(({ id }) => id), ["step 0", "step 1"]);
});

test("a Step is around in its groups, and composites are open from the first", () => {
  const groups = drawn([group("all", [0, 1, 2], [group("in", [1, 2])])]);
  assert.deepEqual(groups[0].own, [0]);
  assert.deepEqual(around(groups, 2).map(({ id }) => id), ["all", "in"]);
  assert.deepEqual(around(groups, 9), []);
  const [all] = opened(groups);
  assert.ok(isOpen(all, none) && isOpen(all.groups[0], none) && !isOpen(all, new Set(["all"])));
});

test("a chain of 40 folds into rows, one of 100 into a closed group, one of 11 stays", () => {
  const [row] = plan(chain(40), [], none).nodes;
  assert.equal(row.kind, "group");
  const { group: folded, inside } = /** @type {GroupNode} */ (row);
  assert.deepEqual([folded.name, inside?.nodes.length, inside?.edges.length],
    ["40 in a row", 40, 39]);
  assert.equal(plan(chain(40), [], new Set([folded.id])).nodes[0].kind, "group");
  assert.equal(/** @type {GroupNode} */ (plan(chain(100), [], none).nodes[0]).inside, null);
  assert.equal(plan(chain(11), [], none).nodes.length, 11);
});

test("what leads into a folded chain and out of it stays, and nothing is lost", () => {
  const { steps, edges } = chain(20);
  const made = { ...graphOf(["x", "y", ...steps.map(({ step }) => step), "z"], [
    ["x", "s0"], ["y", "s0"], ...edges.map(({ from, to }) => [from, to]), ["s19", "z"], ["y", "z"],
  ]) };
  const found = plan(made, [], none);
  assert.deepEqual(found.nodes.map(({ kind }) => kind), ["step", "step", "group", "step"]);
  assert.deepEqual(found.edges.map(({ from, to }) => `${from} > ${to}`).sort(),
    ["group row 2 > step 22", "step 0 > group row 2", "step 1 > group row 2", "step 1 > step 22"]);
});

test("a simple layout has rows by dependency, and no two boxes overlap", () => {
  const ids = Array.from({ length: 200 }, (_, index) => `n${index}`);
  const nodes = ids.map((id) => ({ id, width: 100, height: 40 }));
  const edges = ids.slice(1).map((id, index) => ({ from: ids[index >> 2], to: id }));
  const { nodes: at, width, height } = layered(nodes, edges, { nodesep: 20, ranksep: 40 });
  for (const { from, to } of edges) assert.ok(at[from].y < at[to].y, `${from} above ${to}`);
  const boxes = ids.map((id) => at[id]);
  boxes.forEach((one, index) => boxes.slice(0, index).forEach((other) => {
    assert.ok(Math.abs(one.x - other.x) >= 119.9 || Math.abs(one.y - other.y) >= 79.9);
  }));
  for (const { x, y } of boxes)
    assert.ok(x >= 49.9 && x <= width - 49.9 && y >= 20 && y <= height - 20);
});

test("a simple layout of a circle has all nodes", () => {
  const nodes = [..."abc"].map((id) => ({ id, width: 10, height: 10 }));
  const edges = [{ from: "a", to: "b" }, { from: "b", to: "c" }, { from: "c", to: "a" }];
  assert.deepEqual(Object.keys(layered(nodes, edges, { nodesep: 1, ranksep: 1 }).nodes).sort(),
    ["a", "b", "c"]);
});

test("boxes that want the same place share the way", () => {
  assert.deepEqual(spread([50, 50], [10, 10], 10), [40, 60]);
  assert.deepEqual(spread([0, 100], [10, 10], 10), [0, 100]);
});

test("parts without an edge between them lie beside each other, in a shape like the room's", () => {
  const nodes = Array.from({ length: 60 }, (_, index) => (
    { id: `n${index}`, width: 120, height: 50 }));
  const { width, height } = placed({ nodes, edges: [], room: ROOM }, null);
  assert.ok(width / height > 1 && width / height < 3, `${width} × ${height}`);
  assert.deepEqual(components(["a", "b", "c"], [{ from: "a", to: "c" }]), [["a", "c"], ["b"]]);
});

test("a deep graph turns left to right where that is larger", () => {
  const nodes = Array.from({ length: 9 }, (_, index) => (
    { id: `n${index}`, width: 100, height: 50 }));
  const edges = nodes.slice(1).map(({ id }, index) => ({ from: `n${index}`, to: id }));
  assert.equal(placed({ nodes, edges, room: { width: 1600, height: 300 } }, null).across, true);
  assert.equal(placed({ nodes, edges, room: { width: 300, height: 1600 } }, null).across, false);
  assert.ok(work(nodes, edges) === 17 && work(Array(500).fill(nodes[0]), []) === Infinity);
});

test("shelves and snakes keep the order", () => {
  const { corners, width } = shelves(Array(10).fill({ width: 10, height: 10 }), 0, 1);
  assert.deepEqual(corners[0], { x: 0, y: 0 });
  assert.ok(width <= 50);
  const rows = snake(6, { width: 10, height: 10 }, { width: 10, height: 10 }, 1);
  assert.deepEqual(rows.corners.map(({ x, y }) => [x / 20, y / 20]),
    [[0, 0], [1, 0], [1, 1], [0, 1], [0, 2], [1, 2]]);
});

test("a picture has an item for each Step in sight, and frames around what they hold", async () => {
  const layout = async (/** @type {Task} */ task) => placed(task, null);
  const groups = opened(drawn([group("in", [1, 2])]));
  const planned = plan(graph("abcd", ["ab", "bc", "cd"]), groups, none);
  const { items, lines } = await arrange(planned, { step: 120, tile: 90 }, ROOM, layout);
  assert.deepEqual(items.map(({ id }) => id), ["step 0", "group in", "step 1", "step 2", "step 3"]);
  assert.equal(lines.length, 3);
  const [, frame, inner] = items;
  assert.ok(inner.x > frame.x && inner.y > frame.y && inner.x + 120 < frame.x + frame.width);
});

test("very many Steps of a group are dots, and 300 edges to one end are thin", async () => {
  const layout = async (/** @type {Task} */ task) => placed(task, null);
  const names = Array.from({ length: 701 }, (_, index) => `s${index}`);
  const made = graphOf(names, []);
  const groups = drawn([group("all", names.map((_, index) => index))]);
  const { items } = await arrange(
    plan(made, groups, new Set(["all"])), { step: 120, tile: 90 }, ROOM, layout);
  assert.ok(items.slice(1).every(({ kind }) => kind === "dot"));
  const fan = graphOf(names.slice(0, 300), names.slice(1, 300).map((name) => [name, "s0"]));
  const { lines } = await arrange(plan(fan, [], none), { step: 120, tile: 90 }, ROOM, layout);
  assert.ok(lines.length === 299 && lines.every(({ faint }) => faint));
});

test("fitting shows all of a picture, however large", () => {
  const whole = { x: 0, y: 0, width: 27_000, height: 25_000 };
  const sight = fitted(whole, ROOM);
  assert.ok(shows(seen(sight, { width: 1244, height: 744 }), whole));
  const small = zoomed(sight, 1 / 1.25, { x: 0, y: 0 }, sight.scale);
  assert.equal(small.scale, sight.scale);
  assert.ok(zoomed(sight, 1.25, { x: 0, y: 0 }, sight.scale).scale > sight.scale);
});

test("the first sight is all, or where that can't be read, the part that matters", () => {
  const failed = { x: 9000, y: 4000, width: 100, height: 50 };
  const window = { width: 1244, height: 744 };
  assert.equal(first({ width: 800, height: 600 }, [failed], ROOM).scale, 1);
  assert.ok(first({ width: 20_000, height: 9000 }, [], ROOM).scale < READABLE);
  for (const parts of [[failed], [failed, { ...failed, x: 100 }]]) {
    const sight = first({ width: 20_000, height: 9000 }, parts, ROOM);
    const part = seen(sight, window);
    assert.ok(sight.scale >= READABLE);
    assert.ok(parts.some(({ x, y }) => (
      x > part.x && x + 100 < part.x + part.width && y > part.y && y < part.y + part.height)));
  }
  const near = revealed({ x: 0, y: 0, scale: 1 }, { ...failed, x: 2000, y: 0 }, ROOM);
  assert.equal(near.x, 22 + 1200 - 2100);
});

/** @param {string} state @param {number} took @returns {StepNews} */
const news = (state, took) => ({ state, task: "t", started: 100, ended: 100 + took });

test("a group says how many Steps, in which states, and how long they took", () => {
  const found = summary([news("complete", 4), news("complete", 2), news("error", 9),
    { state: "running", started: 5, ended: null }]);
  assert.deepEqual([...found.counts], [["error", 1], ["running", 1], ["complete", 2]]);
  assert.deepEqual([found.total, found.median, found.timed], [15, 4, 3]);
  assert.equal(summary([news("complete", 1), news("complete", 2)]).median, 1.5);
  assert.equal(summary([]).median, 0);
  assert.deepEqual([0.01, 4.25, 59.7, 125, 90_000].map(brief),
    ["< 0.1 s", "4.3 s", "1 min", "2 min 5 s", "1 d 1 h"]);
});

test("news of Steps are told once, and change what is said of their group", () => {
  const made = graph("ab", ["ab"]);
  const told = new Told(made);
  const [all] = drawn([group("all", [0, 1])]);
  const one = new Map([["a", news("complete", 3)], ["b", news("running", 0)]]);
  assert.deepEqual([...told.hear(one)], [0, 1]);
  assert.deepEqual([...told.hear(new Map(one))], []);
  assert.equal(told.spokenGroup(all),
    "Group all, 2 Steps: 1 running, 1 complete; 3.0 s in all, median 1.5 s");
  assert.deepEqual([...told.hear(new Map([...one, ["b", news("error", 5)]]))], [1]);
  assert.match(told.spokenGroup(all), /1 error, 1 complete/);
  assert.deepEqual([...told.urgent()], [1]);
  assert.ok(told.wanted(1, "failed") && !told.wanted(0, "failed") && told.wanted(0, undefined));
});

test("an edge tells its keys, and a Step those that it shares", () => {
  const told = new Told(graph("abc", ["ab", "ac"]));
  assert.equal(told.edge([0]), "a → b: k:a");
  assert.equal(told.edge([0, 1]), "a → 2 Steps: k:a");
  assert.equal(told.keys(0), "a makes k:a for b and c");
  assert.equal(told.keys(1), "b reads k:a from a");
  assert.equal(new Told(graph("a", [])).keys(0), "a shares no key with another Step");
});
