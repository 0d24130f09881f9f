// @ts-check
// One Step: why it failed, what it made and read, its log, its attempts, and its command line.

import { ask, path, why } from "./api.js";
import { AttemptsView } from "./attempts.js";
import { fill, html, put } from "./dom.js";
import { FactsView } from "./step-facts.js";
import { KeyList } from "./keys.js";
import { lastLines, LogView } from "./log.js";
import { Badge } from "./parts.js";

const FAILED = ["error", "exception"];
const LINES = 10; // Of a failed Step's log, in the box that says why it failed.

/** A Step's panel: a `View`, which asks the server again whenever the Step or the graph changes. */
export class StepPanel {
  #workflow;
  #step;
  #acts;
  /** @type {Graph | null} */
  #graph = null;
  /** @type {StepNews | undefined} */
  #news;
  /** @type {Record<string, string>} */
  #query = {};
  #asked = 0;
  #closed = false;
  /** The attempt whose last lines are shown. @type {string | null} */
  #failedTask = null;
  /** The log that is shown, and the key that is open, as the address has them. */
  #shownLog = "";
  #openedKey = "";
  #badge = new Badge();
  #command = html("p", { class: "command" });
  #message = html("p");
  #tail = html("pre",
    { class: "tail", tabindex: 0, role: "region", "aria-label": "End of the log" });
  #failure = html("section", { class: "failure", "aria-label": "Failure", hidden: true },
    this.#message, this.#tail);
  #problem = html("p", { class: "failure", role: "alert", hidden: true });
  #cost = html("p", { class: "note" });
  #facts;
  #outputs;
  #inputs;
  #log;
  #attempts;
  #tokens = html("section");
  #heading;
  #again;

  /**
   * @param {string} workflow
   * @param {string} step
   * @param {Acts & { close(): void }} acts
   */
  constructor(workflow, step, acts) {
    this.#workflow = workflow;
    this.#step = step;
    this.#acts = acts;
    this.#heading = html("h2", { id: "step", tabindex: -1 }, step);
    this.#facts = new FactsView(workflow, step);
    this.#outputs = new KeyList("Outputs", workflow, step);
    this.#inputs = new KeyList("Inputs", workflow, step);
    this.#log = new LogView(workflow, step);
    this.#attempts = new AttemptsView(workflow, step,
      { show: (/** @type {string | null} */ task) => this.#showLog(task) });
    this.#again = html("button", { type: "button", click: () => acts.rerun([step]) });
    this.element = html("aside", { class: "panel", "aria-labelledby": "step" },
      html("header", {},
        html("div", { class: "line" }, this.#badge.element,
          html("button", {
            type: "button", class: "small close", "aria-label": "Close", title: "Close (Esc)",
            click: acts.close,
          }, "×")),
        this.#heading, this.#command),
      html("div", { class: "body" },
        this.#problem, this.#failure, this.#facts.element,
        html("div", { class: "again" }, this.#again, this.#cost),
        this.#outputs.element, this.#inputs.element,
        html("section", {}, html("h3", {}, "Log"), this.#log.element),
        this.#attempts.element, this.#tokens));
    addEventListener("focus", this.#refresh); // Files may have come meanwhile.
  }

  /** Put the keyboard on the Step's name. */
  focus() {
    this.#heading.focus({ preventScroll: true });
  }

  close() {
    this.#closed = true;
    removeEventListener("focus", this.#refresh);
    this.#facts.close();
    this.#log.stop();
    this.#attempts.close();
  }

  /** @param {Slice} slice @param {Record<string, string>} query */
  show(slice, query) {
    this.#query = query;
    const { graph } = slice;
    const news = slice.steps.get(this.#step);
    const changed = graph !== this.#graph || news !== this.#news;
    if (graph !== null && graph !== this.#graph) this.#showGraph(graph);
    this.#graph = graph;
    this.#news = news;
    fill(this.#again, news?.task === null ? "Run" : "Run again");
    put(this.#again, "title", news?.task === null ? "As soon as its inputs are there"
      : "Expire: what it made counts no more, and it runs again");
    if (changed) this.#refresh();
    else this.#showAsked();
  }

  /** @param {Graph} graph */
  #showGraph(graph) {
    const command = graph.steps.find(({ step }) => step === this.#step)?.command;
    fill(this.#command, command === undefined ? null : `Command ${command}`);
    const after = dependents(graph, this.#step);
    const which = after === 1 ? "So does the one Step that depends"
      : `So do the ${after} Steps that depend`;
    fill(this.#cost, after === 0 ? "No other Step depends on it." : `${which} on it.`);
  }

  /** Ask the server for the rest. Only the last of several answers counts. */
  #refresh = async () => {
    const asked = ++this.#asked;
    const state = this.#news?.state
      ?? this.#graph?.steps.find(({ step }) => step === this.#step)?.state ?? null;
    if (state !== null) this.#badge.show(state);
    let told, keys;
    let problem = null;
    try {
      [told, keys] = await Promise.all([
        ask(path("workflows", this.#workflow, "explain"), { name: this.#step }),
        ask(path("workflows", this.#workflow, "keys"), { step: this.#step })]);
    } catch (error) {
      problem = why(error);
    }
    if (asked !== this.#asked || this.#closed) return;
    this.#problem.hidden = problem === null;
    fill(this.#problem, problem);
    if (problem !== null) return;
    this.#facts.show(told, state);
    this.#showFailure(told, state);
    this.#outputs.show(keys.outputs);
    this.#inputs.show(keys.inputs);
    this.#log.start(told.last?.task ?? null);
    this.#attempts.refresh();
    fill(this.#tokens, told.last && [html("h3", {}, "Command line"),
      html("ol", { class: "tokens" }, told.last.command.map(
        (/** @type {string} */ token) => html("li", {}, html("code", {}, token))))]);
    this.#showAsked();
  };

  /** @param {Record<string, any>} told @param {string | null} state */
  async #showFailure(told, state) {
    const failed = state !== null && FAILED.includes(state);
    const task = failed ? told.last?.task ?? null : null;
    this.#failure.hidden = !failed;
    if (!failed) {
      this.#failedTask = null;
      return;
    }
    fill(this.#message, told.last?.message ?? told.because);
    if (task === this.#failedTask) return;
    this.#failedTask = task;
    this.#tail.hidden = true;
    let text;
    try {
      text = await lastLines(this.#workflow, this.#step, LINES);
    } catch (error) {
      text = `The log can't be read: ${why(error)}`;
    }
    if (this.#failedTask !== task) return;
    this.#tail.hidden = text.trim() === "";
    fill(this.#tail, text);
    // The end of the log says what failed.
    this.#tail.scrollTop = this.#tail.scrollHeight;
  }

  /** The log and the key that the address names. */
  #showAsked() {
    const { task = null, line = null, key = "" } = this.#query;
    const log = JSON.stringify([task, line]);
    if (log !== this.#shownLog && (this.#shownLog !== "" || task !== null || line !== null)) {
      this.#log.show({ task, line: line === null ? null : Number(line) });
      this.#shownLog = log;
    }
    if (key === this.#openedKey) return;
    if (key === "" || this.#outputs.open(key) || this.#inputs.open(key)) this.#openedKey = key;
  }

  /** @param {string | null} task */
  #showLog(task) {
    const query = { ...this.#query };
    delete query.line;
    delete query.task;
    this.#acts.open(this.#step, task === null ? query : { ...query, task });
  }
}

/** The number of Steps that depend on a Step, directly or not. @param {Graph} graph
 * @param {string} step */
function dependents(graph, step) {
  /** @type {Map<string, string[]>} */
  const after = new Map();
  for (const { from, to } of graph.edges) {
    const known = after.get(from);
    if (known === undefined) after.set(from, [to]);
    else known.push(to);
  }
  const found = new Set([step]);
  for (const reached of found) for (const next of after.get(reached) ?? []) found.add(next);
  return found.size - 1;
}
