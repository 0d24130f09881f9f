// One Step: the reason of its last run, its times, its inputs, its result, and its log.

import { ask, path, why } from "./api.js";
import { fill, html } from "./dom.js";
import { LogView } from "./log.js";
import { address, Badge } from "./parts.js";
import { LiveUsage, taken } from "./usage.js";
import { count, duration, moment } from "./words.js";

const NAMES = 6; // Of more Steps than this that a key leads to, the first ones are named.
const ALIVE = ["queued", "running"];

export class StepPanel {
  #workflow;
  #step;
  #expire;
  #graph;
  #announced = null;
  #state = null;
  #asked = 0;
  #badge = new Badge();
  #log;
  #usage;
  #command = html("p", { class: "command" });
  #failure = html("p", { class: "failure", hidden: true });
  #cost = html("p", { class: "note" });
  #problem = html("p", { class: "failure", role: "alert", hidden: true });
  #facts = html("dl", { class: "facts" });
  #tokens = html("section");
  #keys = html("section");
  #heading;
  #elapsed = html("span");
  #clock = setInterval(() => this.#tick(), 1000);
  #started = null;
  #large;

  /** Of a Step; `expire(step)` and `close()` are called when the reader asks for them. */
  constructor(workflow, step, { rerun, close }) {
    this.#workflow = workflow;
    this.#step = step;
    this.#expire = html("button", { type: "button", click: () => rerun([step]) }, "Expire");
    this.#heading = html("h2", { id: "step", tabindex: -1 }, step);
    this.#log = new LogView(workflow, step);
    this.#usage = new LiveUsage(workflow, step);
    this.#large = html("button",
      { type: "button", class: "small", "aria-pressed": "false", click: () => this.#enlarge() },
      "Enlarge");
    this.element = html("aside", { class: "panel", "aria-labelledby": "step" },
      html("header", {},
        html("div", { class: "line" }, this.#badge.element,
          html("button", {
            type: "button", class: "small close", "aria-label": "Close", title: "Close (Esc)",
            click: close,
          }, "×")),
        this.#heading, this.#command),
      html("div", { class: "body" },
        this.#problem, this.#failure, this.#facts,
        html("div", { class: "expire" }, this.#expire, this.#cost),
        html("section", { class: "log-part" },
          html("div", { class: "line" }, html("h3", {}, "Log"), this.#large), this.#log.element),
        this.#tokens, this.#keys));
  }

  /** Put the keyboard on the Step's name. */
  focus() {
    this.#heading.focus({ preventScroll: true });
  }

  close() {
    clearInterval(this.#clock);
    this.#log.stop();
    this.#usage.stop();
  }

  #news = null;

  show({ graph, steps }) {
    if (graph === null) return undefined;
    const news = steps.get(this.#step);
    const [anew, other] = [graph !== this.#graph, news !== this.#news];
    this.#news = news;
    if (anew) {
      return this.setGraph(graph);
    }
    return other ? this.refresh(news?.state ?? this.#state) : undefined;
  }

  /** Take in a graph, which has the Step's neighbours and its state, and ask for the rest. */
  setGraph(graph) {
    this.#graph = graph;
    this.#announced = null;
    this.#state = graph.steps.find(({ step }) => step === this.#step)?.state ?? this.#state;
    const after = dependents(graph, this.#step);
    const which = after === 1 ? "the one Step that depends" : `the ${after} Steps that depend`;
    fill(this.#cost, after === 0 ? "Runs it again. No other Step depends on it."
      : `Runs it again, and ${which} on it.`);
    return this.refresh(this.#state);
  }

  /** Take in the Step's new state, and ask for the rest. */
  async refresh(state) {
    this.#state = state;
    const asked = ++this.#asked;
    let told = null;
    let problem = null;
    try {
      told = await ask(path("workflows", this.#workflow, "explain"), { name: this.#step });
    } catch (error) {
      problem = why(error);
    }
    if (asked !== this.#asked) return;
    this.#problem.hidden = problem === null;
    fill(this.#problem, problem);
    if (told !== null) this.#show(told);
  }

  #show(told) {
    this.#log.start(told.last?.task ?? null);
    const text = JSON.stringify([told, this.#state]);
    if (text === this.#announced) return;
    this.#announced = text;
    const { last } = told;
    const failed = ["error", "exception"].includes(this.#state);
    const running = this.#state === "running";
    this.#badge.show(this.#state);
    const command = this.#graph.steps.find(({ step }) => step === this.#step)?.command;
    fill(this.#command, command === undefined ? null : `Command ${command}`);
    this.#failure.hidden = !failed;
    fill(this.#failure, failed ? last?.message ?? told.because : null);
    const reused = last?.reused;
    fill(this.#facts,
      fact("Reused from", reused && [
        html("a", { href: address(reused.workflow, reused.step) }, reused.step),
        " of ", html("a", { href: address(reused.workflow) }, reused.workflow)]),
      fact(reused ? "Because"
        : last !== null && ALIVE.includes(last.state) ? "Runs because" : "Ran because",
      last?.reason),
      ["complete", "running"].includes(this.#state) ? null : fact("Now", told.because),
      fact(reused ? "Copied" : "Started", last?.started
        && html("time", { datetime: new Date(last.started * 1000).toISOString() },
          moment(last.started))),
      fact(running ? "Running for" : "Took",
        running ? this.#elapsed : last?.elapsed && duration(last.elapsed)),
      running ? this.#usage.facts : taken(last?.usage).map(([name, amount]) => fact(name, amount)),
      fact("Exit code", last?.exit_code),
      fact("Image", last && html("span", { title: last.image_id ?? null }, last.image)));
    this.#started = running ? last?.started ?? null : null;
    if (running) this.#usage.start(last?.task ?? null);
    else this.#usage.stop();
    this.#tick();
    fill(this.#tokens, last && [html("h3", {}, "Command line"),
      html("ol", { class: "tokens" },
        last.command.map((token) => html("li", {}, html("code", {}, token))))]);
    fill(this.#keys, this.#inputs(told), this.#outputs(told));
  }

  #tick() {
    if (this.#started !== null)
      fill(this.#elapsed, duration(Math.max(0, Math.round(Date.now() / 1000 - this.#started))));
  }

  #inputs(told) {
    if (told.reads.length === 0) return [];
    const makers = this.#others("to", "from");
    return [html("h3", {}, "Inputs"), html("ul", { class: "keys" }, told.reads.map((key) => {
      const digest = told.last !== null && Object.hasOwn(told.last.inputs, key)
        ? told.last.inputs[key] : null;
      const missing = Object.hasOwn(told.waits_for, key);
      return html("li", {}, html("code", {}, key), html("span", { class: "note" },
        missing ? "not there yet" : null,
        makers.has(key) ? [missing ? ", " : null, "made by ", this.#links(makers.get(key))]
          : missing ? ", and no Step makes it" : "yours",
        digest && !missing ? html("span",
          { class: "digest", title: `content digest, BLAKE2b: ${digest}` },
          digest.replace(/^d:/, "").slice(0, 8)) : null));
    }))];
  }

  #outputs(told) {
    if (told.makes.length === 0) return [];
    const readers = this.#others("from", "to");
    return [html("h3", {}, "Outputs"),
      html("ul", { class: "keys" }, told.makes.map((key) => html("li", {}, html("code", {}, key),
        html("span", { class: "note" },
          readers.has(key) ? ["read by ", this.#links(readers.get(key))] : "read by no Step"))))];
  }

  /** Key → the Steps at the other ends of this Step's edges. */
  #others(side, other) {
    const found = new Map();
    for (const edge of this.#graph.edges) {
      if (edge[side] !== this.#step) continue;
      for (const key of edge.keys) found.set(key, [...(found.get(key) ?? []), edge[other]]);
    }
    return found;
  }

  #links(steps) {
    const links = steps.slice(0, NAMES).map((step, index) => [
      index ? ", " : null,
      html("a", { href: address(this.#workflow, step) }, step)]);
    return [links,
      steps.length > NAMES ? ` and ${count(steps.length - NAMES, "more Step")}` : null];
  }

  #enlarge() {
    const large = this.element.classList.toggle("large");
    this.#large.setAttribute("aria-pressed", String(large));
    fill(this.#large, large ? "Show the rest" : "Enlarge");
  }
}

function fact(name, value) {
  return value === null || value === undefined || value === 0
    ? null : html("div", {}, html("dt", {}, name), html("dd", {}, value));
}

/** The number of Steps that depend on a Step, directly or not. */
function dependents(graph, step) {
  const after = new Map();
  for (const { from, to } of graph.edges) after.set(from, [...(after.get(from) ?? []), to]);
  const found = new Set();
  const todo = [step];
  while (todo.length) {
    for (const next of after.get(todo.pop()) ?? []) {
      if (next !== step && !found.has(next)) {
        found.add(next);
        todo.push(next);
      }
    }
  }
  return found.size;
}
