// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { announcement, initial, reduce } from "../../gaia_local/server/page/store.js";

/** @param {string} state @param {string} [task] @returns {StepNews} */
const at = (state, task = "t") => ({ state, task, started: 1, ended: null });

/** @param {string} state @param {object} [progress] */
const entry = (state, progress = {}) => ({
  state, properties: {}, "step-count": 2,
  progress: { steps: 2, done: 0, running: 0, failed: 0, waiting: 0, ...progress } });

/** @param {Partial<StreamNews>} news @returns {StreamNews} */
const stream = (news) => ({
  kind: "stream", follow: "w", whole: false, workflows: new Map(), steps: new Map(), graph: null,
  ...news });

/** @param {Partial<Route>} [rest] */
const route = (rest) => ({ name: "w", step: null, query: {}, ...rest });

/** @param {GraphEdge[]} edges @returns {Graph} */
const graphOf = (edges) => ({
  workflow: "w", state: "running", version: "v1", steps: [], edges, labels: [], groupings: [],
  suggested: null });

/** @param {PageState} state */
function sliceOf(state) {
  assert.ok(state.slice);
  return state.slice;
}

const begun = reduce(initial(route()), stream({
  whole: true, graph: "v1",
  workflows: new Map([["other", entry("halted")], ["w", entry("running")]]),
  steps: new Map([["a", at("running")], ["b", at("waiting")]]) }));

test("everything comes first, then changes", () => {
  const slice = sliceOf(begun);
  assert.equal(slice.version, "v1");
  assert.equal(slice.entry?.state, "running");
  assert.deepEqual([...begun.workflows?.keys() ?? []], ["other", "w"]);
  const after = reduce(begun, stream({ steps: new Map([["a", at("complete")], ["b", null]]) }));
  assert.deepEqual([...sliceOf(after).steps].map(([step, { state }]) => [step, state]),
    [["a", "complete"]]);
  assert.equal(slice.steps.get("a")?.state, "running", "what was held before isn't written to");
  assert.equal(sliceOf(after).version, "v1");
});

test("a Step's news is the same object until it changes, even after everything comes again", () => {
  const after = reduce(begun, stream({
    whole: true, graph: "v1", workflows: new Map([["w", entry("running")]]),
    steps: new Map([["a", at("running")], ["b", at("ready")]]) }));
  assert.equal(sliceOf(after).steps.get("a"), sliceOf(begun).steps.get("a"));
  assert.notEqual(sliceOf(after).steps.get("b"), sliceOf(begun).steps.get("b"));
  assert.equal(after.workflows?.has("other"), false, "it has gone meanwhile");
});

test("news of a workflow that the reader has left change nothing", () => {
  const left = reduce(begun, { kind: "route", route: route({ name: "other" }) });
  assert.equal(reduce(left, stream({ steps: new Map([["a", at("error")]]) })), left);
  const graph = graphOf([]);
  assert.equal(reduce(left, { kind: "graph", name: "w", graph }), left);
  assert.equal(sliceOf(left).steps.size, 0);
});

test("another Step or tab of the same workflow keeps what is known", () => {
  const turned = reduce(begun, { kind: "route", route: route({ step: "a" }) });
  assert.equal(turned.slice, begun.slice);
  assert.equal(turned.route.step, "a");
});

test("what wants attention is asked for only when it can have changed", () => {
  /** @param {PageState} before @param {Partial<StreamNews>} news */
  const asks = (before, news) =>
    sliceOf(reduce(before, stream(news))).due > sliceOf(before).due;
  assert.equal(asks(begun, { steps: new Map([["a", at("complete")]]) }), false);
  assert.equal(asks(begun, { steps: new Map([["b", at("ready")]]) }), false);
  assert.equal(asks(begun, { steps: new Map([["a", at("error")]]) }), true);
  assert.equal(asks(begun, { steps: new Map([["a", at("waiting")]]) }), true);
  assert.equal(asks(begun, { workflows: new Map([["w", entry("running", { done: 1 })]]) }), false);
  assert.equal(asks(begun, { workflows: new Map([["w", entry("running", { failed: 1 })]]) }), true);
  assert.equal(asks(begun, { workflows: new Map([["w", entry("complete")]]) }), true);
  assert.equal(asks(begun, { graph: "v2" }), true);
  const failed = reduce(begun, stream({ steps: new Map([["a", at("error")]]) }));
  assert.equal(asks(failed, { steps: new Map([["a", at("error", "u")]]) }), true);
  assert.equal(sliceOf(reduce(begun, { kind: "look" })).due, sliceOf(begun).due + 1);
});

test("inputs that no Step makes are found, and then Steps that stop waiting matter", () => {
  const graph = graphOf([{ from: "a", to: "b", keys: ["k:made"] }]);
  const about = { failures: [], "waiting-inputs": ["k:made", "k:none"] };
  let state = reduce(begun, { kind: "about", name: "w", about });
  assert.deepEqual(sliceOf(state).missing, []);
  state = reduce(state, { kind: "graph", name: "w", graph });
  assert.deepEqual(sliceOf(state).missing, ["k:none"]);
  const after = reduce(state, stream({ steps: new Map([["b", at("ready")]]) }));
  assert.equal(sliceOf(after).due, sliceOf(state).due + 1);
});

test("a workflow that is deleted or unknown is said so, until it is there again", () => {
  const deleted = reduce(begun, stream({ workflows: new Map([["w", null]]) }));
  assert.equal(deleted.refused, "This workflow was deleted.");
  assert.equal(reduce(deleted, stream({ workflows: new Map([["other", null]]) })).refused,
    "This workflow was deleted.");
  const back = reduce(deleted, stream({ workflows: new Map([["w", entry("running")]]) }));
  assert.equal(back.refused, null);
  const text = "no such workflow";
  assert.equal(reduce(begun, { kind: "refused", follow: "w", text }).refused, text);
  assert.equal(reduce(begun, { kind: "refused", follow: "v", text }).refused, null);
});

test("a lost connection keeps the time since when, and what was refused", () => {
  const live = reduce(begun, { kind: "link", there: true, why: null, at: 1 });
  let lost = reduce(live, { kind: "link", there: false, why: null, at: 5 });
  lost = reduce(lost, { kind: "link", there: false, why: "no token", at: 9 });
  assert.deepEqual(lost.link, { state: "lost", why: "no token", since: 5, met: true });
  assert.equal(lost.refused, "no token");
  const again = reduce(lost, { kind: "link", there: true, why: null, at: 10 });
  assert.equal(again.link.since, null);
});

test("screen readers hear of the workflow's state and of Steps that fail, not of the rest", () => {
  /** @param {Partial<StreamNews>} news */
  const heard = (news) => announcement(begun, reduce(begun, stream(news)));
  assert.equal(heard({ workflows: new Map([["w", entry("complete")]]) }), "Workflow: complete.");
  assert.equal(heard({ steps: new Map([["a", at("error")]]) }), "Step a: error.");
  assert.equal(heard({ steps: new Map([["a", at("error")], ["b", at("exception")]]) }),
    "2 Steps failed.");
  assert.equal(heard({ steps: new Map([["a", at("complete")]]) }), null);
  assert.equal(heard({ steps: new Map([["new", at("error")]]) }), null);
  assert.equal(announcement(initial(route()), begun), null);
});
