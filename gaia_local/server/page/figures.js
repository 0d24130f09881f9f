// @ts-check
// The words around a timeline: its summary, attempts by state, and what each Command took.

import { fill, html } from "./dom.js";
import { byCommand } from "./facts.js";
import { glyph } from "./glyphs.js";
import { hue, summary } from "./lanes.js";
import { duration, memory, moment } from "./words.js";

const COLUMNS = ["Command", "attempts", "failed", "in all", "median", "longest", "CPU", "memory"];

export class TimelineFigures {
  #summary = html("p", { class: "summary" });
  #states = html("ul", { class: "states", "aria-label": "Attempts by state" });
  #rows = html("tbody");
  #head = html("thead", {},
    html("tr", {}, COLUMNS.map((name) => html("th", { scope: "col" }, name))));
  table = html("details", { class: "commands" },
    html("summary", {}, "Commands, their colours, and what they took"),
    html("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Commands" },
      html("table", {}, this.#head, this.#rows)));
  element = html("div", { class: "figures" }, this.#summary, this.#states);

  /** @param {Lanes} lanes @param {TimelineAttempt[]} attempts @param {number} now */
  show(lanes, attempts, now) {
    fill(this.#summary, summary(lanes, moment));
    this.#states.replaceChildren(...[...lanes.counts].map(([state, number]) => (
      html("li", { "data-state": state }, glyph(state), html("span", {}, html("b", {}, number),
        ` ${state}`)))));
    this.#rows.replaceChildren(...byCommand(attempts, lanes.commands, now).map(row));
  }
}

/** @param {CommandFigures} figures @param {number} index */
function row(figures, index) {
  const { command, attempts, failed, seconds, median, most, cpu, memory: held } = figures;
  const patch = html("span", { class: "patch", "aria-hidden": "true" });
  patch.style.setProperty("--hue", String(hue(index))); // By script: styles in markup are refused.
  return html("tr", {},
    html("th", { scope: "row" }, patch, command || "of Steps that are gone"),
    html("td", {}, attempts), html("td", {}, failed || "–"), html("td", {}, duration(seconds)),
    html("td", {}, median === null ? "–" : duration(median)),
    html("td", {}, most === null ? "–" : duration(most)),
    html("td", {}, cpu === null ? "–" : duration(cpu)),
    html("td", {}, held === null ? "–" : memory(held)));
}
