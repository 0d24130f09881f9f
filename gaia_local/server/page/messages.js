// @ts-check
// What the page says of an order: its result, for some seconds, or why it failed.

import { fill, html } from "./dom.js";

const MESSAGE_MS = 8000; // The time for which the page shows the result of an order.

export class Messages {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #passing;
  said = html("p", { class: "said", role: "status" });
  problem = html("div", { class: "problem", role: "alert", hidden: true });

  /** @param {string | null} text */
  say(text) {
    clearTimeout(this.#passing);
    fill(this.said, text);
    if (text !== null) this.#passing = setTimeout(() => fill(this.said, null), MESSAGE_MS);
  }

  /** Shown until the reader dismisses it. @param {string | null} text */
  complain(text) {
    this.problem.hidden = text === null;
    fill(this.problem, text === null ? null : [html("p", {}, text),
      html("button", {
        type: "button", class: "small", "aria-label": "Dismiss",
        click: () => this.complain(null),
      }, "×")]);
  }

  close() {
    clearTimeout(this.#passing);
  }
}
