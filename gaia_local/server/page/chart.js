// @ts-check
// A timeline to look at: by pointer, touch and keyboard; it knows no server.

import { nearest } from "./bars.js";
import { fill, html, put } from "./dom.js";
import { facts } from "./facts.js";
import { BOTTOM, laneTops, paint, palette, rowHeight, TOP } from "./paint.js";
import { moment } from "./words.js";

const CLOSEST = 0.002; // Seconds of the axis in sight at the largest zoom.
const STEP = 1.6; // One step of the zoom.
const REACH = 6; // Pixels from a bar that still mean it.
const DARK = matchMedia("(prefers-color-scheme: dark)");

export class TimelineChart {
  /** @type {Lanes | null} */
  #lanes = null;
  #now = 0;
  #from = 0;
  #to = 1;
  #follows = true;
  /** @type {Bar | null} */
  #current = null;
  /** @type {(bar: Bar) => boolean} */
  #fits = () => true;
  /** @type {Map<number, { x: number, y: number }>} */
  #pointers = new Map();
  #dragged = false;
  #frame = 0;
  /** @type {Palette | null} */
  #colours = null;
  #open;
  #canvas = /** @type {HTMLCanvasElement} */ (html("canvas", { "aria-hidden": "true" }));
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d"));
  #option = html("div", { id: "timeline-bar", role: "option", class: "unseen", hidden: true });
  #room = html("div", { class: "room" });
  #scroll = html("div", {
    class: "chart", role: "listbox", tabindex: 0, "aria-label": "Attempts, bar by bar",
    "aria-describedby": "timeline-keys",
  }, html("div", { class: "layer" }, this.#canvas), this.#room, this.#option);
  #told = html("div", { class: "told" });
  #resized = new ResizeObserver(() => this.#later());

  /**
   * `open(attempt)` is called when the reader chooses one.
   * @param {(attempt: TimelineAttempt) => void} open
   */
  constructor(open) {
    this.#open = open;
    /** @param {string} label @param {string} sign @param {() => void} act */
    const button = (label, sign, act) => html("button",
      { type: "button", class: "small", "aria-label": label, title: label, click: act }, sign);
    this.tools = html("div", { class: "zoom-tools", role: "group", "aria-label": "Zoom" },
      button("Zoom in", "+", () => this.zoom(STEP)),
      button("Zoom out", "−", () => this.zoom(1 / STEP)),
      html("button", { type: "button", class: "small", click: () => this.fit() }, "Fit"));
    this.element = html("div", { class: "timeline-chart" }, this.#scroll, this.#told,
      html("p", { class: "unseen", id: "timeline-keys" }, "Arrow keys go from bar to bar, Enter"
        + " opens the Step, plus and minus zoom, 0 shows all."));
    this.#scroll.addEventListener("scroll", () => this.#later());
    this.#scroll.addEventListener("wheel", this.#wheel, { passive: false });
    this.#scroll.addEventListener("keydown", this.#key);
    this.#scroll.addEventListener("pointerdown", this.#down);
    this.#scroll.addEventListener("pointermove", this.#move);
    this.#scroll.addEventListener("pointerup", this.#up);
    this.#scroll.addEventListener("pointercancel", this.#up);
    this.#scroll.addEventListener("pointerleave", () => this.#point(null));
    DARK.addEventListener("change", this.#repaint);
    this.#resized.observe(this.#scroll);
    this.#tell();
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.#resized.disconnect();
    DARK.removeEventListener("change", this.#repaint);
  }

  focus() {
    this.#scroll.focus();
  }

  /** Show attempts; `now` is the end of those that run. @param {Lanes} lanes @param {number} now */
  show(lanes, now) {
    const was = this.#current?.attempt;
    this.#lanes = lanes;
    this.#now = now;
    if (this.#follows) [this.#from, this.#to] = [0, lanes.axis.whole];
    const end = laneTops(lanes).at(-1) ?? 0;
    this.#room.style.height = `${end + TOP + (lanes.axis.segments.length > 1 ? BOTTOM : 0)}px`;
    const kept = was && this.#bars().find(({ attempt }) => attempt.step === was.step
      && attempt.task === was.task && attempt.queued === was.queued);
    this.#current = kept ?? null;
    this.#tell();
    this.#later();
  }

  /** Show the others faintly. @param {(bar: Bar) => boolean} fits */
  filter(fits) {
    this.#fits = fits;
    this.#later();
  }

  /** Show all of the time. */
  fit() {
    this.#follows = true;
    [this.#from, this.#to] = [0, this.#lanes?.axis.whole ?? 1];
    this.#later();
  }

  /** Zoom around a place of the chart, in pixels. @param {number} factor @param {number} [x] */
  zoom(factor, x = this.#labels() + this.#wide() / 2) {
    const share = Math.min(1, Math.max(0, (x - this.#labels()) / this.#wide()));
    const middle = this.#from + share * (this.#to - this.#from);
    const whole = this.#lanes?.axis.whole ?? 1;
    const length = Math.min(whole, Math.max(CLOSEST, (this.#to - this.#from) / factor));
    this.#place(middle - share * length, length);
  }

  /** @param {number} from @param {number} length */
  #place(from, length) {
    const whole = this.#lanes?.axis.whole ?? 1;
    this.#from = Math.min(Math.max(0, from), whole - length);
    this.#to = this.#from + length;
    this.#follows = length >= whole;
    this.#later();
  }

  #labels() {
    return this.#scroll.clientWidth < 560 ? 74 : 108;
  }

  #wide() {
    return Math.max(1, this.#scroll.clientWidth - this.#labels());
  }

  #bars() {
    return this.#lanes === null ? [] : this.#lanes.lanes.flatMap(({ rows }) => rows.flat());
  }

  #repaint = () => {
    this.#colours = null;
    this.#later();
  };

  #later() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#frame = 0;
    const [width, height] = [this.#scroll.clientWidth, this.#scroll.clientHeight];
    if (this.#lanes === null || width === 0) return;
    const sharp = devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * sharp)
      || this.#canvas.height !== Math.round(height * sharp)) {
      [this.#canvas.width, this.#canvas.height] =
        [Math.round(width * sharp), Math.round(height * sharp)];
      this.#canvas.style.width = `${width}px`;
      this.#canvas.style.height = `${height}px`;
    }
    this.#context.setTransform(sharp, 0, 0, sharp, 0, 0);
    this.#colours ??= palette(this.#scroll);
    paint(this.#context, {
      lanes: this.#lanes, colours: this.#colours, width, height, labels: this.#labels(),
      top: this.#scroll.scrollTop, from: this.#from, to: this.#to, current: this.#current,
      fits: this.#fits,
    });
  }

  /** The bar at a place of the chart. @param {number} x @param {number} y @returns {Bar | null} */
  #at(x, y) {
    if (this.#lanes === null || y < TOP || x < this.#labels()) return null;
    const tops = laneTops(this.#lanes);
    const high = rowHeight(this.#lanes);
    const inside = y - TOP + this.#scroll.scrollTop;
    const index = tops.findLastIndex((top) => top <= inside);
    const row = this.#lanes.lanes[index]?.rows[Math.floor((inside - tops[index]) / high)];
    if (row === undefined) return null;
    const scale = this.#wide() / (this.#to - this.#from);
    return nearest(row, this.#from + (x - this.#labels()) / scale, REACH / scale);
  }

  /** @param {Bar | null} bar */
  #point(bar) {
    if (bar === this.#current) return;
    this.#current = bar;
    this.#tell();
    this.#later();
  }

  #tell() {
    const bar = this.#current;
    if (bar === null) {
      fill(this.#told, html("span", {}, "Point at a bar, or go from bar to bar by arrow keys;"
        + " Ctrl and the wheel zoom."));
      put(this.#scroll, "aria-activedescendant", null);
      return;
    }
    const [name, ...rest] = facts(bar.attempt, this.#now, moment);
    fill(this.#told, html("b", {}, name), rest.map((line) => html("span", {}, line)));
    fill(this.#option, [name, ...rest].join("; "));
    put(this.#option, "aria-selected", "true");
    this.#option.hidden = false; // An option without text would have no name.
    put(this.#scroll, "aria-activedescendant", "timeline-bar");
  }

  /** @param {WheelEvent} event */
  #wheel = (event) => {
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const by = Math.max(-60, Math.min(60, event.deltaY * lines));
      this.zoom(Math.exp(-by / 150), this.#inside(event).x);
      return;
    }
    const across = event.shiftKey ? event.deltaY : event.deltaX;
    if (across === 0) return;
    event.preventDefault();
    this.#pan(across * lines);
  };

  /** @param {number} pixels */
  #pan(pixels) {
    const length = this.#to - this.#from;
    this.#place(this.#from + (pixels * length) / this.#wide(), length);
  }

  /** @param {MouseEvent} event */
  #inside(event) {
    const box = this.#scroll.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {PointerEvent} event */
  #down = (event) => {
    if (event.button !== 0) return;
    this.#pointers.set(event.pointerId, this.#inside(event));
    this.#dragged = false;
  };

  /** @param {PointerEvent} event */
  #move = (event) => {
    const place = this.#inside(event);
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) {
      this.#point(this.#at(place.x, place.y));
      return;
    }
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!this.#dragged && Math.hypot(place.x - before.x, place.y - before.y) < 4) return;
    if (!this.#dragged) this.#scroll.setPointerCapture(event.pointerId);
    this.#dragged = true;
    this.#pointers.set(event.pointerId, place);
    if (other !== undefined) {
      const [was, is] = [before, place].map(({ x }) => Math.max(20, Math.abs(x - other.x)));
      this.zoom(is / was, (place.x + other.x) / 2);
    } else {
      this.#pan(before.x - place.x);
      if (event.pointerType === "mouse") this.#scroll.scrollTop += before.y - place.y;
    }
  };

  /** @param {PointerEvent} event */
  #up = (event) => {
    if (!this.#pointers.delete(event.pointerId) || this.#dragged) return;
    const { x, y } = this.#inside(event);
    const bar = this.#at(x, y);
    this.#point(bar);
    if (bar !== null && event.type === "pointerup") this.#open(bar.attempt);
  };

  /** @param {KeyboardEvent} event */
  #key = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = /** @type {Record<string, () => void>} */ ({
      ArrowRight: () => this.#step(1), ArrowLeft: () => this.#step(-1),
      ArrowDown: () => this.#cross(1), ArrowUp: () => this.#cross(-1),
      Home: () => this.#step(-Infinity), End: () => this.#step(Infinity),
      "+": () => this.zoom(STEP), "=": () => this.zoom(STEP), "-": () => this.zoom(1 / STEP),
      0: () => this.fit(),
      Enter: () => { if (this.#current !== null) this.#open(this.#current.attempt); },
    });
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  };

  #rows() {
    return this.#lanes === null ? [] : this.#lanes.lanes.flatMap(({ rows }) => rows);
  }

  /** Go on in the row. @param {number} by */
  #step(by) {
    const row = this.#current === null ? this.#rows()[0]
      : this.#lanes?.lanes[this.#current.lane].rows[this.#current.row];
    if (row === undefined) return;
    const index = this.#current === null ? 0 : row.indexOf(this.#current) + by;
    this.#go(row[Math.max(0, Math.min(row.length - 1, index))]);
  }

  /** Go to another row, to the bar nearest in time. @param {number} by */
  #cross(by) {
    const current = this.#current;
    if (current === null) {
      this.#step(0);
      return;
    }
    const rows = this.#rows();
    const own = this.#lanes?.lanes[current.lane].rows[current.row];
    const next = rows[rows.findIndex((row) => row === own) + by];
    if (next !== undefined) this.#go(nearest(next, current.left, Infinity) ?? next[0]);
  }

  /** @param {Bar} bar */
  #go(bar) {
    const length = this.#to - this.#from;
    if (bar.right < this.#from || bar.left > this.#to)
      this.#place((bar.left + bar.right) / 2 - length / 2, length);
    if (this.#lanes !== null) {
      const high = rowHeight(this.#lanes);
      const y = laneTops(this.#lanes)[bar.lane] + bar.row * high;
      const room = this.#scroll.clientHeight - TOP - BOTTOM;
      if (y < this.#scroll.scrollTop) this.#scroll.scrollTop = y;
      else if (y + high > this.#scroll.scrollTop + room)
        this.#scroll.scrollTop = y + high - room;
    }
    this.#point(bar);
  }
}
