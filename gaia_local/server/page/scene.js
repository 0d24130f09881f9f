// @ts-check
// Draws a picture: what is in sight and can be read as elements, the rest painted on a canvas. So
// the cost of a move depends on the window, not on the number of Steps.

import { html, put, svg } from "./dom.js";
import { seen, touches } from "./fitting.js";
import { Colours, paint } from "./painter.js";
import { edgeOf, places, shapeOf } from "./shapes.js";

/** @typedef {import("./told.js").Told} Told */
/** @typedef {import("./shapes.js").Fonts} Fonts */

// With more Steps in sight all are painted: their names could hardly be read.
const ELEMENTS = 400;
const DRAWN_EDGES = 800;
// Pixels around the window that are drawn already: as the style sheet has them.
const AROUND = 256;

export class Scene {
  element = svg("g", { class: "scene" });
  #canvas = html("canvas", { class: "painted", "aria-hidden": "true" });
  layer;
  /** @type {Picture} */
  picture = { items: [], lines: [], width: 1, height: 1, simple: false };
  /** @type {Place[]} */
  places = [];
  #frames = svg("g", { class: "frames" });
  #edges = svg("g", { class: "edges" });
  #nodes = svg("g", { class: "nodes" });
  /** @type {Told | null} */
  #told = null;
  /** @type {Fonts | null} */
  #fonts = null;
  /** @type {Map<string, ReturnType<typeof shapeOf>>} */
  #shapes = new Map();
  /** @type {Map<Element, Place>} */
  #at = new Map();
  /** @type {Map<Element, Line>} */
  #lines = new Map();
  /** @type {Map<string, Item>} items that are elements wherever they are, by the reason */
  #kept = new Map();
  /** @type {Sight} */
  #sight = { x: 0, y: 0, scale: 1 };
  /** @type {Size} */
  #window = { width: 1, height: 1 };
  /** @type {Path2D | null} */
  #paths = null;
  /** @type {Colours | null} */
  #colours = null;
  #painted = false;
  /** @type {string | undefined} */
  #filter;
  #drawn;

  /**
   * @param {SVGElement} picture
   * @param {() => void} drawn called when elements came, which want their marks
   */
  constructor(picture, drawn) {
    this.#drawn = drawn;
    picture.append(this.element);
    this.layer = html("div", { class: "layer" }, picture, this.#canvas);
    this.element.append(this.#frames, this.#edges, this.#nodes);
  }

  /** Show another picture. @param {Picture} picture @param {Told} told @param {Fonts} fonts */
  show(picture, told, fonts) {
    this.picture = picture;
    this.#told = told;
    this.#fonts = fonts;
    this.#shapes.clear();
    this.#at.clear();
    this.#kept.clear();
    for (const layer of [this.#frames, this.#nodes]) layer.replaceChildren();
    this.places = picture.items.flatMap(places);
    this.#colours = null;
    this.#showLines();
  }

  /** Take in the news of some Steps. @param {Set<number>} changed */
  hear(changed) {
    for (const { item, show } of this.#changed(changed)) show.call(this.#shapes.get(item.id));
    if (this.#painted) this.#paint();
  }

  /** Make pale what a filter leaves out. @param {string | undefined} filter */
  filter(filter) {
    if (filter === this.#filter) return;
    this.#filter = filter;
    for (const shape of this.#shapes.values()) this.#dim(shape);
    if (this.#painted) this.#paint();
  }

  /** Paint anew, with the style sheet's present colours. */
  recolour() {
    this.#colours = null;
    if (this.#painted) this.#paint();
  }

  /**
   * Another part of the picture is seen. The layer moves as a whole, which costs nothing, as long
   * as what was drawn around the window suffices.
   * @param {Sight} sight @param {Size} size of the window
   * @returns {boolean} whether `see` has to draw what came in sight
   */
  move(sight, size) {
    const [x, y] = [sight.x - this.#sight.x, sight.y - this.#sight.y];
    const near = Math.max(Math.abs(x), Math.abs(y)) <= AROUND && sight.scale === this.#sight.scale
      && size.width === this.#window.width && size.height === this.#window.height;
    this.layer.style.transform = near ? `translate(${x}px, ${y}px)` : "none";
    if (!near) this.#anchor(sight, size);
    return !near;
  }

  /** @param {Sight} sight @param {Size} size */
  #anchor(sight, size) {
    this.#sight = sight;
    this.#window = size;
    put(this.element, "transform", `translate(${(sight.x + AROUND).toFixed(2)} ${
      (sight.y + AROUND).toFixed(2)}) scale(${sight.scale.toFixed(5)})`);
  }

  /** The part of the picture that is drawn: what is seen, and a margin. @returns {Box} */
  get #part() {
    const { x, y, scale } = this.#sight;
    const { width, height } = this.#window;
    return seen({ x: x + AROUND, y: y + AROUND, scale },
      { width: width + 2 * AROUND, height: height + 2 * AROUND });
  }

  /** Draw what is in sight now. */
  see() {
    const part = this.#part;
    const { items } = this.picture;
    const visible = items.length <= ELEMENTS ? items : items.filter((item) => touches(item, part));
    const steps = visible.filter(({ kind }) => kind === "step" || kind === "tile");
    const many = steps.length > ELEMENTS;
    const wanted = new Set([
      ...visible.filter(({ kind }) => kind === "group" || (kind !== "dot" && !many)),
      ...this.#kept.values(),
    ]);
    this.#reconcile(wanted);
    const rest = many || visible.length > wanted.size;
    if (rest || this.#painted || this.#paths !== null) this.#paint();
  }

  /**
   * The element of a place, made if it isn't there. `reason` keeps it until another has it.
   * @param {Place} place @param {string} reason @returns {Element}
   */
  keep(place, reason) {
    this.#kept.set(reason, place.item);
    this.#make(place.item);
    return /** @type {Element} */ (this.elementOf(place));
  }

  /** @param {string} reason */
  release(reason) {
    this.#kept.delete(reason);
  }

  /** The element of a place, if there is one. @param {Place} place */
  elementOf(place) {
    return this.#shapes.get(place.item.id)?.parts[place.part];
  }

  /** The place of an element. @param {Element} target @returns {Place | undefined} */
  placeOf(target) {
    const element = target.closest("[role=button]");
    return element === null ? undefined : this.#at.get(element);
  }

  /** The Step at a point of the picture. @param {Point} point @returns {Place | undefined} */
  placeAt({ x, y }) {
    return this.places.find((place) => (
      place.part === "step" && touches(place, { x, y, width: 0, height: 0 })));
  }

  /** The line of an element. @param {Element} target @returns {Line | undefined} */
  lineOf(target) {
    const element = target.closest(".edges > g");
    return element === null ? undefined : this.#lines.get(element);
  }

  /**
   * All Steps and groups that are elements.
   * @returns {Iterable<{ item: Item, element: Element, parts: Record<string, Element> }>}
   */
  get shapes() {
    return this.#shapes.values();
  }

  /**
   * Bring out the lines for which `lit` holds.
   * @param {(line: Line) => boolean} lit
   */
  light(lit) {
    if (this.#paths !== null) {
      this.#lines.clear();
      this.#edges.replaceChildren();
      for (const line of this.picture.lines) if (lit(line)) this.#addLine(line);
    }
    for (const [element, line] of this.#lines) {
      const now = lit(line);
      if (element.classList.contains("lit") === now) continue;
      element.classList.toggle("lit", now);
      if (now) this.#edges.append(element); // above the others
      if (line.arrow) {
        put(/** @type {Element} */ (element.firstElementChild), "marker-end",
          now ? "url(#arrow-lit)" : "url(#arrow)");
      }
    }
  }

  #showLines() {
    this.#lines.clear();
    this.#edges.replaceChildren();
    this.#paths = null;
    const { lines } = this.picture;
    if (lines.length <= DRAWN_EDGES) {
      for (const line of lines) this.#addLine(line);
    } else {
      this.#paths = new Path2D(lines.map(({ path }) => path).join(""));
    }
  }

  /** @param {Line} line */
  #addLine(line) {
    const element = edgeOf(line);
    this.#lines.set(element, line);
    this.#edges.append(element);
  }

  /** @param {Set<Item>} wanted */
  #reconcile(wanted) {
    const ids = new Set([...wanted].map(({ id }) => id));
    for (const [id, shape] of this.#shapes) {
      if (ids.has(id)) continue;
      shape.element.remove();
      shape.back?.remove();
      for (const element of Object.values(shape.parts)) this.#at.delete(element);
      this.#shapes.delete(id);
    }
    let came = false;
    for (const item of wanted) came = this.#make(item) || came;
    if (came) this.#drawn();
  }

  /** @param {Item} item @returns {boolean} whether it is new */
  #make(item) {
    if (this.#shapes.has(item.id) || this.#told === null || this.#fonts === null) return false;
    const shape = shapeOf(item, this.#told, this.#fonts);
    this.#shapes.set(item.id, shape);
    for (const place of places(item)) this.#at.set(shape.parts[place.part], place);
    if (shape.back !== null) this.#frames.append(shape.back);
    this.#nodes.append(shape.element);
    this.#dim(shape);
    return true;
  }

  /** @param {ReturnType<typeof shapeOf>} shape */
  #dim({ item, element }) {
    const steps = item.group?.steps ?? [item.step];
    const wanted = steps.some((step) => this.#told?.wanted(step, this.#filter));
    element.classList.toggle("dim", !wanted);
  }

  /** @param {Set<number>} changed */
  #changed(changed) {
    return [...this.#shapes.values()].filter(({ item }) => (
      item.group === null ? changed.has(item.step)
        : item.group.steps.some((step) => changed.has(step))));
  }

  #paint() {
    const told = this.#told;
    if (told === null) return;
    const { width, height } = this.#window;
    const ratio = devicePixelRatio;
    const [wide, high] =
      [width, height].map((side) => Math.round((side + 2 * AROUND) * ratio));
    if (this.#canvas.width !== wide) this.#canvas.width = wide;
    if (this.#canvas.height !== high) this.#canvas.height = high;
    const context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d"));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, high);
    const { x, y, scale } = this.#sight;
    context.setTransform(
      scale * ratio, 0, 0, scale * ratio, (x + AROUND) * ratio, (y + AROUND) * ratio);
    this.#colours ??= new Colours(this.element);
    if (this.#paths !== null) {
      context.strokeStyle = this.#colours.get("edge");
      context.globalAlpha = 0.4;
      context.lineWidth = Math.max(0.6, 0.6 / scale);
      context.stroke(this.#paths);
      context.globalAlpha = 1;
    }
    const part = this.#part;
    const rest = this.picture.items.filter((item) => (
      item.kind !== "group" && !this.#shapes.has(item.id) && touches(item, part)));
    this.#painted = rest.length > 0;
    paint(context, rest, told, this.#colours, scale * ratio, this.#filter);
  }
}
