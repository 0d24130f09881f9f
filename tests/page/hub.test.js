// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused } from "../../gaia_local/server/page/api.js";
import { Hub } from "../../gaia_local/server/page/hub.js";

/** A tab's end of a port: what it heard, and how it speaks. */
class Tab {
  /** @type {any[]} */
  heard = [];
  closed = false;
  /** @type {(event: { data: any }) => void} */
  onmessage = () => {};

  /** @param {any} message */
  postMessage(message) {
    this.heard.push(message);
  }

  close() {
    this.closed = true;
  }

  /** @param {any} data */
  say(data) {
    this.onmessage({ data });
  }

  /** @param {string | null} name */
  follow(name, hidden = false) {
    this.say({ kind: "follow", name, hidden });
  }

  /** The news of the stream since the last look. */
  news() {
    const found = this.heard.filter(({ kind }) => kind === "stream");
    this.heard = [];
    return found;
  }
}

/** A hub, its tabs, and the connections that it made. */
class Stage {
  /** @type {{ names: string[], hidden: boolean, on: ConnectionListener, open: boolean }[]} */
  made = [];
  /** @param {(name: string) => Promise<unknown>} [exists] */
  constructor(exists) {
    this.hub = new Hub((names, hidden, on) => {
      const connection = { names, hidden, on, open: true };
      this.made.push(connection);
      return {
        retry() {},
        hide(away) { connection.hidden = away; },
        close() { connection.open = false; },
      };
    }, exists);
  }

  tab() {
    const tab = new Tab();
    this.hub.add(/** @type {MessagePort} */ (/** @type {unknown} */ (tab)));
    return tab;
  }

  get open() {
    return this.made.filter(({ open }) => open);
  }

  /** The server speaks. @param {any} news */
  told(news, whole = false) {
    const [{ on }] = this.open;
    on.linked(true, null, null);
    on.changed({ workflows: {}, ...news }, whole);
  }
}

const both = {
  workflows: { a: { state: "running" }, b: { state: "halted" } },
  followed: { a: { steps: { one: { state: "ready" } }, graph: "v1" }, b: { steps: {} } } };

test("one connection follows what all tabs follow, and each hears of its own", () => {
  const stage = new Stage();
  const [one, two] = [stage.tab(), stage.tab()];
  one.follow("a");
  two.follow("b");
  assert.deepEqual(stage.open.map(({ names }) => names), [["a", "b"]]);
  stage.told(both, true);
  const [first] = one.news();
  assert.deepEqual([first.follow, first.whole, first.graph], ["a", true, "v1"]);
  assert.deepEqual([...first.steps.keys()], ["one"]);
  assert.equal(two.news()[0].steps.size, 0);
  stage.told({ followed: { a: { steps: { one: { state: "running" } } } } });
  assert.equal(one.news().length, 1);
  assert.equal(two.news().length, 0);
});

test("a tab that comes later gets everything at once, as it is now", () => {
  const stage = new Stage();
  stage.tab().follow("a");
  stage.told({ ...both, followed: { a: both.followed.a } }, true);
  stage.told({
    workflows: { b: null },
    followed: { a: { steps: { one: null, two: { state: "running" } } } } });
  const late = stage.tab();
  late.follow("a");
  assert.equal(stage.made.length, 1);
  const [all] = late.news();
  assert.equal(all.whole, true);
  assert.equal(all.graph, "v1");
  assert.deepEqual([...all.steps.keys()], ["two"]);
  assert.deepEqual([...all.workflows.keys()], ["a"]);
});

test("the connection is let go when nobody looks, and ends with the last tab", () => {
  const stage = new Stage();
  const [one, two] = [stage.tab(), stage.tab()];
  one.follow("a");
  two.follow("a", true);
  assert.equal(stage.open[0].hidden, false);
  one.follow("a", true);
  assert.equal(stage.open[0].hidden, true);
  two.follow("a", false);
  assert.equal(stage.open[0].hidden, false);
  one.say({ kind: "bye" });
  assert.ok(one.closed);
  two.say({ kind: "bye" });
  assert.equal(stage.open.length, 0);
});

test("a workflow that the server refuses is no trouble for other tabs", async () => {
  const stage = new Stage(async (name) => {
    if (name === "b") throw new Refused("no workflow 'b'", 404);
  });
  const [one, two] = [stage.tab(), stage.tab()];
  one.follow("a");
  two.follow("b");
  stage.open[0].on.linked(false, "no workflow 'b'", 404);
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.deepEqual(stage.open.map(({ names }) => names), [["a"]]);
  stage.told({ workflows: { a: {} }, followed: { a: { steps: {} } } }, true);
  assert.deepEqual(one.heard.map(({ kind }) => kind), ["link", "stream"]);
  assert.deepEqual(two.heard.at(-1), { kind: "refused", follow: "b", text: "no workflow 'b'" });
  stage.told({ workflows: { b: {} } });
  assert.deepEqual(stage.open.map(({ names }) => names), [["a", "b"]], "it is there by now");
});

test("what the link is like is told once, and to each tab that comes", () => {
  const stage = new Stage();
  const one = stage.tab();
  one.follow(null);
  for (let time = 0; time < 3; time += 1) stage.open[0].on.linked(false, "no token", 401);
  assert.equal(one.heard.length, 1);
  const two = stage.tab();
  two.follow(null);
  assert.equal(two.heard[0].why, "no token");
  stage.told(both, true);
  const three = stage.tab();
  three.follow("a");
  assert.equal(three.heard[0].there, true, "though the connection is another one now");
});

test("names that objects have by themselves are names as all others", () => {
  const stage = new Stage();
  const one = stage.tab();
  one.follow("__proto__");
  stage.told(JSON.parse('{"workflows": {"__proto__": {"state": "running"}},'
    + ' "followed": {"__proto__": {"steps": {"constructor": {"state": "ready"}}}}}'), true);
  const [news] = one.news();
  assert.deepEqual([...news.workflows.keys()], ["__proto__"]);
  assert.deepEqual([...news.steps.keys()], ["constructor"]);
});
