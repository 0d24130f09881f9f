// @ts-check
// All attempts of a timeline's file as a table, a part at a time.

import { fill, html, put } from "./dom.js";
import { cpu, facts, took } from "./facts.js";
import { glyph } from "./glyphs.js";
import { stateOf } from "./lanes.js";
import { count, duration, memory, moment } from "./words.js";

const PART = 200; // So many rows are made at once.
const COLUMNS = ["Step", "state", "worker", "took", "CPU", "memory", "more"];

export class AttemptsTable {
  /** @type {TimelineAttempt[]} */
  #attempts;
  /** @type {number} */
  #now;
  /** @type {TimelineAttempt[]} */
  #fitting;
  #summary = html("summary");
  #rows = html("tbody");
  #more = html("button", { type: "button", class: "small", click: () => this.#add() });
  element = html("details", { class: "attempts" }, this.#summary,
    html("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Attempts as a table" },
      html("table", {}, html("thead", {}, html("tr", {}, COLUMNS.map((name) => (
        html("th", { scope: "col" }, name))))), this.#rows)), this.#more);

  /** @param {TimelineAttempt[]} attempts @param {number} now */
  constructor(attempts, now) {
    [this.#attempts, this.#fitting, this.#now] = [attempts, attempts, now];
    this.element.addEventListener("toggle", () => {
      if (this.#rows.childElementCount === 0) this.#add();
    });
    this.filter(() => true);
  }

  /** Show those alone that fit. @param {(attempt: TimelineAttempt) => boolean} fits */
  filter(fits) {
    this.#fitting = this.#attempts.filter(fits);
    const all = this.#fitting.length === this.#attempts.length;
    fill(this.#summary, all ? `All ${count(this.#attempts.length, "attempt")} as a table`
      : `${this.#fitting.length} of ${count(this.#attempts.length, "attempt")} as a table`);
    this.#rows.replaceChildren();
    put(this.#more, "hidden", true);
    if (this.element.hasAttribute("open")) this.#add();
  }

  #add() {
    const shown = this.#rows.childElementCount;
    const next = this.#fitting.slice(shown, shown + PART);
    this.#rows.append(...next.map((attempt) => row(attempt, this.#now)));
    const left = this.#fitting.length - this.#rows.childElementCount;
    put(this.#more, "hidden", left === 0);
    fill(this.#more, `Show ${Math.min(left, PART)} more of ${left}`);
  }
}

/** @param {TimelineAttempt} attempt @param {number} now */
function row(attempt, now) {
  const state = stateOf(attempt);
  const seconds = took(attempt, now);
  const used = cpu(attempt);
  const held = attempt.usage?.memory ?? null;
  const more = facts(attempt, now, moment).slice(1).join("; ");
  return html("tr", {},
    html("th", { scope: "row" }, attempt.step),
    html("td", {}, html("span", { class: "badge", "data-state": state }, glyph(state), state)),
    html("td", {}, attempt.worker ?? "none"),
    html("td", {}, seconds === null ? "not started" : duration(seconds)),
    html("td", {}, used === null ? "–" : duration(used)),
    html("td", {}, held === null ? "–" : memory(held)),
    html("td", { class: "more" }, more));
}
