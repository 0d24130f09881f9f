// The visible part of a picture: panned by dragging and scrolling, zoomed with the wheel and Ctrl,
// two fingers, or buttons.

const MIN_SCALE = 0.05;
const MAX_SCALE = 2.5;
const MARGIN = 22;
const CLICK = 4; // Pixels that a pointer may move and still mean a click.

export class Viewport {
  /** Whether the reader moved the picture since it was last fitted: then it isn't fitted again. */
  moved = false;
  #svg;
  #scene;
  #x = 0;
  #y = 0;
  #scale = 1;
  #pointers = new Map();
  #travelled = 0;

  /** Of the contents of `scene`, a group in `svg`. */
  constructor(svg, scene) {
    this.#svg = svg;
    this.#scene = scene;
    svg.addEventListener("wheel", this.#wheel, { passive: false });
    svg.addEventListener("pointerdown", this.#down);
    svg.addEventListener("pointermove", this.#move);
    for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, this.#up);
    svg.addEventListener("click", this.#clicked, { capture: true });
  }

  /** The width and height that there are to draw in. */
  get room() {
    const { width, height } = this.#svg.getBoundingClientRect();
    return { width: Math.max(1, width - 2 * MARGIN), height: Math.max(1, height - 2 * MARGIN) };
  }

  get scale() {
    return this.#scale;
  }

  /** Show a box of the picture whole, in the middle, no larger than life. */
  fit(box, least = MIN_SCALE) {
    const { width, height } = this.room;
    this.#scale = Math.max(least, Math.min(1, width / box.width, height / box.height));
    // A box larger than the room is shown from its beginning.
    const along = (start, size, room) =>
      MARGIN + Math.max(0, (room - size * this.#scale) / 2) - start * this.#scale;
    this.#x = along(box.x, box.width, width);
    this.#y = along(box.y, box.height, height);
    this.#apply();
    this.moved = false;
  }

  /** Move as little as it takes to have a box in sight. */
  reveal(box) {
    const { width, height } = this.room;
    this.#x += shift(box.x * this.#scale + this.#x, box.width * this.#scale, width);
    this.#y += shift(box.y * this.#scale + this.#y, box.height * this.#scale, height);
    this.#apply();
  }

  /** Make it larger or smaller around a point of the svg, by default its middle. */
  zoom(factor, point = null) {
    const { width, height } = this.#svg.getBoundingClientRect();
    const { x, y } = point ?? { x: width / 2, y: height / 2 };
    const scale = Math.max(MIN_SCALE, Math.min(MAX_SCALE, this.#scale * factor));
    this.#x = x - (x - this.#x) * (scale / this.#scale);
    this.#y = y - (y - this.#y) * (scale / this.#scale);
    this.#scale = scale;
    this.moved = true;
    this.#apply();
  }

  pan(x, y) {
    this.#x += x;
    this.#y += y;
    this.moved = true;
    this.#apply();
  }

  #apply() {
    this.#scene.setAttribute("transform",
      `translate(${this.#x.toFixed(2)} ${this.#y.toFixed(2)}) scale(${this.#scale.toFixed(4)})`);
  }

  #at(event) {
    const { left, top } = this.#svg.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

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

  #down = (event) => {
    if (event.button !== 0) return;
    if (this.#pointers.size === 0) this.#travelled = 0;
    this.#pointers.set(event.pointerId, this.#at(event));
  };

  #move = (event) => {
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) return;
    const now = this.#at(event);
    const others = [...this.#pointers]
      .filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    this.#travelled += Math.hypot(now.x - before.x, now.y - before.y);
    if (this.#travelled <= CLICK) return;
    // Captured only now: otherwise the svg would get the click, not the element under the pointer.
    if (!this.#svg.hasPointerCapture(event.pointerId)) this.#svg.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, now);
    if (others.length === 0) {
      this.pan(now.x - before.x, now.y - before.y);
    } else {
      const [other] = others;
      const apart = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
      this.zoom(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    }
  };

  /** A click that ends a drag is none. */
  #clicked = (event) => {
    if (this.#travelled > CLICK && event.detail > 0) event.stopPropagation();
    this.#travelled = 0;
  };

  #up = (event) => {
    this.#pointers.delete(event.pointerId);
  };
}

/** The shift that puts a box between the margins; of one that is too large, its beginning. */
function shift(start, size, room) {
  if (start < MARGIN || size > room) return MARGIN - start;
  return Math.min(0, MARGIN + room - (start + size));
}
