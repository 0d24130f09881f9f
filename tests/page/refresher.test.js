// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";

import { Refresher } from "../../gaia_local/server/page/refresher.js";

/** Let what was promised happen. */
const settle = () => new Promise((resolve) => { setImmediate(resolve); });

/**
 * A refresher whose clock is turned by hand.
 * @param {(mark: any) => any} answer
 */
function staged(answer) {
  /** @type {any[]} */
  const asked = [];
  /** @type {(() => void)[]} */
  const waiting = [];
  const refresher = new Refresher(async (mark) => {
    asked.push(mark);
    return answer(mark);
  }, { start: (act) => waiting.push(act), stop() {} });
  const later = async () => {
    await settle();
    for (const act of waiting.splice(0)) act();
    await settle();
  };
  return { refresher, asked, later, waiting };
}

test("it asks only when what is wanted differs from what is held", async () => {
  const { refresher, asked, later } = staged((mark) => mark);
  refresher.want(null);
  refresher.want("v1");
  refresher.want("v1");
  await later();
  refresher.want("v1");
  assert.deepEqual(asked, ["v1"]);
  refresher.want("v2");
  refresher.want("v3");
  await later();
  await later();
  assert.deepEqual(asked, ["v1", "v2", "v3"]);
});

test("an answer that is newer than what was asked for counts as such", async () => {
  const { refresher, asked, later } = staged(() => "v2");
  refresher.want("v1");
  await settle();
  refresher.want("v2");
  await later();
  assert.deepEqual(asked, ["v1"]);
});

test("after a failure it asks again when something is wanted, and not before", async () => {
  const { refresher, asked, later } = staged(() => null);
  refresher.want("v1");
  await later();
  await later();
  assert.deepEqual(asked, ["v1"]);
  refresher.want("v1");
  await settle();
  assert.deepEqual(asked, ["v1", "v1"]);
  refresher.want("v1"); // while it rests from the failure
  await later();
  assert.deepEqual(asked, ["v1", "v1", "v1"]);
});

test("once closed it asks nothing more", async () => {
  const { refresher, asked, later } = staged((mark) => mark);
  refresher.want("v1");
  await settle();
  refresher.close();
  refresher.want("v2");
  await later();
  assert.deepEqual(asked, ["v1"]);
});
