// @ts-check
// The tab with the Commands and Steps as they were submitted, and with what a Step became.

import { ask, path, why } from "./api.js";
import { fill, html } from "./dom.js";
import { address } from "./parts.js";
import { isMeant, readable } from "./readable.js";
import { count, duration } from "./words.js";

const MOST = 100; // Of more that are found, the first ones are listed.
const MOST_BECAME = 20; // The same, of the Steps that one became.
const COPIED_MS = 2000;

/** @implements {View} */
export class DefinitionView {
  #name;
  #closed = false;
  /** @type {string | undefined} */
  #version;
  #text = "";
  #asked = 0;
  /** @type {Record<"commands" | "steps", Record<string, unknown>>} */
  #known = { commands: {}, steps: {} };
  #sought = /** @type {HTMLInputElement} */ (html("input", {
    type: "search", class: "field", placeholder: "Find a Command or Step",
    "aria-label": "Find a Command or Step", autocomplete: "off", spellcheck: "false",
    input: () => this.#list(),
  }));
  #found = html("p", { class: "note", role: "status" });
  #problem = html("p", { class: "failure", role: "alert", hidden: true });
  #parts = html("div", { class: "definitions" });
  tools = html("div", { class: "tools" }, this.#sought, this.#found);
  element = html("section", { class: "definition-view", "aria-label": "Definition" },
    this.tools, this.#problem, this.#parts);

  /** Of a workflow. @param {string} name */
  constructor(name) {
    this.#name = name;
  }

  /** @param {Slice} slice */
  show(slice) {
    const version = slice.graph?.version;
    if (version === this.#version && this.#asked > 0) return;
    this.#version = version;
    this.#refresh();
  }

  close() {
    this.#closed = true;
  }

  async #refresh() {
    this.#asked += 1;
    const asked = this.#asked;
    let problem = null;
    let told = null;
    try {
      told = await ask(path("workflows", this.#name, "definition"));
    } catch (error) {
      problem = why(error);
    }
    if (asked !== this.#asked || this.#closed) return;
    this.#problem.hidden = problem === null;
    fill(this.#problem, problem);
    const text = JSON.stringify(told);
    if (told === null || text === this.#text) return;
    this.#text = text;
    this.#known = told;
    this.#list();
  }

  #list() {
    const text = this.#sought.value;
    let left = 0;
    const lists = /** @type {const} */ ([["commands", "Commands"], ["steps", "Steps"]]).map(
      ([kind, title]) => {
        const names = Object.keys(this.#known[kind]).filter((name) => isMeant(name, text));
        left += Math.max(0, names.length - MOST);
        if (names.length === 0) return [];
        return [html("h2", {}, title), names.slice(0, MOST).map((name) => (
          this.#entry(name, this.#known[kind][name], kind === "steps")))];
      });
    const none = lists.flat().length === 0;
    fill(this.#parts, lists);
    fill(this.#found, none ? "No Command and no Step has this in its name."
      : left ? `${left} more aren't listed: give more of the name.` : null);
  }

  /** @param {string} name @param {unknown} definition @param {boolean} isStep */
  #entry(name, definition, isStep) {
    const body = html("div", { class: "body" });
    const details = /** @type {HTMLDetailsElement} */ (html("details", {
      toggle: () => {
        if (!details.open || body.firstChild !== null) return;
        const became = html("div", { class: "became" });
        fill(body, block(readable(definition), name), became);
        if (isStep) this.#showBecame(name, became);
      },
    }, html("summary", {}, name), body));
    return details;
  }

  /** @param {string} name @param {HTMLElement} place */
  async #showBecame(name, place) {
    try {
      const { became } = await ask(path("workflows", this.#name, "definition"), { step: name });
      if (!this.#closed) fill(place, this.#became(name, became));
    } catch (error) {
      fill(place, html("p", { class: "failure" }, why(error)));
    }
  }

  /** @param {string} name @param {ConcreteStep[]} became */
  #became(name, became) {
    const itself = became.length === 1 && became[0].step === name;
    const more = became.length - MOST_BECAME;
    return [
      html("h3", {}, itself ? "What runs" : `It became ${count(became.length, "Step")}`),
      became.slice(0, MOST_BECAME).map((step) => (itself ? this.#concrete(step)
        : html("details", {},
          html("summary", {}, step.step), html("div", { class: "body" }, this.#concrete(step))))),
      more > 0 ? html("p", { class: "note" },
        `${count(more, "more Step")} of the same kind: ${became[MOST_BECAME].step} and so on.`)
        : null,
    ];
  }

  /** @param {ConcreteStep} step */
  #concrete({ step, command, image, tokens, inputs, outputs, vars, timeout, unfit }) {
    return [
      unfit === null ? null : html("p", { class: "notice" }, unfit),
      html("dl", { class: "facts" },
        fact("Step", html("a", { href: address(this.#name, step) }, step)),
        fact("Command", command), fact("Image", image), fact("Timeout", duration(timeout)),
        Object.keys(vars).length ? fact("Vars", html("code", {}, readable(vars))) : null,
        inputs.length ? fact("Inputs", files(inputs)) : null,
        outputs.length ? fact("Outputs", files(outputs)) : null),
      html("ol", { class: "tokens", "aria-label": "Command line" },
        tokens.map((token) => html("li", {}, html("code", {}, token)))),
    ];
  }
}

/** @param {[string, string][]} pairs Storage key and internal path. */
function files(pairs) {
  return html("ul", { class: "files" }, pairs.map(([key, internal]) => html("li", {},
    html("code", {}, key), html("span", { class: "note" }, " at "), html("code", {}, internal))));
}

/** @param {string} name @param {Content} value */
function fact(name, value) {
  return html("div", {}, html("dt", {}, name), html("dd", {}, value));
}

/** Text with a button that copies it. @param {string} text @param {string} name Of what it is. */
function block(text, name) {
  const code = html("pre", { tabindex: 0, role: "group", "aria-label": `Definition of ${name}` },
    text);
  const button = html("button", {
    type: "button", class: "small", "aria-label": `Copy the definition of ${name}`,
    click: async () => {
      fill(button, await copied(text, code) ? "Copied" : "Marked: copy it with your keyboard");
      setTimeout(() => fill(button, "Copy"), COPIED_MS);
    },
  }, "Copy");
  return html("div", { class: "block" }, code, button);
}

/**
 * Copy a text; where the browser doesn't allow it, as on other hosts, mark it for the reader.
 * @param {string} text @param {HTMLElement} shown
 */
async function copied(text, shown) {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
    }
  }
  getSelection()?.selectAllChildren(shown);
  return false;
}
