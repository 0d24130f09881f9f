// @ts-check
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { PLAIN } from "../../gaia_local/server/page/ansi.js";
import { contrast, css, GROUNDS, LEAST, paint, readable, rgb }
  from "../../gaia_local/server/page/contrast.js";
import { random } from "./random.js";

test("each colour can be read, in light, in dark, and on each other one", () => {
  const { whole } = random(1);
  const numbers = Array.from({ length: 256 }, (_, index) => index);
  const grounds = [GROUNDS.light, GROUNDS.dark, ...numbers.map(rgb)];
  for (const number of numbers) {
    for (const ground of grounds)
      assert.ok(contrast(readable(rgb(number), ground), ground) >= LEAST, `${number} on ${ground}`);
  }
  for (let round = 0; round < 1000; round += 1) {
    const ground = rgb(`#${whole(2 ** 24).toString(16).padStart(6, "0")}`);
    assert.ok(contrast(readable(ground, ground), ground) >= LEAST);
  }
});

test("a colour that can be read stays as it is", () => {
  assert.deepEqual(readable([200, 0, 0], [255, 255, 255]), [200, 0, 0]);
});

test("the 256 colours are those of terminals", () => {
  assert.deepEqual([16, 21, 196, 231, 232, 255].map(rgb), [
    [0, 0, 0], [0, 0, 255], [255, 0, 0], [255, 255, 255], [8, 8, 8], [238, 238, 238]]);
  assert.deepEqual(rgb("#0a10ff"), [10, 16, 255]);
});

test("text without colours has none, and inverse ones are exchanged", () => {
  assert.equal(paint({ ...PLAIN, bold: true }), null);
  assert.equal(paint({ ...PLAIN, fore: 1 })?.ground, null);
  assert.equal(paint({ ...PLAIN, fore: 21, inverse: true })?.ground, css([0, 0, 255]));
});

test("the grounds are those of the style sheet", () => {
  const sheet = readFileSync(
    new URL("../../gaia_local/server/page/page.css", import.meta.url), "utf-8");
  const found = [...sheet.matchAll(/--sunken: (#[0-9a-f]{6})/g)].map(([, hex]) => rgb(hex));
  assert.deepEqual(found, [GROUNDS.light, GROUNDS.dark]);
});
