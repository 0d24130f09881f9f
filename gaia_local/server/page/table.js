// @ts-check
// The tab with a table of all Steps: sorted, filtered, as CSV, and to run several again.

import { ask, path, why } from "./api.js";
import { fill, html, put } from "./dom.js";
import { address } from "./parts.js";
import { Refresher } from "./refresher.js";
import { csv, filtered, places, sorted, updated } from "./rows.js";
import { COLUMNS, TableRow } from "./table-row.js";
import { VirtualRows } from "./virtual-rows.js";
import { byUrgency, count } from "./words.js";

const ARRANGE_PAUSE_MS = 500; // Between two sorts, so that rows can be read while Steps run.
const LIVE_MS = 5000; // Between two requests for what running Steps take, without other news.

/** @implements {View} */
export class TableView {
  #name;
  #acts;
  #closed = false;
  /** @type {Record<string, string>} */
  #query = {};
  /** @type {ReadonlyMap<string, StepNews> | null} */
  #news = null;
  /** @type {string | undefined} */
  #version;
  /** @type {StepRow[]} */
  #rows = [];
  /** @type {StepRow[]} */
  #shown = [];
  #places = new Map();
  /** @type {import("./rows.js").Order} */
  #order = { column: "step", down: false };
  /** @type {Set<string>} */
  #chosen = new Set();
  #lastChosen = -1;
  #wanted = 0; // How often the whole table was wanted; other news come by the stream.
  #refresher = new Refresher((wanted) => this.#ask(wanted));
  #asked = -Infinity;
  #arranged = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #arranging;
  #clock = setInterval(() => this.#tick(), 1000);
  #text = /** @type {HTMLInputElement} */ (html("input", {
    type: "search", class: "field", placeholder: "Name or reason", "aria-label": "Name or reason",
    autocomplete: "off", spellcheck: "false", input: () => this.#arrange(),
  }));
  #state = /** @type {HTMLSelectElement} */ (html("select",
    { class: "field", "aria-label": "State", change: () => this.#chooseState() }));
  #command = /** @type {HTMLSelectElement} */ (html("select",
    { class: "field", "aria-label": "Command", change: () => this.#arrange() }));
  #counts = html("p", { class: "note", role: "status" });
  #rerun = html("button", {
    type: "button", class: "small", "aria-disabled": "true",
    title: "Expire the chosen Steps, so that they and all that depends on them run again",
    click: () => this.#runAgain(),
  }, "Run again");
  #save = html("button", { type: "button", class: "small", click: () => this.#download() },
    "Download CSV");
  #problem = html("p", { class: "failure", role: "alert", hidden: true });
  #all = /** @type {HTMLInputElement} */ (html("input",
    {
      type: "checkbox", "aria-label": "Choose all that are shown",
      change: () => this.#chooseAll(),
    }));
  #headings = COLUMNS.map(({ column, title }) => html("th", { scope: "col", class: column },
    html("button", { type: "button", click: () => this.#sort(column) }, title)));
  #virtual = new VirtualRows(
    html("thead", {}, html("tr", { "aria-rowindex": 1 },
      html("th", { scope: "col", class: "choose" }, this.#all), this.#headings)),
    () => new TableRow((index, together) => this.#choose(index, together)));
  tools = html("div", { class: "tools table-tools" }, this.#text, this.#state, this.#command,
    this.#counts, html("span", { class: "gap" }), this.#rerun, this.#save);
  element = html("section", { class: "table-view", "aria-label": "Table of Steps" },
    this.tools, this.#problem, this.#virtual.element);

  /** Of a workflow. @param {string} name @param {Acts} acts */
  constructor(name, acts) {
    this.#name = name;
    this.#acts = acts;
    this.#offer();
    this.#mark();
  }

  /** @param {Slice} slice @param {Record<string, string>} query */
  show(slice, query) {
    const changed = JSON.stringify(query) !== JSON.stringify(this.#query);
    this.#query = query;
    const version = slice.graph?.version;
    if (slice.steps !== this.#news || version !== this.#version || this.#asked === -Infinity) {
      this.#news = slice.steps;
      this.#version = version;
      this.#refresh();
      this.#update();
    }
    if (changed) {
      this.#offer();
      this.#arrange();
    }
  }

  close() {
    this.#closed = true;
    this.#refresher.close();
    clearInterval(this.#clock);
    clearTimeout(this.#arranging);
    this.#virtual.close();
  }

  /** Put the news into the rows; those in sight change at once, the order a little later. */
  #update() {
    const news = this.#news;
    if (news === null) return;
    let changed = false;
    const rows = this.#rows.map((row) => {
      const now = updated(row, news.get(row.step));
      changed ||= now !== row;
      return now;
    });
    if (!changed) return;
    this.#rows = rows;
    const byName = new Map(rows.map((row) => [row.step, row]));
    this.#shown = this.#shown.map((row) => byName.get(row.step) ?? row);
    this.#draw();
    this.#arrangeSoon();
  }

  /** Ask for the whole table, soon. */
  #refresh() {
    this.#refresher.want(this.#wanted += 1);
  }

  /** @param {import("./refresher.js").Mark} wanted */
  async #ask(wanted) {
    this.#asked = performance.now();
    let problem = null;
    /** @type {{ steps: StepRow[] } | null} */
    let told = null;
    try {
      told = await ask(path("workflows", this.#name, "table"));
    } catch (error) {
      problem = why(error);
    }
    if (this.#closed) return null;
    this.#problem.hidden = problem === null;
    fill(this.#problem, problem);
    if (told === null) return null;
    const names = told.steps.map(({ step }) => step);
    if (names.length !== this.#places.size || names.some((step) => !this.#places.has(step)))
      this.#places = places(names);
    // The news may be later than this answer; if they are older, more will come.
    this.#rows = told.steps.map((row) => updated(row, this.#news?.get(row.step)));
    this.#offer();
    if (this.#arranged === -Infinity) this.#arrange();
    else this.#arrangeSoon();
    return wanted;
  }

  /** The states and the Commands that there are, as choices. */
  #offer() {
    const { state = "" } = this.#query;
    const states = new Set(this.#rows.map((row) => row.state));
    if (state !== "" && state !== "failed") states.add(state);
    choices(this.#state, [["", "All states"], ["failed", "failed"],
      ...byUrgency(states).map((each) => [each, each])], state);
    const commands = [...new Set(this.#rows.map(({ command }) => command))].sort();
    choices(this.#command, [["", "All Commands"], ...commands.map((each) => [each, each])],
      this.#command.value);
  }

  #arrangeSoon() {
    if (this.#arranging !== undefined) return;
    const wait = Math.max(0, this.#arranged + ARRANGE_PAUSE_MS - performance.now());
    this.#arranging = setTimeout(() => this.#arrange(), wait);
  }

  /** Filter and sort the rows, and draw them. */
  #arrange() {
    clearTimeout(this.#arranging);
    this.#arranging = undefined;
    this.#arranged = performance.now();
    const { state = "" } = this.#query;
    const wanted = { state, command: this.#command.value, text: this.#text.value };
    this.#shown =
      sorted(filtered(this.#rows, wanted), this.#order, this.#places, Date.now() / 1000);
    const [some, all] = [this.#shown.length, this.#rows.length];
    fill(this.#counts, some === all ? count(all, "Step") : `${some} of ${count(all, "Step")}`);
    this.#draw();
  }

  #draw() {
    const query = new URLSearchParams({ ...this.#query, view: "table" }).toString();
    const now = Date.now() / 1000;
    this.#virtual.show(this.#shown.length, (row, index) => {
      const shown = this.#shown[index];
      row.show(shown, index, {
        href: `${address(this.#name, shown.step)}?${query}`,
        chosen: this.#chosen.has(shown.step), now,
      });
    });
    this.#mark();
  }

  /** Show what is chosen, and how the rows are sorted. */
  #mark() {
    const chosen = this.#chosenShown().length;
    put(this.#rerun, "aria-disabled", String(chosen === 0));
    fill(this.#rerun, chosen > 1 ? `Run ${chosen} again` : "Run again");
    this.#all.checked = chosen > 0 && chosen === this.#shown.length;
    this.#all.indeterminate = chosen > 0 && chosen < this.#shown.length;
    COLUMNS.forEach(({ column }, index) => put(this.#headings[index], "aria-sort",
      column !== this.#order.column ? null : this.#order.down ? "descending" : "ascending"));
  }

  /** @param {import("./rows.js").Column} column */
  #sort(column) {
    const same = column === this.#order.column;
    // Figures are mostly asked for with the largest first.
    const first = !["step", "state", "reason"].includes(column);
    this.#order = { column, down: same ? !this.#order.down : first };
    this.#arrange();
  }

  #chooseState() {
    const query = { ...this.#query, view: "table", state: this.#state.value };
    if (query.state === "") this.#acts.open(null, without(query, "state"));
    else this.#acts.open(null, query);
  }

  /** The chosen Steps that are shown: no other one is run. */
  #chosenShown() {
    return this.#chosen.size === 0 ? []
      : this.#shown.filter(({ step }) => this.#chosen.has(step)).map(({ step }) => step);
  }

  /**
   * Choose a row, or no more; together with all between it and the last one.
   * @param {number} index @param {boolean} together
   */
  #choose(index, together) {
    const choose = !this.#chosen.has(this.#shown[index].step);
    const from = together && this.#lastChosen >= 0 ? this.#lastChosen : index;
    for (const { step } of this.#shown.slice(Math.min(from, index), Math.max(from, index) + 1))
      this.#chosen[choose ? "add" : "delete"](step);
    this.#lastChosen = index;
    this.#draw();
  }

  #chooseAll() {
    this.#chosen = new Set(this.#all.checked ? this.#shown.map(({ step }) => step) : []);
    this.#draw();
  }

  #runAgain() {
    const steps = this.#chosenShown();
    if (steps.length) this.#acts.rerun(steps);
  }

  #download() {
    const where = URL.createObjectURL(new Blob([csv(this.#shown)], { type: "text/csv" }));
    const name = this.#name.replace(/[^\p{L}\p{N}._-]+/gu, "_");
    html("a", { href: where, download: `${name}-steps.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(where), 1000);
  }

  /** Times and figures of running Steps grow without news. */
  #tick() {
    if (document.hidden || !this.element.isConnected) return;
    if (!this.#rows.some(({ state }) => state === "running")) return;
    if (performance.now() - this.#asked >= LIVE_MS) this.#refresh();
    this.#draw();
  }
}

/** @param {Record<string, string>} query @param {string} name */
function without(query, name) {
  return Object.fromEntries(Object.entries(query).filter(([each]) => each !== name));
}

/**
 * Fill a choice, and keep what is chosen.
 * @param {HTMLSelectElement} select @param {string[][]} options @param {string} value
 */
function choices(select, options, value) {
  const text = JSON.stringify(options);
  if (select.dataset.options !== text) {
    select.dataset.options = text;
    select.replaceChildren(
      ...options.map(([each, label]) => html("option", { value: each }, label)));
  }
  select.value = value;
}
