// @ts-check
// The elements of a picture's parts: a Step, a Step within an opened group, a group. Each stands at
// its item's place, and shows what is told of it.

import { HEAD } from "./arrange.js";
import { fill, put, svg } from "./dom.js";
import { draw, glyph } from "./glyphs.js";
import { shortened, width } from "./texts.js";
import { count } from "./words.js";

/** @typedef {import("./told.js").Told} Told */
/** @typedef {{ name: string, note: string, tile: string }} Fonts */

const STEP = { least: 112, most: 248, text: 38, end: 14 };
const TILE = { least: 84, most: 208, text: 26, end: 10 };
const MEASURED = 60;
const AGAIN = { side: 26, end: 9 };

/**
 * The fonts of the texts, as the style sheet has them.
 * @param {Element} element @returns {Fonts}
 */
export function fonts(element) {
  const family = getComputedStyle(element).fontFamily;
  return { name: `600 13px ${family}`, note: `400 12px ${family}`, tile: `400 12px ${family}` };
}

/**
 * The widths that all Steps of a picture have, as nodes and as tiles.
 * @param {number[]} steps @param {Told} told @param {Fonts} font
 */
export function widths(steps, told, font) {
  const labels = longest(steps.map((step) => told.label(step)));
  const notes = longest(steps.map((step) => told.note(step, "exception")));
  const widest = (/** @type {string[]} */ texts, /** @type {string} */ style) => (
    Math.max(0, ...texts.map((text) => width(text, style))));
  const [name, note, tile] = [
    widest(labels, font.name), widest(notes, font.note), widest(labels, font.tile)];
  const within = (
    /** @type {number} */ wanted, /** @type {typeof STEP} */ { least, most, text, end },
  ) => Math.min(most, Math.max(least, Math.ceil(wanted) + text + end));
  return { step: within(Math.max(name, note), STEP), tile: within(tile, TILE) };
}

/** Those of many texts that can be the widest. @param {string[]} texts */
function longest(texts) {
  return [...new Set(texts)].sort((one, other) => other.length - one.length).slice(0, MEASURED);
}

/** The focusable parts of an item. @param {Item} item @returns {Place[]} */
export function places(item) {
  const { x, y, width: wide, height } = item;
  if (item.kind !== "group")
    return [{ id: item.id, item, part: "step", x, y, width: wide, height }];
  return [
    { id: item.id, item, part: "head", x, y, width: wide, height: item.open ? HEAD : height },
    {
      id: `again ${item.id}`, item, part: "again", x: x + wide - AGAIN.side - AGAIN.end,
      y: y + 10, width: AGAIN.side, height: AGAIN.side,
    },
  ];
}

/** The shape of an item. @param {Item} item @param {Told} told @param {Fonts} font */
export function shapeOf(item, told, font) {
  return item.kind === "group" ? new GroupShape(item, told, font) : new StepShape(item, told, font);
}

/** @param {Item["kind"]} kind */
function round(kind) {
  return kind === "step" ? 9 : 6;
}

/**
 * A button over what is seen. It holds no text: what is drawn may be cut to fit, and then it
 * wouldn't be a part of the button's name, which has it whole.
 * @param {Record<string, number>} size @param {string} title
 */
function touch(size, title) {
  return svg("rect", { class: "touch", role: "button", tabindex: -1, ...size },
    svg("title", {}, title));
}

/** A Step: its name, its state in a word, its Command. */
class StepShape {
  /** @type {Record<string, Element>} */
  parts;
  back = null;

  /** @param {Item} item @param {Told} told @param {Fonts} font */
  constructor(item, told, font) {
    this.item = item;
    this.#told = told;
    this.#font = font;
    const { kind, width: wide, height } = item;
    const label = told.label(item.step);
    const [size, place] = kind === "step" ? [18, { x: 12, y: 16 }]
      : kind === "tile" ? [14, { x: 7, y: 7 }] : [12, { x: 5, y: 5 }];
    const text = kind === "step" ? STEP.text : TILE.text;
    this.#sign = glyph(told.state(item.step), size, place);
    this.#note = kind === "step" ? svg("text", { class: "note", x: text, y: 36 }) : null;
    const seen = svg("g", { "aria-hidden": "true" },
      svg("rect", { class: "box", width: wide, height, rx: round(kind) }),
      this.#sign,
      kind === "dot" ? null : svg("text", { class: "name", x: text, y: kind === "step" ? 20 : 18 },
        kind === "step" ? shortened(label, font.name, wide - text - STEP.end)
          : shortened(label, font.tile, wide - text - TILE.end)),
      this.#note);
    const step = touch({ width: wide, height, rx: round(kind) }, told.name(item.step));
    this.element = svg("g", {
      class: `node ${kind === "dot" ? "tile dot" : kind}`,
      transform: `translate(${item.x.toFixed(1)} ${item.y.toFixed(1)})`,
    }, seen, step);
    this.parts = { step };
    this.show();
  }

  #told;
  #font;
  #sign;
  #note;

  show() {
    const { step, width: wide } = this.item;
    const state = this.#told.state(step);
    put(this.element, "data-state", state);
    put(this.parts.step, "aria-label", this.#told.spoken(step));
    draw(this.#sign, state);
    if (this.#note === null) return;
    const note = this.#told.note(step);
    fill(this.#note, shortened(note, this.#font.note, wide - STEP.text - STEP.end));
  }
}

/** A group: how many Steps, in which states, their times; it opens, and runs them again. */
class GroupShape {
  /** @type {Record<string, Element>} */
  parts;

  /** @param {Item} item @param {Told} told @param {Fonts} font */
  constructor(item, told, font) {
    this.item = item;
    this.#group = /** @type {DrawnGroup} */ (item.group);
    this.#told = told;
    this.#font = font;
    const { open, width: wide, height } = item;
    const steps = count(this.#group.steps.length, "Step");
    const size = width(steps, font.note);
    // A closed one has the number of its Steps below its name, which has the whole row.
    const taken = 32 + (open ? size + 20 : 8) + AGAIN.side + AGAIN.end;
    const name = shortened(this.#group.name, font.name, wide - taken);
    const place = open ? { x: 32 + width(name, font.name) + 10, y: 25 } : { x: 14, y: 49 };
    this.#from = place.x + size + (open ? 18 : 14);
    const at = `translate(${item.x.toFixed(1)} ${item.y.toFixed(1)})`;
    const frame = svg("rect", { class: "box", width: wide, height, rx: 9 });
    this.back = open ? svg("g", { class: "node frame", transform: at }, frame) : null;
    this.#counts = svg("g",
      { class: "counts", transform: `translate(${this.#from} ${open ? 13 : 36})` });
    this.#times = svg("text", { class: "note", x: 14, y: 72 });
    this.#bar = open ? null : svg("g", { class: "bar", transform: `translate(14 ${height - 17})` });
    const fold = open ? "M13 17.5 18 22.5 23 17.5" : "M15.5 15 20.5 20 15.5 25";
    const head = touch({ width: wide, height: open ? HEAD : height, rx: 9 }, this.#group.name);
    put(head, "aria-expanded", String(open));
    const seen = svg("g", { "aria-hidden": "true" },
      svg("path", { class: "fold", d: fold }),
      svg("text", { class: "name", x: 32, y: open ? 25 : 24 }, name),
      svg("text", { class: "note", ...place }, steps),
      this.#counts, this.#times, this.#bar);
    const label = `Run these ${this.#group.steps.length} Steps again`;
    const again = svg("g", {
      class: "again", role: "button", tabindex: -1, "aria-label": label,
      transform: `translate(${wide - AGAIN.side - AGAIN.end} 10)`,
    },
      svg("rect", { class: "touch", width: AGAIN.side, height: AGAIN.side, rx: 6 }),
      // Three quarters of a circle, and the head of an arrow.
      svg("path", { class: "fold", d: "M18.2 9.5A6.2 6.2 0 1 0 19.2 13M18.6 5.6V9.8H14.4" }),
      svg("title", {}, label));
    this.element = svg("g", { class: `node group ${open ? "open" : "closed"}`, transform: at },
      open ? null
        : [svg("rect", { class: "behind", x: 5, y: 5, width: wide, height, rx: 9 }), frame],
      seen, head, again);
    this.parts = { head, again };
    this.show();
  }

  #group;
  #told;
  #font;
  #from;
  #counts;
  #times;
  #bar;
  /** @type {Map<string, SVGElement>} */
  #chips = new Map();

  show() {
    const { counts } = this.#told.summary(this.#group);
    put(this.parts.head, "aria-label", this.#told.spokenGroup(this.#group));
    // If the room is too narrow for all of them, the urgent ones come first.
    const { width: wide, open } = this.item;
    const room = wide - this.#from - 14 - (open ? AGAIN.side + AGAIN.end : 0);
    const chips = [];
    let x = 0;
    for (const [state, number] of counts) {
      const size = 18 + width(String(number), this.#font.note) + 14;
      if (x + size - 14 > room) break;
      // Kept, as a sign that turns would begin anew.
      const chip = this.#chips.get(state) ?? svg("g", { class: "chip", "data-state": state },
        glyph(state, 14, { y: 2 }), svg("text", { class: "note", x: 19, y: 13 }));
      this.#chips.set(state, chip);
      put(chip, "transform", `translate(${x} 0)`);
      fill(/** @type {Element} */ (chip.lastElementChild), number);
      chips.push(chip);
      x += size;
    }
    fill(this.#counts, chips);
    const times = this.#told.times(this.#group);
    if (open) {
      const fits = x + width(times, this.#font.note) <= room;
      put(this.#times, "x", this.#from + x + 4);
      put(this.#times, "y", 25);
      fill(this.#times, fits ? times : null);
    } else {
      fill(this.#times, shortened(times, this.#font.note, wide - 28));
      this.#bar?.replaceChildren(...bar(counts, wide - 28));
    }
  }
}

/** @param {Map<string, number>} counts @param {number} wide */
function bar(counts, wide) {
  const all = [...counts.values()].reduce((sum, number) => sum + number, 0);
  const parts = [];
  let x = 0;
  for (const state of ["complete", ...[...counts.keys()].filter((name) => name !== "complete")]) {
    const part = ((counts.get(state) ?? 0) / all) * wide;
    const shape = { x, width: Math.max(2, part - 1), height: 6, rx: 2 };
    if (part > 0) parts.push(svg("rect", { class: "part", "data-state": state, ...shape }));
    x += part;
  }
  return parts;
}

/**
 * An edge: its line, and a broader one to point at.
 * @param {Line} line
 */
export function edgeOf({ path, arrow: ends, faint }) {
  return svg("g", {},
    svg("path", {
      class: faint ? "edge faint" : "edge", d: path, "marker-end": ends ? "url(#arrow)" : null,
    }),
    svg("path", { class: "edge-touch", d: path }));
}

/** The head of an arrow, to be used at the ends of lines. @param {string} id */
export function arrow(id) {
  return svg("marker", {
    id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto",
    markerUnits: "userSpaceOnUse",
  },
    svg("path", { d: "M0 0.8 7.5 4 0 7.2Z" }));
}
