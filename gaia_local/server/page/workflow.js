// @ts-check
// One workflow: its header, its tabs, and the Step whose panel is open.

import { DefinitionView } from "./definition.js";
import { fill, html } from "./dom.js";
import { Finder } from "./find.js";
import { GraphView } from "./graph.js";
import { Header } from "./header.js";
import { Messages } from "./messages.js";
import { Orders } from "./orders.js";
import { StepPanel } from "./panel.js";
import { Part } from "./part.js";
import { TableView } from "./table.js";
import { Tabs } from "./tabs.js";
import { TimelineView } from "./timeline.js";

/** @type {Record<string, { title: string, View: new (name: string, acts: Acts) => View }>} */
const VIEWS = {
  graph: { title: "Graph", View: GraphView },
  table: { title: "Table", View: TableView },
  timeline: { title: "Timeline", View: TimelineView },
  definition: { title: "Definition", View: DefinitionView },
};
// As in the style sheets: here the panel covers the rest.
const NARROW = matchMedia("(max-width: 44rem)");

export class WorkflowView {
  #name;
  /** @type {Acts} */
  #acts;
  /** @type {Slice | null} */
  #slice = null;
  /** @type {Route | null} */
  #route = null;
  /** @type {Map<string, { part: Part, place: HTMLElement }>} */
  #tabsMade = new Map();
  /** @type {Part | null} */
  #panel = null;
  #messages = new Messages();
  #orders;
  #header;
  #finder;
  #tabs = new Tabs("Views",
    new Map(Object.entries(VIEWS).map(([id, { title }]) => [id, title])),
    (id) => this.#acts.open(this.#route?.step ?? null,
      { ...ofThePanel(this.#route), view: id === "graph" ? "" : id, state: "" }));
  #tools = html("div", { class: "own" });
  #stage;
  #work;
  #gone = html("div", { class: "empty", role: "status", hidden: true });
  element;

  /**
   * @param {string} name
   * @param {Pick<Acts, "open">} acts
   */
  constructor(name, { open }) {
    this.#name = name;
    this.#acts = { open, rerun: (steps) => this.#orders.rerun(steps) };
    this.#orders = new Orders(name, {
      said: (text) => this.#messages.say(text), problem: (text) => this.#messages.complain(text) });
    this.#header = new Header(name, this.#orders, this.#messages);
    this.#finder = new Finder(() => this.#slice?.steps ?? new Map(), (step) => open(step));
    this.#stage = html("div", { class: "stage" },
      html("div", { class: "tools" }, this.#tabs.element, this.#finder.element, this.#tools));
    this.#work = html("div", { class: "work" }, this.#stage);
    this.element = html("section", { class: "workflow" },
      this.#header.element, this.#gone, this.#work, this.#orders.element);
    NARROW.addEventListener("change", this.#updateInert);
  }

  /** Put the keyboard on the workflow's name. */
  focus() {
    this.#header.focus();
  }

  /** Put the keyboard on the Step's panel, or on the tab's view. */
  focusPart() {
    const { part, place } = this.#tab();
    (this.#panel ?? part).act(() => {
      const view = this.#panel?.view ?? part.view;
      if (view?.focus) view.focus();
      else place.focus();
    });
  }

  /** Put the keyboard into the field that finds a Step. */
  find() {
    this.#finder.focus();
  }

  close() {
    NARROW.removeEventListener("change", this.#updateInert);
    this.#messages.close();
    this.#panel?.close();
    for (const { part } of this.#tabsMade.values()) part.close();
  }

  /** What the window is called: the state first, as a narrow tab shows only the beginning. */
  get title() {
    const entry = this.#slice?.entry;
    return entry ? `${entry.state}: ${this.#name}` : this.#name;
  }

  /** Why nothing can be shown. @param {string} text */
  complain(text) {
    this.#messages.complain(text);
  }

  /** @param {PageState} state */
  show({ route, slice, refused }) {
    this.#slice = slice;
    this.#gone.hidden = refused === null;
    this.#work.hidden = refused !== null;
    fill(this.#gone, refused);
    if (refused !== null || slice === null) this.#header.refuse();
    else this.#header.show(slice);
    this.#go(refused === null ? route : { ...route, step: null });
    if (slice === null || refused !== null) return;
    this.#orders.know(slice);
    this.#tab().part.show(slice, route.query);
    this.#panel?.show(slice, route.query);
  }

  /** Turn to the tab and the Step of a route. @param {Route} route */
  #go(route) {
    const before = this.#route;
    this.#route = route;
    const turned = before === null || viewOf(before) !== viewOf(route);
    const other = before?.step !== route.step;
    if (turned) this.#turn(viewOf(route));
    if (other) this.#open(route.step);
    if (turned || other) this.#tab().part.act(() => this.#tab().part.view?.select?.(route.step));
    if (before !== null && (other || (turned && !this.#tabs.focused))) this.focusPart();
  }

  /** @param {string} id */
  #turn(id) {
    this.#tabs.show(id);
    const { part, place } = this.#tab();
    for (const { place: other } of this.#tabsMade.values()) other.hidden = other !== place;
    fill(this.#tools, part.view?.tools);
  }

  /** The tab that is shown, made when it is first looked at. */
  #tab() {
    const id = viewOf(this.#route);
    let tab = this.#tabsMade.get(id);
    if (tab === undefined) {
      const { title, View } = VIEWS[id];
      const part = new Part(title, () => new View(this.#name, this.#acts), this.#failed);
      const place = html("div", {
        class: "view", role: "tabpanel", id: `view-${id}`, "aria-labelledby": `tab-${id}`,
        tabindex: -1,
      }, part.view?.element);
      this.#stage.append(place);
      tab = { part, place };
      this.#tabsMade.set(id, tab);
    }
    return tab;
  }

  /** Show a Step's panel; null closes it. @param {string | null} step */
  #open(step) {
    this.#panel?.close();
    this.#panel?.view?.element.remove();
    this.#panel = step === null ? null : new Part("Step", () => new StepPanel(
      this.#name, step, { ...this.#acts, close: () => this.#acts.open(null) }), this.#failed);
    if (this.#panel?.view) this.#work.append(this.#panel.view.element);
    this.#updateInert();
  }

  #failed = (/** @type {string} */ text) => this.#messages.complain(text);

  /** Keep the keyboard away from elements under the panel. */
  #updateInert = () => {
    for (const part of [this.#header.element, this.#stage])
      part.inert = NARROW.matches && Boolean(this.#panel?.view);
  };
}

/** The tab that a route asks for. @param {Route | null} route */
function viewOf(route) {
  const wanted = route?.query.view ?? "graph";
  return Object.hasOwn(VIEWS, wanted) ? wanted : "graph";
}

/** What an address says of the Step's panel. @param {Route | null} route */
function ofThePanel(route) {
  return Object.fromEntries(Object.entries(route?.query ?? {})
    .filter(([name]) => !["view", "state"].includes(name)));
}
