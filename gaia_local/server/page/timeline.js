// @ts-check
import { fill, html } from "./dom.js";

export class TimelineView {
  element = html("div", { class: "placeholder" });

  /** @param {string} name @param {Acts} acts */
  constructor(name, acts) {
    this.name = name;
    this.acts = acts;
  }

  /** @param {Slice} slice @param {Record<string, string>} query */
  show(slice, query) {
    fill(this.element, html("p", {}, `timeline ${slice.steps.size} ${query.state ?? "all"}`));
  }

  close() {}
}
