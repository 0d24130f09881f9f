// @ts-check
// The whole picture, small, with a frame around the part that is seen; a click goes there.

import { html } from "./dom.js";
import { seen, shows } from "./fitting.js";
import { Colours, paint, paintGroups } from "./painter.js";

/** @typedef {import("./told.js").Told} Told */

const MOST = { width: 180, height: 130 };

export class Minimap {
  #canvas = html("canvas", { "aria-hidden": "true" });
  #frame = html("div", { class: "frame" });
  element = html("div", { class: "minimap", title: "Go there", hidden: true },
    this.#canvas, this.#frame);
  /** @type {Picture | null} */
  #picture = null;
  #scale = 1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #waits;
  /** @type {() => Told | null} */
  #told;

  /**
   * @param {() => Told | null} told
   * @param {(point: Point) => void} go called with the point of the picture that the reader wants
   */
  constructor(told, go) {
    this.#told = told;
    const point = (/** @type {PointerEvent} */ event) => {
      if (event.buttons !== 1) return;
      event.stopPropagation();
      const { left, top } = this.#canvas.getBoundingClientRect();
      go({ x: (event.clientX - left) / this.#scale, y: (event.clientY - top) / this.#scale });
    };
    this.element.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      this.element.setPointerCapture(event.pointerId);
      point(event);
    });
    this.element.addEventListener("pointermove", point);
  }

  /** @param {Picture} picture */
  show(picture) {
    this.#picture = picture;
    this.#scale = Math.min(MOST.width / picture.width, MOST.height / picture.height);
    this.refresh();
  }

  /** Paint it anew, soon. */
  refresh() {
    if (this.element.hidden || this.#waits !== undefined) return;
    this.#waits = setTimeout(() => {
      this.#waits = undefined;
      this.#paint();
    }, 100);
  }

  close() {
    clearTimeout(this.#waits);
  }

  /** Another part is seen. @param {Sight} sight @param {Size} size of the window */
  see(sight, size) {
    if (this.#picture === null) return;
    const part = seen(sight, size);
    const all = shows({ x: part.x - 1, y: part.y - 1, width: part.width + 2,
      height: part.height + 2 }, this.#picture);
    const came = this.element.hidden && !all;
    this.element.hidden = all;
    if (all) return;
    if (came) this.#paint();
    const [wide, high] = [this.#picture.width, this.#picture.height];
    const left = Math.max(0, Math.min(wide, part.x));
    const top = Math.max(0, Math.min(high, part.y));
    const right = Math.max(0, Math.min(wide, part.x + part.width));
    const bottom = Math.max(0, Math.min(high, part.y + part.height));
    Object.assign(this.#frame.style, {
      left: `${left * this.#scale}px`, top: `${top * this.#scale}px`,
      width: `${(right - left) * this.#scale}px`, height: `${(bottom - top) * this.#scale}px`,
    });
  }

  #paint() {
    const told = this.#told();
    if (this.#picture === null || told === null) return;
    const { width, height, items } = this.#picture;
    const ratio = devicePixelRatio;
    const [wide, high] = [width, height].map((side) => Math.max(1, side * this.#scale));
    [this.#canvas.width, this.#canvas.height] = [Math.ceil(wide * ratio), Math.ceil(high * ratio)];
    Object.assign(this.#canvas.style, { width: `${wide}px`, height: `${high}px` });
    const context = this.#canvas.getContext("2d");
    if (context === null) return;
    const scale = this.#scale * ratio;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const colours = new Colours(this.#canvas);
    paintGroups(context, items, told, colours);
    paint(context, items, told, colours, scale, undefined);
  }
}
