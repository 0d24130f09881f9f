// @ts-check
// The picture of one workflow's graph: its grouping, its states, and moves by arrow keys.

import { arrange } from "./arrange.js";
import { fill, html, put, svg } from "./dom.js";
import { first, fitted, READABLE } from "./fitting.js";
import { GroupingChoice } from "./grouping-choice.js";
import { around, isOpen } from "./groups.js";
import { layout } from "./layout.js";
import { Minimap } from "./minimap.js";
import { next } from "./moves.js";
import { plan } from "./plan.js";
import { Scene } from "./scene.js";
import { arrow, fonts, widths } from "./shapes.js";
import { Told } from "./told.js";
import { Viewport } from "./viewport.js";

/** @implements {View} */
export class GraphView {
  #acts;
  /** @type {Told | null} */
  #told = null;
  /** @type {ReadonlyMap<string, StepNews>} */
  #news = new Map();
  /** @type {Set<string>} the groups that the reader opened or closed */
  #turned = new Set();
  /** @type {DrawnGroup[]} */
  #groups = [];
  #drawing = Promise.resolve();
  #draws = 0;
  #waits = 0;
  #unseen = false; // Whether something that wasn't drawn yet came in sight.
  #drawn = false;
  /** @type {string | null} */
  #selected = null;
  /** @type {Place | null} where the keyboard is, or was last */
  #current = null;
  /** @type {number | null} the Step whose edges are brought out */
  #lit = null;

  #hint = html("p", { class: "hint", id: "graph-keys", hidden: true },
    "Arrow keys go from Step to Step, Enter opens one, plus and minus zoom, 0 shows all.");
  #caption = html("p", { class: "caption", hidden: true });
  #problem = html("p", { class: "unable", role: "alert", hidden: true });
  #note = html("p", { class: "note plainly", hidden: true },
    "Drawn in simple rows, as a better layout takes too long.");
  #choice = new GroupingChoice(() => this.#choose());
  #svg = svg("svg",
    { class: "graph", role: "application", tabindex: -1, "aria-describedby": "graph-keys" },
    svg("defs", {}, arrow("arrow"), arrow("arrow-lit")));
  #scene = new Scene(this.#svg, () => this.#mark());
  element = html("div", { class: "canvas" });
  #view = new Viewport(this.element, () => this.#moved());
  #map = new Minimap(() => this.#told, (point) => this.#view.centre(point));
  #resized = new ResizeObserver(() => this.#keepInSight());
  #dark = matchMedia("(prefers-color-scheme: dark)");

  /** Of the workflow `name`. @param {string} name @param {Acts} acts */
  constructor(name, acts) {
    this.#acts = acts;
    const button = (
      /** @type {string} */ label, /** @type {string} */ text, /** @type {() => void} */ act,
    ) => html("button", { type: "button", "aria-label": label, title: label, click: act }, text);
    this.element.append(this.#scene.layer,
      this.#map.element, this.#caption, this.#note, this.#problem, this.#hint);
    this.tools = html("div", { class: "graph-tools" },
      this.#choice.element,
      html("div", { class: "zoom", role: "group", "aria-label": "Zoom" },
        button("Zoom out", "−", () => this.#view.zoom(1 / 1.25)),
        button("Zoom in", "+", () => this.#view.zoom(1.25)),
        button("Fit: show all", "Fit", () => this.fit())));
    put(this.#svg, "aria-label", `Graph of the workflow ${name}`);
    this.#svg.addEventListener("click", this.#click);
    this.#svg.addEventListener("keydown", this.#key);
    this.#svg.addEventListener("focusin", this.#focused);
    this.#svg.addEventListener("focusout", this.#left);
    this.#svg.addEventListener("pointermove", this.#pointed);
    this.#svg.addEventListener("pointerleave", this.#left);
    this.#dark.addEventListener("change", this.#recolour);
    this.#resized.observe(this.element);
  }

  close() {
    this.#draws += 1; // What is being laid out isn't drawn any more.
    this.#resized.disconnect();
    this.#dark.removeEventListener("change", this.#recolour);
    cancelAnimationFrame(this.#waits);
    this.#map.close();
  }

  /** @param {Slice} slice @param {Record<string, string>} query */
  show({ graph, steps }, query) {
    if (graph === null) return;
    this.#news = steps;
    const before = this.#told;
    if (graph !== before?.graph) {
      const told = new Told(graph);
      this.#told = told;
      told.hear(steps);
      this.#choice.offer(graph);
      this.#groups = this.#choice.groups;
      this.#draw(!this.#drawn || !this.#view.moved);
      // It may have been selected before it was in the graph.
      if (this.#selected !== null && before?.place(this.#selected) === undefined)
        this.select(this.#selected);
    } else {
      const changed = before.hear(steps);
      if (changed.size > 0) {
        this.#scene.hear(changed);
        this.#map.refresh();
      }
    }
    this.#scene.filter(query.state);
  }

  /** Show the whole picture. */
  fit() {
    this.#view.fit({ x: 0, y: 0, ...this.#view.whole });
  }

  /** Mark the selected Step (null: none), and bring it in sight, opening its groups.
   * @param {string | null} step */
  async select(step) {
    this.#selected = step;
    if (this.#told === null) return; // `show` comes back to it.
    await this.#drawing;
    if (step !== this.#selected) return; // Another one was selected meanwhile.
    const index = step === null ? undefined : this.#told?.place(step);
    if (index !== undefined && this.#placeOfStep(index) === undefined) {
      for (const group of around(this.#groups, index)) this.#turn(group, true);
      await this.#draw(false);
    }
    this.#mark();
    this.#light(null);
    const place = index === undefined ? undefined : this.#placeOfStep(index);
    if (place !== undefined) {
      this.#goTo(place, false);
      this.#view.reveal(place);
    }
  }

  /** Put the keyboard on the Step or group where it was last. */
  focus() {
    if (this.#current !== null) this.#goTo(this.#current, true);
  }

  #choose() {
    if (this.#told === null) return;
    this.#turned.clear();
    this.#groups = this.#choice.groups;
    this.#draw(true);
  }

  /** @param {DrawnGroup} group @param {boolean} open */
  #turn(group, open) {
    if (isOpen(group, this.#turned) === open) return;
    if (!this.#turned.delete(group.id)) this.#turned.add(group.id);
  }

  /**
   * Draw anew. A drawing that fails is told, and the next one is tried all the same.
   * @param {boolean} afresh whether to choose the part that is seen
   * @returns {Promise<void>}
   */
  #draw(afresh) {
    const number = ++this.#draws;
    this.#drawing = this.#lay(number, afresh).catch((error) => {
      if (number !== this.#draws) return;
      this.#problem.hidden = false;
      fill(this.#problem, `The graph can't be drawn: ${error.message ?? error}.`);
      put(this.element, "aria-busy", null);
      console.error(error);
    });
    return this.#drawing;
  }

  /** @param {number} number @param {boolean} afresh */
  async #lay(number, afresh) {
    const told = /** @type {Told} */ (this.#told);
    put(this.element, "aria-busy", "true");
    const planned = plan(told.graph, this.#groups, this.#turned);
    const font = fonts(this.#svg);
    const wide = widths(told.graph.steps.map((_, step) => step), told, font);
    const picture = await arrange(planned, wide, this.#view.room, layout);
    if (number !== this.#draws) return; // Another drawing has overtaken this one.
    const held = this.#svg.contains(document.activeElement);
    told.hear(this.#news);
    const kept = this.#current?.id;
    this.#current = null;
    this.#lit = null;
    this.#view.whole = picture;
    this.#scene.show(picture, told, font);
    this.#map.show(picture);
    this.#note.hidden = !picture.simple;
    this.#problem.hidden = true;
    this.#drawn = true;
    this.#unseen = true;
    if (afresh) this.#look();
    else this.#moved();
    const { places } = this.#scene;
    this.#goTo(places.find(({ id }) => id === kept) ?? places[0] ?? null, held);
    this.#mark();
    this.#light(null);
    put(this.element, "aria-busy", null);
  }

  /** Choose the part that is seen. */
  #look() {
    const urgent = this.#told?.urgent() ?? new Set();
    const parts = this.#scene.picture.items.filter(({ step, group, open }) => (
      group === null ? urgent.has(step) : !open && group.steps.some((each) => urgent.has(each))));
    this.#view.show(first(this.#view.whole, parts, this.#view.room));
  }

  /** Another part is seen: at once, but what comes in sight is drawn once for each frame. */
  #moved() {
    this.#unseen = this.#scene.move(this.#view.sight, this.#view.size) || this.#unseen;
    if (this.#waits !== 0) return;
    this.#waits = requestAnimationFrame(() => {
      this.#waits = 0;
      if (this.#unseen) this.#scene.see();
      this.#unseen = false;
      this.#map.see(this.#view.sight, this.#view.size);
    });
  }

  /** @param {number} step */
  #placeOfStep(step) {
    return this.#scene.places.find(({ part, item }) => part === "step" && item.step === step);
  }

  #mark() {
    const index = this.#selected === null ? undefined : this.#told?.place(this.#selected);
    const place = index === undefined ? undefined : this.#placeOfStep(index);
    if (place === undefined) this.#scene.release("selected");
    else this.#scene.keep(place, "selected");
    for (const { item, parts } of this.#scene.shapes) {
      if (item.group === null)
        put(parts.step, "aria-current", item.step === index ? "true" : null);
    }
  }

  /** Bring out the edges of a Step (null: of the selected one), and the Steps at their ends.
   * @param {number | null} step */
  #light(step) {
    const told = this.#told;
    if (told === null) return;
    const wanted = step ?? (this.#selected === null ? undefined : told.place(this.#selected));
    if (wanted === this.#lit) return;
    this.#lit = wanted ?? null;
    const name = wanted === undefined ? null : told.name(wanted);
    const near = new Set();
    const own = new Set();
    told.graph.edges.forEach(({ from, to }, link) => {
      if (from !== name && to !== name) return;
      own.add(link);
      near.add(told.place(from === name ? to : from));
    });
    this.#scene.light(({ links }) => own.size > 0 && links.some((link) => own.has(link)));
    for (const { item, element } of this.#scene.shapes)
      element.classList.toggle("near", item.group === null && near.has(item.step));
  }

  /** @param {Place | null} wanted @param {boolean} focus */
  #goTo(wanted, focus) {
    const had = this.#current === null ? undefined : this.#scene.elementOf(this.#current);
    if (had !== undefined) put(had, "tabindex", -1);
    this.#current = wanted;
    if (wanted === null) return;
    const element = /** @type {SVGElement} */ (this.#scene.keep(wanted, "current"));
    put(element, "tabindex", 0);
    if (focus) element.focus({ preventScroll: true });
  }

  /** @param {string | null} text */
  #tell(text) {
    this.#caption.hidden = text === null;
    fill(this.#caption, text);
  }

  #focused = (/** @type {FocusEvent} */ event) => {
    const target = /** @type {Element} */ (event.target);
    const wanted = this.#scene.placeOf(target);
    if (wanted === undefined) return;
    this.#goTo(wanted, false);
    if (!target.matches(":focus-visible")) return;
    this.#view.reveal(wanted);
    if (wanted.part !== "step" || this.#told === null) return;
    this.#light(wanted.item.step);
    const keys = this.#told.keys(wanted.item.step);
    put(target, "aria-description", keys);
    this.#tell(keys);
  };

  #left = () => {
    this.#light(null);
    this.#tell(null);
  };

  #pointed = (/** @type {PointerEvent} */ event) => {
    if (event.buttons !== 0 || this.#told === null) return;
    const target = /** @type {Element} */ (event.target);
    const place = this.#scene.placeOf(target) ?? this.#scene.placeAt(this.#view.point(event));
    if (place?.part === "step") this.#scene.keep(place, "pointed");
    this.#light(place?.part === "step" ? place.item.step : null);
    const line = place === undefined ? this.#scene.lineOf(target) : undefined;
    this.#tell(line === undefined ? null : this.#told.edge(line.links));
  };

  #click = (/** @type {MouseEvent} */ event) => {
    const wanted = this.#scene.placeOf(/** @type {Element} */ (event.target))
      ?? this.#scene.placeAt(this.#view.point(event));
    if (wanted === undefined) return;
    this.#goTo(wanted, true);
    this.#act(wanted);
  };

  #key = (/** @type {KeyboardEvent} */ event) => {
    const current = this.#current;
    if (event.ctrlKey || event.metaKey || event.altKey || current === null) return;
    const { places } = this.#scene;
    /** @type {Record<string, () => unknown>} */
    const acts = {
      Enter: () => this.#act(current),
      " ": () => this.#act(current),
      "+": () => this.#view.zoom(1.25),
      "-": () => this.#view.zoom(1 / 1.25),
      0: () => this.fit(),
      Home: () => this.#goTo(places[0], true),
      End: () => this.#goTo(places.at(-1) ?? current, true),
    };
    const wanted = next(places, current, event.key);
    if (wanted !== null) this.#goTo(wanted, true);
    else if (Object.hasOwn(acts, event.key)) acts[event.key]();
    else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
  };

  /** @param {Place} place */
  async #act({ part, item }) {
    const told = /** @type {Told} */ (this.#told);
    if (item.group === null) {
      this.#acts.open(told.name(item.step));
    } else if (part === "again") {
      this.#acts.rerun(item.group.steps.map((step) => told.name(step)));
    } else {
      this.#turn(item.group, !item.open);
      const { moved, sight } = this.#view;
      await this.#draw(false);
      this.#showGroup(item, moved, sight);
    }
  }

  /**
   * After a group was opened or closed: show all, if that can be read and the reader moved nothing;
   * else leave the group where it was.
   * @param {Item} was @param {boolean} moved @param {Sight} sight from before
   */
  #showGroup(was, moved, sight) {
    const box = this.#scene.picture.items.find(({ id }) => id === was.id);
    if (box === undefined) return;
    const { room, whole } = this.#view;
    const all = fitted({ x: 0, y: 0, ...whole }, room);
    if (!moved && all.scale >= READABLE) {
      this.#view.show(all);
      return;
    }
    const middle = (/** @type {Box} */ { x, width }) => x + width / 2;
    this.#view.show({
      ...sight, x: sight.x + (middle(was) - middle(box)) * sight.scale,
      y: sight.y + (was.y - box.y) * sight.scale,
    });
    this.#view.moved = moved;
    if (box.width * sight.scale > room.width || box.height * sight.scale > room.height)
      this.#view.fit(box, READABLE);
    else this.#view.reveal(box);
  }

  #recolour = () => {
    this.#scene.recolour();
    this.#map.refresh();
  };

  #keepInSight() {
    if (!this.#drawn) return;
    if (!this.#view.moved) this.#look();
    else this.#moved();
    const index = this.#selected === null ? undefined : this.#told?.place(this.#selected);
    const place = index === undefined ? undefined : this.#placeOfStep(index);
    if (place !== undefined) this.#view.reveal(place);
  }
}
