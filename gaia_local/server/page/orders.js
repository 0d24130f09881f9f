// @ts-check
// The orders that a reader gives a workflow: run, halt, run again. Each asks before it costs much.

import { path, tell, why } from "./api.js";
import { halting, question } from "./asking.js";
import { fill, html } from "./dom.js";

const FAILED = ["error", "exception"];

/**
 * @typedef {{ said(text: string | null): void, problem(text: string | null): void }} Telling
 * @typedef {{ method: string, body: object, doing: string, done: string }} Order
 */

/**
 * Gives orders, one at a time: a newer one takes the place of one of which it isn't known yet what
 * would run, and there is none while the reader is asked.
 */
export class Orders {
  #workflow;
  #telling;
  /** @type {ReadonlyMap<string, StepNews>} */
  #steps = new Map();
  #turn = 0;
  element = /** @type {HTMLDialogElement} */ (html("dialog", { "aria-labelledby": "sure" }));

  /**
   * Of a workflow; `said` is given what an order does, `problem` why it failed.
   * @param {string} workflow @param {Telling} telling
   */
  constructor(workflow, telling) {
    this.#workflow = workflow;
    this.#telling = telling;
  }

  /** Take in the present states. @param {Slice} slice */
  know({ steps }) {
    this.#steps = steps;
  }

  /** Run whatever is left to run. */
  run() {
    const left = this.#named((news) => news.state !== "complete");
    return this.#planned(left, {
      method: "run", body: {}, doing: "Run", done: "It runs whatever is left to run.",
    });
  }

  /** Stop all that runs. */
  async halt() {
    if (this.element.open) return;
    const now = Date.now() / 1000;
    const running = [...this.#steps].filter(([, { state }]) => state === "running")
      .map(([step, { started }]) => ({ step, seconds: started ? now - started : 0 }));
    await this.#asked(this.#next(), halting(running),
      { method: "halt", body: {}, doing: "Halt", done: "Halted." });
  }

  /** Run these Steps again, and all that depends on them. @param {string[]} steps */
  rerun(steps) {
    const again = steps.every((step) => this.#steps.get(step)?.task === null) ? "" : " again";
    return this.#expire(steps, `Run${again}`,
      steps.length === 1 ? `${steps[0]} runs${again}.` : `${steps.length} Steps run${again}.`);
  }

  /** Run the failed Steps again, and what waits for them. */
  retryFailed() {
    const failed = [...this.#named(({ state }) => FAILED.includes(state))];
    if (failed.length === 0) return this.#say(this.#next(), "No Step has failed.");
    return this.#expire(failed, "Retry failed",
      failed.length === 1 ? "The failed Step runs again." : "The failed Steps run again.");
  }

  /** Run everything again. */
  expireAll() {
    return this.#expire([...this.#steps.keys()], "Run all again", "All Steps run again.", true);
  }

  /**
   * @param {string[]} steps @param {string} doing @param {string} done @param {boolean} [always]
   */
  #expire(steps, doing, done, always = false) {
    if (steps.length === 0) return this.#say(this.#next(), "There is no Step to run.");
    return this.#planned(new Set(steps),
      { method: "expire", body: { expire: steps }, doing, done }, always);
  }

  /**
   * Carry out what runs Steps, after a question if the engine says that it costs much.
   * @param {Set<string>} named @param {Order} order @param {boolean} [always]
   */
  async #planned(named, order, always = false) {
    if (this.element.open) return;
    const turn = this.#next();
    this.#telling.problem(null);
    this.#say(turn, `${order.doing}: looking at what would run…`);
    try {
      const plan = await tell(path("workflows", this.#workflow, "plan"), order.body);
      if (turn !== this.#turn) return;
      this.#say(turn, null);
      const asked = question(plan, named, { lost: this.#lost(plan), always });
      await this.#asked(turn, asked, order);
    } catch (error) {
      this.#failed(turn, order, error);
    }
  }

  /**
   * Ask, if there is something to ask, and carry the order out unless the reader says no.
   * @param {number} turn @param {string[] | null} sentences @param {Order} order
   */
  async #asked(turn, sentences, order) {
    if (sentences !== null && !await this.#confirmed(sentences, order.doing)) return;
    if (turn !== this.#turn) return;
    this.#telling.problem(null);
    this.#say(turn, `${order.doing}…`);
    try {
      await tell(order.method, { workflow: this.#workflow, ...order.body });
      this.#say(turn, order.done);
    } catch (error) {
      this.#failed(turn, order, error);
    }
  }

  /**
   * Whether the reader agrees. Escape means no; the keyboard goes back to where it was.
   * @param {string[]} sentences @param {string} doing
   * @returns {Promise<boolean>}
   */
  #confirmed(sentences, doing) {
    const dialog = this.element;
    dialog.returnValue = "";
    fill(dialog,
      html("h2", { id: "sure" }, `${doing}?`),
      sentences.map((sentence) => html("p", {}, sentence)),
      html("div", { class: "line" },
        html("button", { type: "button", autofocus: true, click: () => dialog.close() },
          "Leave as it is"),
        html("button",
          { type: "button", class: "sure", click: () => dialog.close("sure") }, doing)));
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close",
        () => resolve(dialog.returnValue === "sure"), { once: true });
    });
  }

  /** The seconds that Steps of a plan have run so far, which would be lost. @param {Plan} plan */
  #lost({ would }) {
    const now = Date.now() / 1000;
    return would.reduce((sum, { step }) => {
      const news = this.#steps.get(step);
      return sum + (news?.state === "running" && news.started ? now - news.started : 0);
    }, 0);
  }

  /** @param {(news: StepNews) => boolean} fits */
  #named(fits) {
    return new Set([...this.#steps].filter(([, news]) => fits(news)).map(([step]) => step));
  }

  #next() {
    this.#turn += 1;
    return this.#turn;
  }

  /** @param {number} turn @param {string | null} text */
  #say(turn, text) {
    if (turn === this.#turn) this.#telling.said(text);
  }

  /** @param {number} turn @param {Order} order @param {unknown} error */
  #failed(turn, { doing }, error) {
    this.#say(turn, null);
    this.#telling.problem(`${doing} failed: ${why(error)}`);
  }
}
