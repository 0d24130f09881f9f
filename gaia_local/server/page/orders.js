// @ts-check
import { tell, why } from "./api.js";
import { fill, html } from "./dom.js";

/** @typedef {{ said(text: string | null): void, problem(text: string | null): void }} Says */

export class Orders {
  #workflow;
  #says;
  /** @type {Slice | null} */
  #slice = null;
  element = html("dialog", { "aria-labelledby": "sure" });

  /** @param {string} workflow @param {Says} says */
  constructor(workflow, says) {
    this.#workflow = workflow;
    this.#says = says;
  }

  /** @param {Slice} slice */
  know(slice) {
    this.#slice = slice;
  }

  run() {
    return this.#order("run", "Run", {}, "It runs whatever is left to run.");
  }

  halt() {
    return this.#order("halt", "Halt", {}, "Halted.");
  }

  /** @param {string[]} steps */
  rerun(steps) {
    return this.#order("expire", `Expire ${steps[0]}`, { expire: steps },
      `Expired ${steps[0]}: it runs again.`);
  }

  retryFailed() {
    this.rerun([...this.#slice?.steps ?? []].filter(([, { state }]) => state === "error")
      .map(([step]) => step));
  }

  expireAll() {
    const names = [...this.#slice?.steps.keys() ?? []];
    const close = () => this.element.close();
    const sure = () => {
      close();
      this.#order("expire", "Expire all", { expire: names }, "Expired: all Steps run again.");
    };
    fill(this.element,
      html("h2", { id: "sure" },
        `Expire ${names.length === 1 ? "the one Step" : `all ${names.length} Steps`}?`),
      html("p", {}, "Everything in this workflow runs again, what is complete too."),
      html("div", { class: "line" },
        html("button", { type: "button", click: close }, "Leave as it is"),
        html("button", { type: "button", class: "sure", click: sure }, "Expire all")));
    this.element.showModal();
  }

  /** @param {string} method @param {string} title @param {object} body @param {string} done */
  async #order(method, title, body, done) {
    this.#says.problem(null);
    this.#says.said(`${title}…`);
    try {
      await tell(method, { workflow: this.#workflow, ...body });
      this.#says.said(done);
    } catch (error) {
      this.#says.said(null);
      this.#says.problem(`${title} failed: ${why(error)}`);
    }
  }
}
