// @ts-check
// The reader's choice among the ways to group a graph's Steps.

import { fill, html } from "./dom.js";
import { drawnGroups, opened } from "./groups.js";

const ALONE = "none";
const COMPOSITE = "composite";

export class GroupingChoice {
  #select;
  element;
  /** @type {string | null} what the reader chose; null: nothing, so what the graph suggests */
  #chosen = null;
  /** @type {Grouping[]} */
  #groupings = [];

  /** @param {() => void} chosen called when the reader chose */
  constructor(chosen) {
    this.#select = html("select", {
      change: () => {
        this.#chosen = this.#select.value;
        chosen();
      },
    });
    this.element = html("label", { class: "grouping" }, "Group by ", this.#select);
  }

  /**
   * Offer the groupings of a graph; the reader's stays, if this graph has it.
   * @param {Graph} graph
   */
  offer({ groupings, suggested }) {
    this.#groupings = groupings;
    if (this.#chosen !== ALONE && !groupings.some(({ by }) => by === this.#chosen))
      this.#chosen = null;
    fill(this.#select, [...groupings, { by: ALONE, label: "none" }]
      .map(({ by, label }) => html("option", { value: by }, label)));
    this.#select.value = this.#chosen ?? suggested ?? ALONE;
  }

  /** The groups to draw. Without a grouping, a composite still has its frame. */
  get groups() {
    const by = this.#select.value;
    const find = (/** @type {string} */ wanted) => (
      this.#groupings.find((grouping) => grouping.by === wanted) ?? null);
    return by === ALONE ? opened(drawnGroups(find(COMPOSITE))) : drawnGroups(find(by));
  }
}
