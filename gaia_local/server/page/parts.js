// @ts-check
// Small things that several views show: a state, a workflow's progress, its times.

import { fill, html, put } from "./dom.js";
import { draw, glyph } from "./glyphs.js";
import { format } from "./route.js";
import { duration, moment } from "./words.js";

const PARTS = [["done", "complete"], ["running", "running"], ["failed", "error"]];

/**
 * The address of a workflow on this page, or of a Step in it.
 * @param {string} name
 * @param {string | null} step
 * @param {Record<string, string>} query
 */
export function address(name, step = null, query = {}) {
  return format({ name, step, query });
}

/**
 * The address of a workflow's Steps in one state: its table, filtered.
 * @param {string} name
 * @param {string} state
 */
export function stepsIn(name, state) {
  return format({ name, query: { view: "table", state } });
}

/** A state as its sign and its word. */
export class Badge {
  #sign = glyph("initialized");
  #word = html("span");
  element = html("span", { class: "badge", hidden: true }, this.#sign, this.#word);

  /** @param {string} state */
  show(state) {
    this.element.hidden = false;
    put(this.element, "data-state", state);
    draw(this.#sign, state);
    fill(this.#word, state);
  }
}

/** A workflow's progress as a bar and as text, in which the counts lead to the Steps. */
export class Progress {
  #parts = PARTS.map(([, state]) => html("span", { class: "part", "data-state": state }));
  #bar = html("span", { class: "progress", "aria-hidden": "true" }, ...this.#parts);
  #text = html("span", { class: "counts" });
  #name;
  element = html("div", { class: "far" }, this.#bar, this.#text);

  /** @param {string} name the workflow's */
  constructor(name) {
    this.#name = name;
  }

  /**
   * Show it; returns it as text: `7 of 12 done, 1 failed`.
   * @param {Record<string, any>} progress
   */
  show(progress) {
    PARTS.forEach(([name], index) => {
      // Set by script, as the page's policy refuses styles in markup.
      this.#parts[index].style.width =
        `${progress.steps ? (100 * progress[name]) / progress.steps : 0}%`;
      this.#parts[index].hidden = progress[name] === 0;
    });
    const told = counted(progress);
    fill(this.#text, told.map(({ text, state }, index) => [
      index === 0 ? null : ", ",
      state === null ? text : html("a", { href: stepsIn(this.#name, state) }, text)]));
    return told.map(({ text }) => text).join(", ");
  }
}

/**
 * A workflow's progress in words; those with a `state` are counts of the Steps in it.
 * @param {Record<string, any>} progress
 * @returns {{ text: string, state: string | null }[]}
 */
function counted(progress) {
  const { steps, found, reused } = progress;
  if (found && found === steps)
    return [{ text: `${found} of ${steps} Steps were in the store already, nothing ran`,
      state: null }];
  const told = [{ text: steps === 0 ? "no Steps" : `${progress.done} of ${steps} done`,
    state: null }];
  if (reused) told.push(...[`${reused} reused`, `${progress.ran} ran`]
    .map((text) => ({ text, state: null })));
  /** @type {{ text: string, state: string | null }[]} */
  const counts = ["failed", "running", "unfit"].filter((state) => progress[state])
    .map((state) => ({ text: `${progress[state]} ${state}`, state }));
  const there = found ? [{ text: `${found} of them in the store already`, state: null }] : [];
  return [...told, ...counts, ...there];
}

/**
 * When a workflow ran, as far as the server tells it.
 * @param {{ started?: number | null, ended?: number | null }} entry
 */
export function when({ started, ended }) {
  if (!started) return null;
  return ended ? `${moment(started)}, took ${duration(ended - started)}`
    : `since ${moment(started)}`;
}

/**
 * The owner among a workflow's properties, unless the name begins with it already.
 * @param {string} workflow
 * @param {Record<string, any>} properties
 */
export function owner(workflow, properties) {
  const given = properties.owner;
  return given === undefined || given === null
    || workflow === given || workflow.startsWith(`${given}_`) ? null : `owner ${String(given)}`;
}
