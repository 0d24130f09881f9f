// @ts-check
// A field that finds Steps by a part of their name, with a list of matches for the arrow keys.

import { fill, html, put } from "./dom.js";
import { glyph } from "./glyphs.js";
import { natural } from "./natural.js";
import { byUrgency } from "./words.js";

const MAX_FOUND = 50;

export class Finder {
  #steps;
  #picked;
  #active = -1;
  /** @type {{ step: string, state: string }[]} */
  #found = [];
  #input = html("input", {
    type: "text", class: "field", role: "combobox",
    placeholder: "Find a Step", "aria-label": "Find a Step", "aria-expanded": "false",
    "aria-controls": "found", "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false",
    input: () => this.#open(), 
    keydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    blur: () => this.#shut(), click: () => this.#open(),
  });
  #list = html("ul",
    { class: "found", id: "found", role: "listbox", "aria-label": "Steps", hidden: true });
  element = html("div", { class: "finder" }, this.#input, this.#list);

  /**
   * Finds among `steps()`, urgent ones first, then by name.
   * @param {() => ReadonlyMap<string, StepNews>} steps
   * @param {(step: string) => void} picked is called with the chosen name
   */
  constructor(steps, picked) {
    this.#steps = steps;
    this.#picked = picked;
  }

  focus() {
    this.#input.focus();
  }

  #open() {
    const words = this.#input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fit = [...this.#steps()].map(([step, { state }]) => ({ step, state }))
      .filter(({ step }) => words.every((word) => step.toLowerCase().includes(word)));
    const urgent = byUrgency(new Set(fit.map(({ state }) => state)));
    const places = new Map(urgent.map((state, index) => [state, index]));
    /** @param {string} state */
    const place = (state) => places.get(state) ?? 0;
    this.#found = fit.sort((one, other) =>
      place(one.state) - place(other.state) || natural(one.step, other.step)).slice(0, MAX_FOUND);
    this.#active = this.#found.length && words.length ? 0 : -1;
    this.#list.replaceChildren(...this.#found.map(({ step, state }, index) => html("li", {
      id: `found-${index}`, role: "option", "data-state": state, "aria-label": `${step}, ${state}`,
      // Before the field loses the focus, which shuts the list.
      pointerdown: (/** @type {Event} */ event) => { event.preventDefault(); this.#pick(index); },
    }, glyph(state), html("span", { class: "name" }, step))));
    if (this.#found.length === 0)
      fill(this.#list, html("li", { class: "none", role: "option", "aria-disabled": "true" },
        "No Step has this in its name."));
    else if (fit.length > MAX_FOUND)
      this.#list.append(html("li", { class: "none", role: "option", "aria-disabled": "true" },
        `and ${fit.length - MAX_FOUND} more`));
    this.#list.hidden = false;
    put(this.#input, "aria-expanded", "true");
    this.#mark();
  }

  #shut() {
    this.#found = [];
    this.#list.hidden = true;
    put(this.#input, "aria-expanded", "false");
    put(this.#input, "aria-activedescendant", null);
  }

  #mark() {
    [...this.#list.children]
      .forEach((option, index) => put(option, "aria-selected", String(index === this.#active)));
    put(this.#input, "aria-activedescendant", this.#active < 0 ? null : `found-${this.#active}`);
    this.#list.children[this.#active]?.scrollIntoView({ block: "nearest" });
  }

  /** @param {number} index */
  #pick(index) {
    const found = this.#found[index];
    if (found === undefined) return;
    this.#input.value = "";
    this.#shut();
    this.#picked(found.step);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const shut = this.#list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (shut) this.#open();
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.#active = Math.max(0, Math.min(this.#found.length - 1, this.#active + step));
      this.#mark();
    } else if (event.key === "Enter") {
      this.#pick(Math.max(0, this.#active));
    } else if (event.key === "Escape" && !shut) {
      this.#shut();
      event.stopPropagation();
    } else {
      return;
    }
    event.preventDefault();
  }
}
