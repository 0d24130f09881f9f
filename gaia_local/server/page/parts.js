// Small things that several views show: a state, a workflow's progress.

import { fill, html, put } from "./dom.js";
import { draw, glyph } from "./glyphs.js";

const PARTS = [["done", "complete"], ["running", "running"], ["failed", "error"]];

/** The address of a workflow on this page, or of a Step in it. */
export function address(...names) {
  return ["#", ...names.map(encodeURIComponent)].join("/");
}

/** A state as its sign and its word. */
export class Badge {
  #sign = glyph("initialized");
  #word = html("span");
  element = html("span", { class: "badge", hidden: true }, this.#sign, this.#word);

  show(state) {
    this.element.hidden = false;
    put(this.element, "data-state", state);
    draw(this.#sign, state);
    fill(this.#word, state);
  }
}

/** A workflow's progress as a bar and as text, which `show` returns: `7 of 12 done, 1 failed`. */
export class Progress {
  #parts = PARTS.map(([, state]) => html("span", { class: "part", "data-state": state }));
  #bar = html("span", { class: "progress", "aria-hidden": "true" }, ...this.#parts);
  #text = html("span", { class: "counts" });
  element = html("span", { class: "far" }, this.#bar, this.#text);

  show(progress) {
    PARTS.forEach(([name], index) => {
      // Set by script, as the page's policy refuses styles in markup.
      this.#parts[index].style.width =
        `${progress.steps ? (100 * progress[name]) / progress.steps : 0}%`;
      this.#parts[index].hidden = progress[name] === 0;
    });
    const rest = [progress.failed && `${progress.failed} failed`,
      progress.running && `${progress.running} running`,
      progress.unfit && `${progress.unfit} unfit`].filter(Boolean);
    const { steps, found, reused } = progress;
    const all = steps === 0 ? "no Steps" : `${progress.done} of ${steps} done`;
    if (reused) rest.unshift(`${reused} reused`, `${progress.ran} ran`);
    if (found) {
      rest.push(`${found} of them in the store already`);
    }
    const text = found && found === steps
      ? `${found} of ${steps} Steps were in the store already, nothing ran`
      : [all, ...rest].join(", ");
    fill(this.#text, text);
    return text;
  }
}

/** The owner among a workflow's properties, unless the name begins with it already. */
export function owner(workflow, properties) {
  const given = properties.owner;
  return given === undefined || given === null
    || workflow === given || workflow.startsWith(`${given}_`) ? null : `owner ${String(given)}`;
}
