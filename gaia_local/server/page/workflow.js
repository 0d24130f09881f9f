// One workflow: its state, its orders, its graph, and the Step whose panel is open.

import { ask, path, tell, why } from "./api.js";
import { fill, html, put } from "./dom.js";
import { Finder } from "./find.js";
import { glyph } from "./glyphs.js";
import { GraphView } from "./graph.js";
import { StepPanel } from "./panel.js";
import { address, Badge, owner } from "./parts.js";
import { count, several, tally } from "./words.js";

// At least this long between two requests of the whole graph; states come by the stream.
const REFRESH_PAUSE_MS = 1000;
const MESSAGE_MS = 8000; // The time for which the page shows the result of an order.
const FAILED = ["error", "exception"];
// As in the style sheets: here the panel covers the rest.
const NARROW = matchMedia("(max-width: 44rem)");

export class WorkflowView {
  title;
  #name;
  #announce;
  #open;
  #state = null;
  #graph = null;
  #shape = null;
  #states = new Map();
  #panel = null;
  #step = null;
  #refreshing = false;
  #again = false;
  #closed = false;
  #passing = null;
  #noticed = null;
  #counts = new Map();
  #reused = html("b");
  #ofThem = html("li", {}, html("span", {}, this.#reused, " of them reused"));
  #badge = new Badge();
  #owner = html("span", { class: "owner" });
  #legend = html("ul", { class: "legend", "aria-label": "Steps by state" });
  #notices = html("div", { class: "notices" });
  #said = html("p", { class: "said", role: "status" });
  #problem = html("div", { class: "problem", role: "alert", hidden: true });
  #heading = html("h1", { tabindex: -1 });
  #run = html("button", {
    type: "button", click: () => this.#order("run", "Run", {}, "It runs whatever is left to run."),
  }, "Run");
  #halt = html("button",
    { type: "button", click: () => this.#order("halt", "Halt", {}, "Halted.") }, "Halt");
  #all = html("button", { type: "button", click: () => this.#confirm() }, "Expire all…");
  #dialog = html("dialog", { "aria-labelledby": "sure" });
  #none = html("p", { class: "empty", hidden: true });
  #finder = new Finder(() => [...this.#states].map(([step, state]) => ({ step, state })),
    (step) => this.#open(step));
  #picture = new GraphView("", {
    open: (step) => this.#open(step), rerun: (steps) => this.#expire(steps[0]),
  });
  #stage = html("div", { class: "stage" },
    html("div", { class: "tools" }, this.#finder.element, this.#picture.tools),
    this.#picture.element, this.#none);
  #work = html("div", { class: "work" }, this.#stage);
  #gone = html("div", { class: "empty", role: "status", hidden: true });
  #about;

  /** Of the workflow `name`; `open(step | null)` goes to a Step, `announce(text)` reads it out. */
  constructor(name, { open, announce }) {
    this.#name = name;
    this.title = name;
    this.#open = open;
    this.#announce = announce;
    fill(this.#heading, name);
    this.#about = html("div", { class: "about" },
      html("div", { class: "heading" }, this.#heading,
        html("div", { class: "acts", role: "group", "aria-label": "Workflow" },
          this.#run, this.#halt, this.#all)),
      html("div", { class: "standing" },
        this.#badge.element, this.#legend, this.#owner, this.#said),
      this.#notices, this.#problem);
    this.element =
      html("section", { class: "workflow" }, this.#about, this.#gone, this.#work, this.#dialog);
    addEventListener("focus", this.#refresh);
    NARROW.addEventListener("change", this.#updateInert);
  }

  /** Put the keyboard on the workflow's name. */
  focus() {
    this.#heading.focus();
  }

  /** Put the keyboard into the field that finds a Step. */
  find() {
    this.#finder.focus();
  }

  close() {
    this.#closed = true;
    removeEventListener("focus", this.#refresh);
    NARROW.removeEventListener("change", this.#updateInert);
    clearTimeout(this.#passing);
    this.#panel?.close();
    this.#picture.close();
  }

  /** Take in the news of a stream. */
  changed({ workflows, steps }) {
    const entry = Object.hasOwn(workflows, this.#name) ? workflows[this.#name] : undefined;
    if (entry === null) {
      this.refused("This workflow was deleted.");
      return;
    }
    if (entry !== undefined) this.#showEntry(entry);
    this.#applyStates(Object.entries(steps).filter(([, state]) => state !== null));
    if (entry !== undefined || Object.keys(steps).length) this.#refresh();
  }

  /** Show the server's refusal in place of the workflow. */
  refused(text) {
    if (text === null) return;
    this.show(null);
    this.#work.hidden = true;
    this.#gone.hidden = false;
    fill(this.#gone, text);
    for (const button of [this.#run, this.#halt, this.#all]) put(button, "aria-disabled", "true");
  }

  /** Show a Step's panel; null closes it. */
  async show(step, focus = false) {
    if (this.#step !== step) {
      const had = this.#panel;
      this.#step = step;
      had?.close();
      had?.element.remove();
      const acts = { expire: (name) => this.#expire(name), close: () => this.#open(null) };
      this.#panel = step === null ? null : new StepPanel(this.#name, step, acts);
      if (this.#panel !== null) this.#work.append(this.#panel.element);
      this.#updateInert();
      if (this.#panel !== null && this.#graph !== null) this.#panel.setGraph(this.#graph);
    }
    if (focus) (this.#panel ?? this.#picture).focus();
    await this.#picture.select(step);
  }

  /** Keep the keyboard away from elements under the panel. */
  #updateInert = () => {
    for (const part of [this.#about, this.#stage])
      part.inert = NARROW.matches && this.#panel !== null;
  };

  #showEntry(entry) {
    this.#work.hidden = false;
    this.#gone.hidden = true;
    fill(this.#owner, owner(this.#name, entry.properties));
    this.title = `${entry.state}: ${this.#name}`;
    if (this.#state !== null && entry.state !== this.#state)
      this.#announce(`Workflow: ${entry.state}.`);
    this.#state = entry.state;
    this.#badge.show(entry.state);
    put(this.#run, "aria-disabled", String(entry.state === "running"));
    put(this.#halt, "aria-disabled", String(entry.state !== "running"));
    put(this.#all, "aria-disabled", String(entry["step-count"] === 0));
  }

  /** Take in states: `[[step, state], …]`. */
  #applyStates(changed) {
    if (this.#graph === null) return;
    const known = changed.filter(([step]) => this.#states.has(step));
    for (const [step, state] of known) {
      if (FAILED.includes(state) && this.#states.get(step) !== state)
        this.#announce(`Step ${step}: ${state}.`);
      this.#states.set(step, state);
    }
    this.#picture.show(this.#slice(), {});
    this.#count();
    const own = known.find(([step]) => step === this.#step);
    if (own !== undefined) this.#panel?.refresh(own[1]);
  }

  #count() {
    const items = [...tally(this.#states.values())].map(([state, number]) => {
      // Kept, as a sign that turns would begin anew.
      if (!this.#counts.has(state)) {
        const shown = html("b");
        const item =
          html("li", { "data-state": state }, glyph(state), html("span", {}, shown, ` ${state}`));
        this.#counts.set(state, { shown, item });
      }
      const { shown, item } = this.#counts.get(state);
      fill(shown, number);
      return item;
    });
    fill(this.#legend, items, this.#reused.textContent === "" ? null : this.#ofThem);
  }

  /** Ask for the whole graph again, soon: Steps may have come, gone, or got other inputs. */
  #refresh = async () => {
    this.#again = true;
    if (this.#refreshing) return;
    this.#refreshing = true;
    while (this.#again && !this.#closed) {
      this.#again = false;
      const began = performance.now();
      try {
        const [graph, about] = await Promise.all(
          [ask(path("workflows", this.#name, "graph")), ask(path("workflows", this.#name))]);
        if (!this.#closed) await this.#showGraph(graph, about);
      } catch (error) {
        // The stream reports a server or a workflow that is gone.
        const reason = why(error);
        if (this.#graph === null && !this.#closed)
          this.#showProblem(`The workflow can't be shown: ${reason}.`);
      }
      // A large graph isn't asked for more often than it can be shown.
      const pause = Math.max(REFRESH_PAUSE_MS, 20 * (performance.now() - began));
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
    this.#refreshing = false;
  };

  async #showGraph(graph, about) {
    const shape =
      JSON.stringify([graph.steps.map(({ step, command }) => [step, command]), graph.edges]);
    const anew = shape !== this.#shape;
    this.#shape = shape;
    const before = this.#states;
    const first = this.#graph === null;
    this.#graph = graph;
    this.#states = new Map(graph.steps.map(({ step, state }) => [step, state]));
    fill(this.#reused, about.progress.reused);
    this.#count();
    const noticed = JSON.stringify([about.error, about.failures, about["waiting-inputs"]]);
    if (anew || noticed !== this.#noticed) fill(this.#notices, notices(this.#name, graph, about));
    this.#noticed = noticed;
    if (!anew) {
      this.#picture.show(this.#slice(), {});
      if (this.#step !== null && before.get(this.#step) !== this.#states.get(this.#step))
        this.#panel.refresh(this.#states.get(this.#step));
      return;
    }
    this.#none.hidden = graph.steps.length > 0;
    fill(this.#none, "This workflow has no Steps yet.");
    this.#panel?.setGraph(graph);
    this.#shown = { labels: [], groupings: [], suggested: null, ...graph };
    this.#picture.show(this.#slice(), {});
    if (first && this.#step !== null) await this.#picture.select(this.#step);
  }

  #shown = null;

  #slice() {
    const news = { task: null, started: null, ended: null };
    const steps = new Map([...this.#states].map(([step, state]) => [step, { ...news, state }]));
    return { name: this.#name, entry: null, about: null, graph: this.#shown, steps };
  }

  #expire(step) {
    return this.#order("expire",
      `Expire ${step}`, { expire: [step] }, `Expired ${step}: it runs again.`);
  }

  #confirm() {
    if (this.#all.getAttribute("aria-disabled") === "true") return;
    const names = [...this.#states.keys()];
    const close = () => this.#dialog.close();
    const sure = () => {
      close();
      this.#order("expire", "Expire all", { expire: names }, "Expired: all Steps run again.");
    };
    fill(this.#dialog,
      html("h2", { id: "sure" },
        `Expire ${names.length === 1 ? "the one Step" : `all ${names.length} Steps`}?`),
      html("p", {}, "Everything in this workflow runs again, what is complete too."),
      html("div", { class: "line" },
        html("button", { type: "button", click: close }, "Leave as it is"),
        html("button", { type: "button", class: "sure", click: sure }, "Expire all")));
    this.#dialog.showModal();
  }

  /** Give the server an order, and show the reader its result. */
  async #order(method, title, body, done) {
    const button = { run: this.#run, halt: this.#halt, expire: null }[method];
    if (button?.getAttribute("aria-disabled") === "true") return;
    this.#showProblem(null);
    this.#showMessage(`${title}…`);
    try {
      await tell(method, { workflow: this.#name, ...body });
      this.#showMessage(done);
    } catch (error) {
      this.#showMessage(null);
      this.#showProblem(`${title} failed: ${why(error)}`);
    }
  }

  #showMessage(text) {
    clearTimeout(this.#passing);
    fill(this.#said, text);
    this.#passing = setTimeout(() => fill(this.#said, null), MESSAGE_MS);
  }

  #showProblem(text) {
    this.#problem.hidden = text === null;
    fill(this.#problem, text === null ? null : [html("p", {}, text),
      html("button", {
        type: "button", class: "small", "aria-label": "Dismiss",
        click: () => this.#showProblem(null),
      }, "×")]);
  }
}

/** Notices: an error of the whole workflow, failed and unfit Steps, inputs that no Step makes. */
function notices(name, graph, about) {
  const link = ({ step }) => html("a", { href: address(name, step) }, step);
  const found = [];
  if (about.error !== undefined) found.push(html("p", { class: "notice bad" }, about.error));
  if (about.failures.length > 0) {
    const shown = about.failures.slice(0, 4)
      .map((failure, index) => [index ? ", " : null, link(failure)]);
    const more = about.failures.length > 4 ? ` and ${about.failures.length - 4} more` : null;
    const failed = `${count(about.failures.length, "Step")} failed: `;
    found.push(html("p", { class: "notice bad" }, failed, shown, more));
  }
  const { unfit, lacks } = about.progress;
  if (unfit) {
    const which = unfit === 1 ? "1 Step doesn't fit its Command"
      : `${unfit} Steps don't fit their Commands`;
    found.push(html("p", { class: "notice" }, `${which} any more: ${lacks}`));
  }
  const made = new Set(graph.edges.flatMap(({ keys }) => keys));
  const missing = about["waiting-inputs"].filter((key) => !made.has(key));
  if (missing.length > 0) {
    const which = missing.length === 1 ? "an input" : "inputs";
    found.push(html("p", { class: "notice" },
      `Waits for ${which} that no Step makes: ${several(missing)}`));
  }
  return found;
}
