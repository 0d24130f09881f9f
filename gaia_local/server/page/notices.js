// @ts-check
// What wants attention in a workflow: its error, failed and unfit Steps, inputs that no Step makes.

import { html } from "./dom.js";
import { natural } from "./natural.js";
import { address, stepsIn } from "./parts.js";
import { count, several } from "./words.js";

const NAMED = 4; // Of more failed Steps than this, the first ones are named.

/**
 * The notices as paragraphs.
 * @param {string} name
 * @param {Record<string, any>} about the answer of `GET /api/workflows/NAME`
 * @param {readonly string[]} missing
 */
export function notices(name, about, missing) {
  const found = [];
  if (about.error !== undefined) found.push(html("p", { class: "notice bad" }, about.error));
  /** @type {string[]} */
  const failed = about.failures.map((/** @type {{ step: string }} */ { step }) => step)
    .sort(natural);
  if (failed.length > 0) {
    const shown = failed.slice(0, NAMED).map((step, index) => [
      index ? ", " : null, html("a", { href: address(name, step) }, step)]);
    const more = failed.length > NAMED
      ? [" and ", html("a", { href: stepsIn(name, "failed") }, `${failed.length - NAMED} more`)]
      : null;
    found.push(html("p", { class: "notice bad" },
      `${count(failed.length, "Step")} failed: `, shown, more));
  }
  const { unfit, lacks } = about.progress;
  if (unfit) {
    const which = unfit === 1 ? "1 Step doesn't fit its Command"
      : `${unfit} Steps don't fit their Commands`;
    found.push(html("p", { class: "notice" }, `${which} any more: ${lacks}`));
  }
  if (missing.length > 0) {
    const which = missing.length === 1 ? "an input" : "inputs";
    found.push(html("p", { class: "notice" },
      `Waits for ${which} that no Step makes: ${several([...missing])}`));
  }
  return found;
}
