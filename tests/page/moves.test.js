// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { next } from "../../gaia_local/server/page/moves.js";

/** @param {number} x @param {number} y */
const place = (x, y) => ({ x, y, width: 10, height: 10 });

test("an arrow key goes to the nearest place ahead", () => {
  const [one, right, farRight, below] = [place(0, 0), place(20, 0), place(60, 0), place(0, 20)];
  const all = [one, right, farRight, below];
  assert.equal(next(all, one, "ArrowRight"), right);
  assert.equal(next(all, right, "ArrowRight"), farRight);
  assert.equal(next(all, one, "ArrowDown"), below);
  assert.equal(next(all, one, "ArrowUp"), null);
  assert.equal(next(all, one, "x"), null);
});
