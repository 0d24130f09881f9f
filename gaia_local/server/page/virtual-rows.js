// @ts-check
// A table of any number of rows, of which those in sight are in the document.

import { html, put } from "./dom.js";

const BEYOND = 10; // Rows above and below those in sight, so that scrolling shows no gap.
const FIRST_HEIGHT = 36; // Pixels of a row, until one was measured.

/** @template {{ element: HTMLElement }} R */
export class VirtualRows {
  #make;
  /** @type {{ row: R, index: number }[]} */
  #places = [];
  #number = 0;
  #height = FIRST_HEIGHT;
  /** @type {(row: R, index: number) => void} */
  #fill = () => {};
  #above = html("tbody", { "aria-hidden": "true" }, html("tr", {}, html("td", {})));
  #below = html("tbody", { "aria-hidden": "true" }, html("tr", {}, html("td", {})));
  #body = html("tbody", {});
  #table;
  element;
  #resized = new ResizeObserver(() => this.#draw());

  /**
   * With the table's head; `make()` makes an empty row.
   * @param {HTMLElement} head @param {() => R} make
   */
  constructor(head, make) {
    this.#make = make;
    this.#table = html("table", {}, head, this.#above, this.#body, this.#below);
    this.element = html("div", {
      class: "rows", tabindex: 0, role: "region", "aria-label": "Steps",
      scroll: () => this.#draw(),
      keydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    }, this.#table);
    this.#resized.observe(this.element);
  }

  /**
   * Show so many rows; `fill(row, index)` puts the contents into one that comes into sight.
   * @param {number} number @param {(row: R, index: number) => void} fill
   */
  show(number, fill) {
    this.#number = number;
    this.#fill = fill;
    put(this.#table, "aria-rowcount", number + 1);
    this.#draw();
  }

  close() {
    this.#resized.disconnect();
  }

  #draw() {
    const { scrollTop, clientHeight } = this.element;
    const seen = Math.ceil(clientHeight / this.#height);
    const most = Math.max(0, this.#number - seen - 2 * BEYOND);
    const first = Math.min(most, Math.max(0, Math.floor(scrollTop / this.#height) - BEYOND));
    const last = Math.min(this.#number, first + seen + 2 * BEYOND);
    const size = last - first;
    while (this.#places.length < size) this.#places.push({ row: this.#make(), index: -1 });
    for (const place of this.#places.slice(size)) this.#put(place, -1);
    const wanted = [];
    for (let index = first; index < last; index += 1) {
      // By turns: a row that stays in sight isn't moved, and keeps the keyboard.
      const place = this.#places[index % size];
      this.#put(place, index);
      this.#fill(place.row, index);
      wanted.push(place.row.element);
    }
    let next = this.#body.firstChild;
    for (const element of wanted) {
      if (element === next) next = next.nextSibling;
      else this.#body.insertBefore(element, next);
    }
    this.#space(this.#above, first);
    this.#space(this.#below, this.#number - last);
    const height = wanted[0]?.getBoundingClientRect().height ?? 0;
    if (height > 0 && Math.abs(height - this.#height) > 0.5) {
      this.#height = height;
      this.#draw();
    }
  }

  /**
   * Give a row another index; it leaves the body until it is put into its new place.
   * @param {{ row: R, index: number }} place @param {number} index -1: it isn't shown.
   */
  #put(place, index) {
    if (place.index === index) return;
    place.index = index;
    const { element } = place.row;
    if (element.contains(document.activeElement)) this.element.focus({ preventScroll: true });
    element.remove();
  }

  /** @param {HTMLElement} body @param {number} rows */
  #space(body, rows) {
    body.hidden = rows === 0;
    // Set by script, as the page's policy refuses styles in markup.
    const cell = body.querySelector("td");
    if (cell !== null) cell.style.height = `${rows * this.#height}px`;
  }

  /** Arrow keys, Home and End go to the same part of another row. @param {KeyboardEvent} event */
  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    const focused = document.activeElement;
    const row = focused?.closest("tbody tr");
    if (by === undefined || !row || !(focused instanceof HTMLElement)) return;
    const part = focused.tagName;
    const index = Number(row.getAttribute("aria-rowindex")) - 2;
    const next = Math.min(this.#number - 1, Math.max(0, index + by));
    event.preventDefault();
    const { scrollTop, clientHeight } = this.element;
    const head = this.#table.tHead?.offsetHeight ?? 0;
    const [top, bottom] = [next * this.#height, (next + 1) * this.#height + head];
    if (top < scrollTop) this.element.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.element.scrollTop = bottom - clientHeight;
    this.#draw();
    const target = [...this.#body.children]
      .find((each) => each.getAttribute("aria-rowindex") === String(next + 2));
    /** @type {HTMLElement | null | undefined} */ (target?.querySelector(part))?.focus();
  }
}
