// @ts-check
// Small things that several views show: a state, a workflow's progress, its times.

import { fill, html, put } from "./dom.js";
import { draw, glyph } from "./glyphs.js";
import { format } from "./route.js";
import { duration, moment } from "./words.js";

const PARTS = [["done", "complete"], ["running", "running"], ["failed", "error"]];
const COUNTED = ["failed", "running", "unfit"];

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
  #done = html("span");
  #there = html("span");
  // They stay while their texts change, since the keyboard may be on one.
  /** @type {{ state: string, link: HTMLElement, element: HTMLElement }[]} */
  #counts;
  element;

  /** @param {string} name the workflow's */
  constructor(name) {
    this.#counts = COUNTED.map((state) => {
      const link = html("a", { href: stepsIn(name, state) });
      return { state, link, element: html("span") };
    });
    this.element = html("div", { class: "far" }, this.#bar, html("span", { class: "counts" },
      this.#done, ...this.#counts.map(({ element }) => element), this.#there));
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
    const { steps, found, reused, ran } = progress;
    const nothing = found && found === steps;
    fill(this.#done, nothing ? `${found} of ${steps} Steps were in the store already, nothing ran`
      : [steps === 0 ? "no Steps" : `${progress.done} of ${steps} done`,
        reused ? `, ${reused} reused, ${ran} ran` : null]);
    for (const { state, link, element } of this.#counts) {
      fill(link, `${progress[state]} ${state}`);
      fill(element, nothing || !progress[state] ? null : [", ", link]);
    }
    fill(this.#there, found && !nothing ? `, ${found} of them in the store already` : null);
    return [this.#done, ...this.#counts.map(({ element }) => element), this.#there]
      .map(({ textContent }) => textContent).join("");
  }
}

/**
 * When a workflow ran, as far as the server tells it.
 * @param {{ started?: number | null, ended?: number | null }} entry
 */
export function when({ started, ended }) {
  if (!started) return ended ? `ended ${moment(ended)}` : null;
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
