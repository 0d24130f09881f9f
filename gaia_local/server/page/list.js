// @ts-check
// The list of workflows, the newest first or by name.

import { arrange, fill, html, put } from "./dom.js";
import { natural } from "./natural.js";
import { address, Badge, owner, Progress, when } from "./parts.js";

const SEVERAL = 8; // From this many workflows on there is a field to find one in.

export class ListView {
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #order = "newest";
  #open;
  #list = html("ul", { class: "workflows", "aria-label": "Workflows" });
  #empty = html("div", { class: "empty", hidden: true },
    html("p", {}, "There are no workflows yet. This makes one:"),
    html("pre", {}, "gaia-local upload NAME --commands FILE --steps FILE"));
  #none = html("p", { class: "empty", role: "status", hidden: true });
  #sought = html("input", {
    type: "search", class: "field", placeholder: "Find a workflow",
    "aria-label": "Find a workflow", autocomplete: "off", spellcheck: "false",
    input: () => this.#sift(),
  });
  #choice = html("select", { class: "field", change: () => this.#choose() },
    html("option", { value: "newest" }, "newest first"),
    html("option", { value: "name" }, "by name"));
  #sifting = html("div", { class: "sifting", hidden: true },
    this.#sought, html("label", {}, html("span", {}, "Order"), this.#choice));
  #heading = html("h1", { tabindex: -1 }, "Workflows");

  title = "gaia-local";
  element = html("section", { class: "list" },
    html("div", { class: "heading" }, this.#heading, this.#sifting),
    this.#list, this.#empty, this.#none);

  /** @param {Pick<Acts, "open">} acts */
  constructor({ open }) {
    this.#open = open;
  }

  /** @param {PageState} state */
  show({ workflows, refused, route }) {
    this.#order = route.query.order === "name" ? "name" : "newest";
    this.#choice.value = this.#order;
    const shown = refused === null ? workflows ?? new Map() : new Map();
    for (const name of this.#rows.keys()) if (!shown.has(name)) this.#rows.delete(name);
    for (const [name, entry] of shown) this.#show(name, entry);
    const names = [...shown.keys()];
    const ordered = this.#order === "name" ? names.sort(natural) : names.reverse();
    arrange(this.#list, ordered.map((name) => this.#row(name).element));
    this.#sifting.hidden = shown.size < 2;
    this.#sought.hidden = shown.size < SEVERAL && this.#sought.value === "";
    this.#empty.hidden = refused !== null || workflows === null || workflows.size > 0;
    this.#sift();
    if (refused === null) return;
    this.#none.hidden = false;
    fill(this.#none, refused);
  }

  /**
   * Put the keyboard on the workflow that the reader comes back from, else on the heading.
   * @param {string | null} name
   */
  focus(name = null) {
    (this.#rows.get(name ?? "")?.link ?? this.#heading).focus();
  }

  close() {}

  /** @param {string} name @param {Record<string, any>} entry */
  #show(name, entry) {
    const row = this.#row(name);
    if (row.entry === entry) return;
    row.entry = entry;
    put(row.element, "data-state", entry.state);
    row.badge.show(entry.state);
    put(row.link, "aria-label", `${name}, ${entry.state}, ${row.progress.show(entry.progress)}`);
    fill(row.owner, owner(name, entry.properties));
    fill(row.when, when(entry));
  }

  /** The row of a workflow, made when it is first seen. @param {string} name */
  #row(name) {
    const row = this.#rows.get(name) ?? makeRow(name);
    this.#rows.set(name, row);
    return row;
  }

  #choose() {
    this.#open(null, { order: this.#choice.value === "name" ? "name" : "" });
  }

  #sift() {
    const sought = this.#sought.value.trim().toLowerCase();
    let shown = 0;
    for (const [name, { element }] of this.#rows) {
      element.hidden = !name.toLowerCase().includes(sought);
      shown += element.hidden ? 0 : 1;
    }
    this.#none.hidden = shown > 0 || this.#rows.size === 0;
    fill(this.#none, "No workflow has this in its name.");
  }
}

/**
 * @typedef {{
 *   badge: Badge, progress: Progress, owner: HTMLElement, when: HTMLElement, link: HTMLElement,
 *   element: HTMLElement, entry: Record<string, any> | null,
 * }} Row
 */

/** @param {string} name @returns {Row} */
function makeRow(name) {
  const [badge, progress] = [new Badge(), new Progress(name)];
  const [whose, times] = [html("span", { class: "owner" }), html("span", { class: "when" })];
  // It covers the whole row, under the links of the counts.
  const link = html("a", { class: "name", href: address(name) }, name);
  const element = html("li", {},
    badge.element, html("div", { class: "title" }, link, whose, times), progress.element);
  return { badge, progress, owner: whose, when: times, link, element, entry: null };
}
