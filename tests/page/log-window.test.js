// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { around, elementAt, fromBar, height, MOST_HEIGHT, toBar }
  from "../../gaia_local/server/page/log-window.js";
import { random } from "./random.js";

test("a scroll bar is as long as its log, up to what browsers can draw", () => {
  assert.equal(height(100, 18), 1800);
  assert.equal(height(20_000_000, 18), MOST_HEIGHT);
});

test("places and the scroll bar's are each other's inverses, and keep their order", () => {
  const { whole } = random(2);
  for (let round = 0; round < 5000; round += 1) {
    const room = 1 + whole(8_000_000);
    const longest = room + whole(400_000_000);
    const [one, other] = [whole(longest + 1), whole(longest + 1)].sort((a, b) => a - b);
    const bars = [toBar(one, longest, room), toBar(other, longest, room)];
    assert.ok(bars[0] <= bars[1] && bars[0] >= 0 && bars[1] <= room);
    assert.ok(Math.abs(fromBar(bars[0], longest, room) - one) < 1e-3);
  }
});

test("both ends are exact: a pixel of the bar is one of the log", () => {
  const [longest, room] = [360_000_000, 8_000_000];
  for (const near of [0, 1, 500, 100_000]) {
    assert.equal(toBar(near, longest, room), near);
    assert.equal(toBar(longest - near, longest, room), room - near);
  }
  assert.equal(toBar(5, 0, 0), 0);
  assert.equal(fromBar(5, 0, 0), 0);
  assert.equal(toBar(-5, 100, 100), 0);
  assert.equal(toBar(1e9, 100, 100), 100);
});

test("the lines around a place are within the log", () => {
  assert.deepEqual(around(1, 20, 30, 0), [1, 0]);
  assert.deepEqual(around(1, 20, 30, 10), [1, 10]);
  assert.deepEqual(around(500, 20, 30, 1000), [470, 550]);
  assert.deepEqual(around(5000, 20, 30, 1000), [970, 1000]);
});

test("an element is found by its place", () => {
  const places = [0, 10, 40, 41];
  /** @param {number} place */
  const at = (place) => elementAt(places.length, (index) => places[index], place);
  assert.deepEqual([-5, 0, 9, 10, 39, 40, 41, 99].map(at), [0, 0, 0, 1, 1, 2, 3, 3]);
});
