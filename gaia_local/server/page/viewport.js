// @ts-check
// The visible part of a picture: panned by dragging and scrolling, zoomed with the wheel and Ctrl,
// two fingers, or buttons.

import { centred, fitted, MARGIN, revealed, zoomed } from "./fitting.js";

const CLICK = 4; // Pixels that a pointer may move and still mean a click.

export class Viewport {
  /** Whether the reader moved the picture since it was last fitted: then it isn't fitted again. */
  moved = false;
  /** @type {Size} the size of the whole picture */
  whole = { width: 1, height: 1 };
  /** @type {Sight} */
  sight = { x: 0, y: 0, scale: 1 };
  #frame;
  #changed;
  /** @type {Map<number, Point>} */
  #pointers = new Map();
  #travelled = 0;

  /**
   * Of what `frame` shows; `changed()` is called when another part is to be seen.
   * @param {HTMLElement} frame @param {() => void} changed
   */
  constructor(frame, changed) {
    this.#frame = frame;
    this.#changed = changed;
    frame.addEventListener("wheel", this.#wheel, { passive: false });
    frame.addEventListener("pointerdown", this.#down);
    frame.addEventListener("pointermove", this.#move);
    frame.addEventListener("pointerup", this.#up);
    frame.addEventListener("pointercancel", this.#up);
    frame.addEventListener("click", this.#clicked, { capture: true });
  }

  /** The width and height of the window. @returns {Size} */
  get size() {
    const { width, height } = this.#frame.getBoundingClientRect();
    return { width: Math.max(1, width), height: Math.max(1, height) };
  }

  /** The width and height that there are to draw in. @returns {Size} */
  get room() {
    const { width, height } = this.size;
    return { width: Math.max(1, width - 2 * MARGIN), height: Math.max(1, height - 2 * MARGIN) };
  }

  get scale() {
    return this.sight.scale;
  }

  /** Show this part, until the reader moves it. @param {Sight} sight */
  show(sight) {
    this.#see(sight);
    this.moved = false;
  }

  /** Show a box of the picture whole. @param {Box} box @param {number} least scale */
  fit(box, least = 0) {
    this.show(fitted(box, this.room, least));
  }

  /** Move as little as it takes to have a box in sight. @param {Box} box */
  reveal(box) {
    this.#see(revealed(this.sight, box, this.room));
  }

  /** Have a point of the picture in the middle. @param {Point} point */
  centre({ x, y }) {
    this.moved = true;
    this.#see(centred({ x, y, width: 0, height: 0 }, this.room, this.scale));
  }

  /**
   * Make it larger or smaller around a point of the frame, by default its middle.
   * @param {number} factor @param {Point | null} point
   */
  zoom(factor, point = null) {
    const { width, height } = this.size;
    const whole = fitted({ x: 0, y: 0, ...this.whole }, this.room).scale;
    this.moved = true;
    this.#see(zoomed(this.sight, factor, point ?? { x: width / 2, y: height / 2 }, whole));
  }

  /** @param {number} x @param {number} y */
  pan(x, y) {
    this.moved = true;
    this.#see({ ...this.sight, x: this.sight.x + x, y: this.sight.y + y });
  }

  /** The point of the picture under a pointer. @param {MouseEvent} event @returns {Point} */
  point(event) {
    const { x, y } = this.#at(event);
    return { x: (x - this.sight.x) / this.scale, y: (y - this.sight.y) / this.scale };
  }

  /** @param {Sight} sight */
  #see(sight) {
    this.sight = sight;
    this.#changed();
  }

  /** @param {MouseEvent} event @returns {Point} */
  #at(event) {
    const { left, top } = this.#frame.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /** @param {WheelEvent} event */
  #wheel = (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 18 : 1;
    if (event.ctrlKey || event.metaKey) {
      this.zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY * lines)) / 150),
        this.#at(event));
    } else {
      const sideways = event.shiftKey && event.deltaX === 0;
      this.pan(-(sideways ? event.deltaY : event.deltaX) * lines,
        sideways ? 0 : -event.deltaY * lines);
    }
  };

  /** @param {PointerEvent} event */
  #down = (event) => {
    if (event.button !== 0) return;
    if (this.#pointers.size === 0) this.#travelled = 0;
    this.#pointers.set(event.pointerId, this.#at(event));
  };

  /** @param {PointerEvent} event */
  #move = (event) => {
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) return;
    const now = this.#at(event);
    const others = [...this.#pointers]
      .filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    this.#travelled += Math.hypot(now.x - before.x, now.y - before.y);
    if (this.#travelled <= CLICK) return;
    // Captured only now: otherwise the frame would get the click, not what is under the pointer.
    const frame = this.#frame;
    if (!frame.hasPointerCapture(event.pointerId)) frame.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, now);
    if (others.length === 0) {
      this.pan(now.x - before.x, now.y - before.y);
    } else {
      const [other] = others;
      const apart = (/** @type {Point} */ { x, y }) => (
        Math.max(1, Math.hypot(x - other.x, y - other.y)));
      this.zoom(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    }
  };

  /** A click that ends a drag is none. @param {MouseEvent} event */
  #clicked = (event) => {
    if (this.#travelled > CLICK && event.detail > 0) event.stopPropagation();
    this.#travelled = 0;
  };

  /** @param {PointerEvent} event */
  #up = (event) => {
    this.#pointers.delete(event.pointerId);
  };
}
