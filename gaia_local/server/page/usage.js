// What a Step's last run took, and what a running one has taken so far.

import { ask, path, why } from "./api.js";
import { fill, html, put } from "./dom.js";
import { bytes, duration, memory } from "./words.js";

const POLL_MS = 2000; // Between two questions for what a running Step has taken.
const SHARE = 20; // Of a large workflow, the answers may take one part in so many of the time.
const PHASES = [["staging", "copying inputs"], ["running", "running"], ["publishing", "storing"]];
const BYTES = [["read", "read"], ["written", "wrote"], ["received", "received"], ["sent", "sent"]];

/** What an attempt took, as pairs of a name and a text; null stands for what nobody measured. */
export function taken(usage) {
  if (usage === null || usage === undefined) return [];
  const parts = (pairs, text) => pairs.filter(([key]) => usage[key] !== null)
    .map(([key, what]) => text(usage[key], what)).join(", ") || null;
  const { cpu_user: user, cpu_system: system } = usage;
  return [
    ["Of that", parts(PHASES, (seconds, what) => `${duration(seconds)} ${what}`)],
    ["CPU time", user === null || system === null ? null : duration(user + system)],
    ["Memory", usage.memory === null ? null : `at most ${memory(usage.memory)}`],
    ["Data", parts(BYTES, (number, what) => `${what} ${bytes(number)}`)],
  ];
}

/** The CPU time and the memory of a Step while it runs: two facts, hidden until known. */
export class LiveUsage {
  #workflow;
  #step;
  #task = null;
  #following = null;
  #cpu = html("dd");
  #memory = html("dd");
  facts = [["CPU time", this.#cpu], ["Memory", this.#memory]].map(([name, told]) =>
    html("div", { hidden: true }, html("dt", {}, name), told));

  constructor(workflow, step) {
    this.#workflow = workflow;
    this.#step = step;
  }

  /** Follow the attempt with this id until `stop`. */
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

  async #follow(signal) {
    while (!signal.aborted) {
      const began = performance.now();
      if (!document.hidden) await this.#ask(signal);
      const pause = Math.max(POLL_MS, SHARE * (performance.now() - began));
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }

  /** A server that can't be reached, or has no such workflow any more, is reported elsewhere. */
  async #ask(signal) {
    try {
      const { usage = {} } = await ask(path("workflows", this.#workflow));
      if (!signal.aborted && Object.hasOwn(usage, this.#step)) this.#show(usage[this.#step]);
    } catch (error) {
      why(error);
    }
  }

  #show({ cpu, memory: held }) {
    fill(this.#cpu, cpu === null ? null : `${duration(cpu)} so far`);
    fill(this.#memory, held === null ? null : `at most ${memory(held)} so far`);
    this.facts.forEach((fact, index) => put(fact, "hidden", [cpu, held][index] === null));
  }
}
