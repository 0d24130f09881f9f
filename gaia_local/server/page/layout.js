// @ts-check
// Asks the worker for layouts; if it fails or takes too long, the layout is a simple one.

import { placed } from "./placing.js";

const PATIENCE_MS = 2500;

/** @type {Worker | null} */
let worker = null;
let latest = 0;

/**
 * The layout of nodes with sizes, for a room.
 * @param {Task} task @param {number} patience in milliseconds
 * @returns {Promise<Laid>}
 */
export function layout(task, patience = PATIENCE_MS) {
  if (task.nodes.length === 0) {
    return Promise.resolve(
      { nodes: {}, edges: [], width: 1, height: 1, across: false, simple: false });
  }
  const asked = worker ?? new Worker(new URL("layout-worker.js", import.meta.url),
    { type: "module" });
  worker = asked;
  const number = ++latest;
  return new Promise((resolve) => {
    const settle = () => {
      clearTimeout(late);
      asked.removeEventListener("message", heard);
      asked.removeEventListener("error", failed);
    };
    const heard = (/** @type {MessageEvent} */ { data }) => {
      if (data.number !== number) return;
      settle();
      resolve(data.laid);
    };
    const failed = () => {
      settle();
      // A busy or broken worker is of no use to the next request either.
      asked.terminate();
      if (worker === asked) worker = null;
      resolve(placed(task, null));
    };
    const late = setTimeout(failed, patience);
    asked.addEventListener("message", heard);
    asked.addEventListener("error", failed);
    asked.postMessage({ number, task });
  });
}
