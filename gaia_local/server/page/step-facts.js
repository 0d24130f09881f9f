// @ts-check
// When a Step ran, why, how long, and what that took.

import { fill, html } from "./dom.js";
import { address } from "./parts.js";
import { LiveUsage, taken } from "./usage.js";
import { duration, moment } from "./words.js";

const ALIVE = ["queued", "running"];

/** The facts of a Step's latest attempt; those of a running one grow. */
export class FactsView {
  #usage;
  /** @type {number | null} */
  #started = null;
  #elapsed = html("span");
  #clock = setInterval(() => this.#tick(), 1000);
  element = html("dl", { class: "facts" });

  /** @param {string} workflow @param {string} step */
  constructor(workflow, step) {
    this.#usage = new LiveUsage(workflow, step);
  }

  close() {
    clearInterval(this.#clock);
    this.#usage.stop();
  }

  /**
   * @param {Record<string, any>} told what the server explains
   * @param {string | null} state
   */
  show(told, state) {
    const { last } = told;
    const reused = last?.reused;
    const running = state === "running";
    const ended = last && !ALIVE.includes(last.state) ? last.ended : null;
    this.#started = running ? last?.started ?? null : null;
    this.#tick();
    if (running) this.#usage.start(last?.task ?? null);
    else this.#usage.stop();
    fill(this.element,
      fact("Reused from", reused && [
        html("a", { href: address(reused.workflow, reused.step) }, reused.step),
        " of ", html("a", { href: address(reused.workflow) }, reused.workflow)]),
      fact(reused ? "Because"
        : last !== null && ALIVE.includes(last.state) ? "Runs because" : "Ran because",
      last?.reason),
      state === "complete" || running ? null : fact("Now", told.because),
      fact(reused ? "Copied" : "Started", time(last?.started)),
      reused ? null : fact("Ended", time(ended)),
      fact(running ? "Running for" : "Took",
        running ? this.#elapsed : last?.elapsed && duration(last.elapsed)),
      running ? this.#usage.facts : taken(last?.usage).map(([name, amount]) => fact(name, amount)),
      fact("Exit code", last?.exit_code),
      fact("Image", last && html("span", { title: last.image_id ?? null }, last.image)));
  }

  #tick() {
    if (this.#started !== null)
      fill(this.#elapsed, duration(Math.max(0, Math.round(Date.now() / 1000 - this.#started))));
  }
}

/** @param {number | null | undefined} seconds since the epoch */
function time(seconds) {
  return seconds
    ? html("time", { datetime: new Date(seconds * 1000).toISOString() }, moment(seconds)) : null;
}

/** @param {any} name @param {any} value */
function fact(name, value) {
  return value === null || value === undefined || value === 0
    ? null : html("div", {}, html("dt", {}, name), html("dd", {}, value));
}
