// @ts-check
// A list of any number of rows, of which only those in sight, and some around them, are elements.

import { html } from "./dom.js";
import { around, clamp, elementAt, fromBar, height, toBar } from "./log-window.js";

const MARGIN = 30; // Rows above and below those in sight.
const IDLE_MS = 200; // After so long without a movement the scroll bar is set right.

/**
 * What is where: an anchor, that is a line and the pixels of it above the top of the box, decides.
 * The rows around it are laid out, high as they are, and put so that the anchor is at its place.
 * While the reader scrolls within them, the browser moves them, pixel by pixel, and the anchor is
 * what is at the top then. A jump of the scroll bar sets the anchor in proportion. The rows begin
 * at the very top of the long element if the first line is among them, and end at its end if the
 * last one is.
 */
export class Rows {
  #rowOf;
  #moved;
  #total = 0;
  #line = 1;
  #shift = 0;
  #atEnd = true;
  #top = 0; // Where the box was scrolled to, and where the rows begin, in pixels.
  #start = 0;
  #first = 1;
  #rowHeight = 18;
  /** @type {Map<number, HTMLElement>} */
  #rows = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #idle;
  #probe = html("div", { class: "row probe", "aria-hidden": "true" }, " ");
  #list = html("div", { class: "rows" });
  #long = html("div", { class: "long" }, this.#list);
  #sized = new ResizeObserver(() => this.draw());

  /**
   * @param {(line: number, before: HTMLElement | undefined) => HTMLElement} rowOf the element of a
   *   line, which may be the one that it was before
   * @param {() => void} moved called after each change of what is in sight
   */
  constructor(rowOf, moved) {
    this.#rowOf = rowOf;
    this.#moved = moved;
    this.element = html("div", {
      class: "log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: 0,
    }, this.#probe, this.#long);
    this.element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#sized.observe(this.element);
  }

  /** Whether the end is in sight, and stays so when the log grows. */
  get atEnd() { return this.#atEnd; }

  /** The line at the top. */
  get line() { return this.#line; }

  /** The lines that are elements now. @returns {[number, number]} */
  get range() {
    return around(this.#line, this.#inSight(), MARGIN, this.#total);
  }

  /** @param {number} lines there are so many now */
  setTotal(lines) {
    this.#total = lines;
    this.draw();
  }

  /** @param {number} line put it a third from the top, or, with nothing above, at the top */
  goTo(line) {
    this.#atEnd = false;
    this.#anchor(clamp(line - Math.floor(this.#inSight() / 3), 1, Math.max(1, this.#total)));
    const row = this.#rows.get(line);
    if (row === undefined) return;
    // Lines before it may be wrapped, and so higher than was thought.
    const place = row.offsetTop + this.#start - this.element.scrollTop;
    if (place >= 0 && place + row.offsetHeight <= this.element.clientHeight) return;
    this.#anchor(line);
  }

  /** Go to the end, and stay there. */
  toEnd() {
    this.#top = this.element.scrollTop;
    this.#atEnd = true;
    this.draw();
  }

  /** @param {number} line put it at the top, and the scroll bar right */
  #anchor(line) {
    this.#top = this.element.scrollTop; // Where the reader scrolled to doesn't matter now.
    this.#line = line;
    this.#shift = 0;
    this.draw(true);
  }

  close() {
    clearTimeout(this.#idle);
    this.#sized.disconnect();
  }

  /**
   * Make the rows what they should be. With `jump`, the scroll bar is set right as well.
   * @param {boolean} jump
   */
  draw(jump = false) {
    const box = this.element;
    this.#rowHeight = this.#probe.offsetHeight || this.#rowHeight;
    if (box.clientHeight === 0) // It is as high as what is in it, up to a limit.
      this.#long.style.height = `${height(this.#total, this.#rowHeight)}px`;
    if (box.clientHeight === 0) return; // It isn't on the page.
    this.#followScroll(); // The event for it may not have come yet.
    if (this.#atEnd) [this.#line, this.#shift] = [Math.max(1, this.#total), 0];
    this.#line = clamp(this.#line, 1, Math.max(1, this.#total));
    const [first, last] = this.range;
    this.#fill(first, last);
    const rowsHeight = this.#list.offsetHeight;
    const all = first === 1 && last === this.#total;
    const long = all ? rowsHeight : Math.max(height(this.#total, this.#rowHeight), rowsHeight);
    this.#long.style.height = `${long}px`;
    const room = Math.max(0, long - box.clientHeight);
    const anchor = (this.#rows.get(this.#line)?.offsetTop ?? 0) + this.#shift;
    let top = box.scrollTop;
    let start = top - anchor;
    const outside = start < 0 || start + rowsHeight > long;
    if (jump || outside || this.#atEnd) {
      top = toBar(this.#place(), this.#longest(), room);
      start = top - anchor;
    }
    if (first === 1) start = 0;
    else if (last === this.#total) start = long - rowsHeight;
    else start = clamp(start, 0, long - rowsHeight);
    top = clamp(this.#atEnd ? room : start + anchor, 0, room);
    this.#start = start;
    this.#list.style.top = `${start}px`;
    if (Math.abs(box.scrollTop - top) >= 1) box.scrollTop = top;
    this.#top = box.scrollTop;
    this.#moved();
  }

  #scrolled() {
    if (!this.#followScroll()) return;
    this.draw();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.draw(!this.#atEnd), IDLE_MS);
  }

  /** Set the anchor to what the reader scrolled to since the last time; whether that was so. */
  #followScroll() {
    const box = this.element;
    const top = box.scrollTop;
    if (Math.abs(top - this.#top) < 1) return false;
    this.#top = top;
    const place = top - this.#start;
    if (place >= 0 && place < this.#list.offsetHeight) this.#anchorAt(place);
    else {
      const lines = fromBar(top, this.#longest(), box.scrollHeight - box.clientHeight);
      this.#line = 1 + Math.floor(lines / this.#rowHeight);
      this.#shift = lines % this.#rowHeight;
    }
    const bottom = box.scrollHeight - top - box.clientHeight < 1;
    this.#atEnd = bottom && this.range[1] === this.#total;
    return true;
  }

  /** @param {number} place of the top of the box, in pixels from the beginning of the rows */
  #anchorAt(place) {
    const rows = /** @type {HTMLCollectionOf<HTMLElement>} */ (this.#list.children);
    if (rows.length === 0) return;
    const index = elementAt(rows.length, (each) => rows[each].offsetTop, place);
    this.#line = this.#first + index;
    this.#shift = place - rows[index].offsetTop;
  }

  /** The anchor's place, were all rows as high as one line. */
  #place() {
    const row = this.#rows.get(this.#line);
    const part = row === undefined || row.offsetHeight === 0 ? 0 : this.#shift / row.offsetHeight;
    return (this.#line - 1 + Math.min(1, part)) * this.#rowHeight;
  }

  #longest() {
    return Math.max(0, this.#total * this.#rowHeight - this.element.clientHeight);
  }

  #inSight() {
    return Math.ceil(this.element.clientHeight / this.#rowHeight);
  }

  /** @param {number} first @param {number} last */
  #fill(first, last) {
    for (const [line, row] of this.#rows) {
      if (line >= first && line <= last) continue;
      row.remove();
      this.#rows.delete(line);
    }
    /** @type {Element | null} */
    let next = this.#list.firstElementChild;
    for (let line = first; line <= last; line += 1) {
      const before = this.#rows.get(line);
      const row = this.#rowOf(line, before);
      if (row !== before) {
        if (before !== undefined && before === next) next = before.nextElementSibling;
        before?.remove();
        this.#rows.set(line, row);
      }
      if (row === next) next = row.nextElementSibling;
      else this.#list.insertBefore(row, next);
    }
    this.#first = first;
  }
}
