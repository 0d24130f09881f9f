// @ts-check
import { html } from "./dom.js";

export class AttemptsView {
  element = html("section", { hidden: true });

  /** @param {string} workflow @param {string} step @param {object} acts */
  constructor(workflow, step, acts) {
    this.about = [workflow, step, acts];
  }

  refresh() {}

  close() {}
}
