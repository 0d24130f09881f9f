// @ts-check
// One row of the table of Steps.

import { fill, html, put } from "./dom.js";
import { Badge } from "./parts.js";
import { lasted } from "./rows.js";
import { duration, memory } from "./words.js";

// Made once: as rows come into sight, it is used many times within a frame.
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** @type {{ column: import("./rows.js").Column, title: string }[]} */
export const COLUMNS = [
  { column: "step", title: "Name" },
  { column: "state", title: "State" },
  { column: "reason", title: "Reason" },
  { column: "started", title: "Started" },
  { column: "elapsed", title: "Duration" },
  { column: "cpu", title: "CPU time" },
  { column: "memory", title: "Memory" },
];

/** Shows one row after the other, as the reader scrolls. */
export class TableRow {
  /** @type {StepRow | null} */
  #row = null;
  #index = 0;
  #check = /** @type {HTMLInputElement} */ (html("input", { type: "checkbox" }));
  #link = html("a", {});
  #badge = new Badge();
  #reason = html("td", { class: "reason" });
  #started = html("td", { class: "started" });
  #elapsed = html("td", { class: "elapsed" });
  #cpu = html("td", { class: "cpu" });
  #memory = html("td", { class: "memory" });
  element = html("tr", {}, html("td", { class: "choose" }, this.#check),
    html("th", { scope: "row", class: "step" }, this.#link),
    html("td", { class: "state" }, this.#badge.element),
    this.#reason, this.#started, this.#elapsed, this.#cpu, this.#memory);

  /** `choose(index, together)`, when its box is clicked, `together` with the Shift key.
   * @param {(index: number, together: boolean) => void} choose
   */
  constructor(choose) {
    // Chosen by the table, so that a range of rows is.
    this.#check.addEventListener("click", (event) => choose(this.#index, event.shiftKey));
  }

  /**
   * @param {StepRow} row @param {number} index
   * @param {{ href: string, chosen: boolean, now: number }} about
   */
  show(row, index, { href, chosen, now }) {
    this.#index = index;
    put(this.element, "aria-rowindex", index + 2); // The headings are the first.
    put(this.#link, "href", href);
    this.#check.checked = chosen;
    this.element.classList.toggle("chosen", chosen);
    if (row.state === "running" || row !== this.#row)
      fill(this.#elapsed, worded(lasted(row, now), (seconds) => (
        duration(row.state === "running" ? Math.round(seconds) : seconds))));
    if (row === this.#row) return;
    this.#row = row;
    put(this.element, "data-state", row.state);
    fill(this.#link, row.step);
    put(this.#link, "title", row.step);
    put(this.#check, "aria-label", `Choose ${row.step}`);
    this.#badge.show(row.state);
    fill(this.#reason, row.reason);
    put(this.#reason, "title", row.reason);
    fill(this.#started, worded(row.started, (seconds) => MOMENT.format(seconds * 1000)));
    fill(this.#cpu, worded(row.cpu, duration));
    fill(this.#memory, worded(row.memory, memory));
  }
}

/** @param {number | null} value @param {(value: number) => string} words */
function worded(value, words) {
  return value === null ? null : words(value);
}
