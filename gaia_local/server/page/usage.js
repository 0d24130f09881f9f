// @ts-check
// What a Step's last run took, and what a running one has taken so far.

import { ask, path, why } from "./api.js";
import { fill, html, put } from "./dom.js";
import { cpu, phases, transferred } from "./facts.js";
import { duration, memory } from "./words.js";

const POLL_MS = 2000; // Between two questions for what a running Step has taken.
const SHARE = 20; // Of a large workflow, the answers may take one part in so many of the time.

/**
 * What an attempt took, as pairs of a name and a text; null stands for what nobody measured. The
 * phases begin before the attempt's `started`, which is when its inputs are in their places.
 * @param {Usage | null | undefined} usage
 * @returns {[string, string | null][]}
 */
export function taken(usage) {
  if (usage === null || usage === undefined) return [];
  const seconds = cpu({ usage });
  return [
    ["Phases", phases(usage) || null],
    ["CPU time", seconds === null ? null : duration(seconds)],
    ["Memory", usage.memory === null ? null : `at most ${memory(usage.memory)}`],
    ["Data", transferred(usage) || null],
  ];
}

/** The CPU time and the memory of a Step while it runs: two facts, hidden until known. */
export class LiveUsage {
  #workflow;
  #step;
  /** @type {string | null} */
  #task = null;
  /** @type {AbortController | null} */
  #following = null;
  #cpu = html("dd");
  #memory = html("dd");
  facts = [html("div", { hidden: true }, html("dt", {}, "CPU time"), this.#cpu),
    html("div", { hidden: true }, html("dt", {}, "Memory"), this.#memory)];

  /** @param {string} workflow @param {string} step */
  constructor(workflow, step) {
    this.#workflow = workflow;
    this.#step = step;
  }

  /** Follow the attempt with this id until `stop`. @param {string | null} task */
  start(task) {
    if (this.#following !== null && task === this.#task) return;
    this.stop();
    this.#task = task;
    this.#show({ cpu: null, memory: null });
    this.#following = new AbortController();
    this.#follow(this.#following.signal);
  }

  stop() {
    this.#following?.abort();
    this.#following = null;
  }

  /** @param {AbortSignal} signal */
  async #follow(signal) {
    while (!signal.aborted) {
      const began = performance.now();
      if (!document.hidden) await this.#ask(signal);
      const pause = Math.max(POLL_MS, SHARE * (performance.now() - began));
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }

  /**
   * A server that can't be reached, or has no such workflow any more, is reported elsewhere.
   * @param {AbortSignal} signal
   */
  async #ask(signal) {
    try {
      const { usage = {} } = await ask(path("workflows", this.#workflow));
      if (!signal.aborted && Object.hasOwn(usage, this.#step)) this.#show(usage[this.#step]);
    } catch (error) {
      why(error);
    }
  }

  /** @param {{ cpu: number | null, memory: number | null }} used In seconds, and in bytes. */
  #show({ cpu: seconds, memory: held }) {
    fill(this.#cpu, seconds === null ? null : `${duration(seconds)} so far`);
    fill(this.#memory, held === null ? null : `at most ${memory(held)} so far`);
    this.facts.forEach((fact, index) => put(fact, "hidden", [seconds, held][index] === null));
  }
}
