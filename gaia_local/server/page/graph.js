// The picture of one workflow's graph: its layout, its states, and moves by arrow keys.

import { html, put, svg } from "./dom.js";
import { layout } from "./layout.js";
import { next } from "./moves.js";
import { plan, wantsGroups } from "./plan.js";
import { edge, fonts, GroupShape, StepShape, stepWidth } from "./shapes.js";
import { Viewport } from "./viewport.js";

const READABLE = 0.6; // A first look is no smaller than this.

export class GraphView {
  #graph = null;
  #states = new Map();
  #grouped = false;
  #opened = new Set();
  #drawn = null;
  #selected = null;
  #current = null;
  #lit = null;
  #picked;
  #hint = html("p", { class: "hint", id: "graph-keys", hidden: true },
    "Arrow keys go from Step to Step, Enter opens one, plus and minus zoom, 0 shows all.");
  #edges = svg("g", { class: "edges" });
  #nodes = svg("g", { class: "nodes" });
  #scene = svg("g", {}, this.#edges, this.#nodes);
  #svg = svg("svg",
    { class: "graph", role: "application", tabindex: -1, "aria-describedby": "graph-keys" },
    svg("defs", {}, arrow("arrow"), arrow("arrow-lit")), this.#scene);
  #view = new Viewport(this.#svg, this.#scene);
  #resized = new ResizeObserver(() => this.#keepInSight());

  #shown = null;
  #wanted = null;
  #none = html("p", { class: "empty", hidden: true }, "This workflow has no Steps yet.");
  #groups = html("button",
    { type: "button", class: "small", "aria-pressed": "false", click: () => this.#group() },
    "Group", html("span", { class: "wide" }, " by Command"));

  constructor(name, acts) {
    this.#picked = (step) => acts.open(step);
    const button = (label, text, act) =>
      html("button", { type: "button", "aria-label": label, title: label, click: act }, text);
    this.element = html("div", { class: "canvas" }, this.#svg, this.#hint, this.#none);
    const zoom = html("div", { class: "zoom", role: "group", "aria-label": "Zoom" },
      button("Zoom out", "−", () => this.#view.zoom(1 / 1.25)),
      button("Zoom in", "+", () => this.#view.zoom(1.25)),
      button("Fit: show all", "Fit", () => this.fit()));
    this.tools = html("div", { class: "own" }, this.#groups, zoom);
    this.#svg.addEventListener("click", this.#click);
    this.#svg.addEventListener("keydown", this.#key);
    this.#svg.addEventListener("focusin", (event) => this.#focused(event));
    this.#svg.addEventListener("focusout", () => this.#light(this.#selected));
    this.#svg.addEventListener("pointerover",
      (event) => this.#light(this.#placeOf(event.target)?.name ?? this.#selected));
    this.#svg.addEventListener("pointerleave", () => this.#light(this.#selected));
    this.#resized.observe(this.#svg);
  }

  close() {
    this.#resized.disconnect();
  }

  async show(slice) {
    const { graph } = slice;
    if (graph === null) return;
    const before = this.#shown;
    this.#shown = slice;
    if (before?.graph !== graph) {
      this.#none.hidden = graph.steps.length > 0;
      await this.#redraw();
    }
    this.states([...this.#shown.steps].filter(([step]) => this.#states.has(step))
      .map(([step, { state }]) => [step, state]));
    if (before?.graph !== graph && this.#wanted !== null) await this.select(this.#wanted);
  }

  async #redraw() {
    const graph = this.#shown.graph;
    const grouped = this.#chosen ?? wantsGroups(graph);
    put(this.#groups, "aria-pressed", String(grouped));
    await this.#showGraph(graph, grouped);
  }

  #chosen = null;

  #group() {
    if (this.#shown === null) return;
    this.#chosen = this.#groups.getAttribute("aria-pressed") !== "true";
    this.#redraw();
  }

  async #showGraph(graph, grouped) {
    const anew = this.#graph === null || grouped !== this.#grouped;
    this.#graph = graph;
    this.#grouped = grouped;
    this.#states = new Map(graph.steps.map(({ step, state }) => [step, state]));
    put(this.#svg, "aria-label", `Graph of the workflow ${graph.workflow}`);
    if (await this.#draw() && (anew || !this.#view.moved)) this.fit(READABLE);
  }

  /** Take in the states of some Steps. */
  states(changed) {
    for (const [step, state] of changed) this.#states.set(step, state);
    for (const shape of this.#drawn?.shapes.values() ?? []) shape.show?.(this.#states);
  }

  /** Show the whole picture, no smaller than `least`. */
  fit(least) {
    if (this.#drawn !== null)
      this.#view.fit({ x: 0, y: 0, width: this.#drawn.width, height: this.#drawn.height }, least);
  }

  /** Mark the selected Step (null: none), and bring it in sight, opening its group. */
  async select(step) {
    this.#wanted = step;
    this.#selected = step;
    const command = this.#graph?.steps.find((entry) => entry.step === step)?.command;
    if (command !== undefined && this.#drawn !== null
      && !this.#drawn.places.some((place) => place.name === step)) {
      this.#opened.add(command);
      if (await this.#draw()) this.#showGroup(command);
    }
    this.#mark();
    const place = this.#drawn?.places.find((candidate) => candidate.name === step);
    if (place !== undefined) {
      this.#goTo(place, false);
      this.#view.reveal(place);
    }
  }

  /** Put the keyboard on the Step or group where it was last. */
  focus() {
    this.#current?.element.focus({ preventScroll: true });
  }

  async #draw() {
    const { nodes, edges } = plan(this.#graph, this.#grouped, this.#opened);
    const font = fonts(this.#svg);
    const room = this.#view.room;
    const fresh = (step) => ({ ...step, state: this.#states.get(step.step) });
    const wide =
      stepWidth(nodes.filter(({ kind }) => kind === "step").map(({ step }) => step), font);
    const ratio = Math.max(0.7, Math.min(2.2, room.width / room.height));
    const wanted = { width: room.width / READABLE, shape: ratio };
    const shapes = new Map(nodes.map((node) => {
      if (node.kind === "junction") return [node.id, { width: 1, height: 1 }];
      if (node.kind === "step") return [node.id, new StepShape(fresh(node.step), font, wide)];
      const steps = node.steps.map(fresh);
      return [node.id, new GroupShape({ ...node, steps }, font, wanted)];
    }));
    put(this.element, "aria-busy", "true");
    const sizes = [...shapes].map(([id, { width, height }]) => ({ id, width, height }));
    const laid = nodes.length
      ? await layout(sizes, edges, room) : { nodes: {}, edges: [], width: 1, height: 1 };
    if (laid === null) return false;
    put(this.element, "aria-busy", null);

    const places = [];
    for (const [id, shape] of shapes) {
      shape.x = laid.nodes[id].x - shape.width / 2;
      shape.y = laid.nodes[id].y - shape.height / 2;
      if (shape.element === undefined) continue;
      put(shape.element, "transform", `translate(${shape.x.toFixed(1)} ${shape.y.toFixed(1)})`);
      places.push(
        ...shape.spots.map((spot) => ({ ...spot, x: shape.x + spot.x, y: shape.y + spot.y })));
    }
    const lines = edges.map((link, index) => ({
      ...link,
      element: edge(laid.edges[index], shapes.get(link.from), shapes.get(link.to), laid.across),
    }));
    this.#drawn = {
      shapes, places, lines, at: new Map(places.map((spot) => [spot.element, spot])),
      width: laid.width, height: laid.height,
    };
    const held = this.#svg.contains(document.activeElement);
    this.#edges.replaceChildren(...lines.map(({ element }) => element));
    const elements = [...shapes.values()].map(({ element }) => element);
    this.#nodes.replaceChildren(...elements.filter(Boolean));
    this.states([]);
    const kept = places.find((candidate) => candidate.id === this.#current?.id);
    this.#current = null;
    this.#goTo(kept ?? places[0] ?? null, held);
    this.#mark();
    return true;
  }

  #mark() {
    for (const { element, name } of this.#drawn?.places ?? []) {
      put(element, "aria-current", name !== null && name === this.#selected ? "true" : null);
    }
    this.#light(this.#selected);
  }

  /** Bring out the edges of a Step, and the Steps at their ends. */
  #light(step) {
    if (this.#drawn === null || (step === this.#lit?.step && this.#lit.drawn === this.#drawn))
      return;
    this.#lit = { step, drawn: this.#drawn };
    const near = new Set();
    for (const { from, to } of step === null ? [] : this.#graph.edges) {
      if (from === step) near.add(to);
      if (to === step) near.add(from);
    }
    for (const { makers, readers, element } of this.#drawn.lines) {
      const lit = step !== null && (makers.has(step) || readers.has(step));
      element.classList.toggle("lit", lit);
      if (lit) this.#edges.append(element); // above the others
      if (element.hasAttribute("marker-end"))
        put(element, "marker-end", lit ? "url(#arrow-lit)" : "url(#arrow)");
    }
    for (const { name, element } of this.#drawn.places)
      element.classList.toggle("near", near.has(name));
  }

  #placeOf(target) {
    return this.#drawn?.at.get(target.closest("[role=button]"));
  }

  #goTo(wanted, focus) {
    if (this.#current !== null) put(this.#current.element, "tabindex", -1);
    this.#current = wanted;
    if (wanted === null) return;
    put(wanted.element, "tabindex", 0);
    if (focus) wanted.element.focus({ preventScroll: true });
  }

  #focused(event) {
    const wanted = this.#placeOf(event.target);
    if (wanted === undefined) return;
    this.#goTo(wanted, false);
    if (event.target.matches(":focus-visible")) {
      this.#view.reveal(wanted);
      this.#light(wanted.name ?? this.#selected);
    }
  }

  #click = (event) => {
    const wanted = this.#placeOf(event.target);
    if (wanted === undefined) return;
    this.#goTo(wanted, true);
    this.#act(wanted);
  };

  #key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#current === null) return;
    const { places } = this.#drawn;
    const acts = {
      Enter: () => this.#act(this.#current),
      " ": () => this.#act(this.#current),
      "+": () => this.#view.zoom(1.25),
      "-": () => this.#view.zoom(1 / 1.25),
      0: () => this.fit(),
      Home: () => this.#goTo(places[0], true),
      End: () => this.#goTo(places.at(-1), true),
    };
    const wanted = next(places, this.#current, event.key);
    if (wanted !== null) this.#goTo(wanted, true);
    else if (Object.hasOwn(acts, event.key)) acts[event.key]();
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
  };

  async #act({ name, command }) {
    if (name !== null) {
      this.#picked(name);
      return;
    }
    if (!this.#opened.delete(command)) this.#opened.add(command);
    if (await this.#draw()) this.#showGroup(command);
  }

  #showGroup(command) {
    const drawn = this.#drawn.shapes.get(`group ${command}`);
    if (drawn.width * this.#view.scale > this.#view.room.width
      || drawn.height * this.#view.scale > this.#view.room.height) {
      this.#view.fit(drawn, READABLE);
    } else {
      this.#view.reveal(drawn);
    }
  }

  #keepInSight() {
    if (this.#drawn === null) return;
    if (!this.#view.moved) this.fit(READABLE);
    const place = this.#drawn.places.find(({ name }) => name !== null && name === this.#selected);
    if (place !== undefined) this.#view.reveal(place);
  }
}

function arrow(id) {
  return svg("marker", {
    id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto",
    markerUnits: "userSpaceOnUse",
  },
    svg("path", { d: "M0 0.8 7.5 4 0 7.2Z" }));
}
