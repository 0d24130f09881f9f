// The shapes of a graph: a Step, a group of Steps, a Step within an opened group, an edge. Each has
// a size first, is then drawn at a place, and can get new states.

import { fill, put, svg } from "./dom.js";
import { draw, glyph } from "./glyphs.js";
import { shortened, width } from "./texts.js";
import { count, tally } from "./words.js";

const STEP = { height: 50, least: 128, most: 248, text: 38, end: 14 };
const GROUP = { width: 248, height: 84 };
const HEAD = 46;
const TILE = { height: 28, least: 84, most: 208, text: 26, end: 10, gap: 7 };
const DOT = 22; // A Step in a group of very many is its sign alone.
const NAMED = 600;
const PAD = 14;

/** The fonts of the texts, as the style sheet has them. */
export function fonts(element) {
  const family = getComputedStyle(element).fontFamily;
  return { name: `600 13px ${family}`, note: `400 12px ${family}`, tile: `400 12px ${family}` };
}

/** The width that all Steps of a picture have. */
export function stepWidth(steps, font) {
  const wanted = steps.map(({ step, command }) => Math.max(
    width(step, font.name),
    width(stepNote(command, step, "exception"), font.note),
  ));
  return Math.min(STEP.most,
    Math.max(STEP.least, Math.ceil(Math.max(0, ...wanted)) + STEP.text + STEP.end));
}

function stepNote(command, step, state) {
  return command === step ? state : `${state} · ${command}`;
}

/** A Step as a node: its name, its state in a word, its Command. */
export class StepShape {
  constructor(step, font, wide) {
    this.name = step.step;
    this.width = wide;
    this.height = STEP.height;
    this.#font = font;
    this.#step = step;
    this.#sign = glyph(step.state, 18, { x: 12, y: 16 });
    this.#note = svg("text", { class: "note", x: STEP.text, y: 36 });
    this.element = svg("g", { class: "node step", role: "button", tabindex: -1 },
      svg("rect", { class: "box", width: wide, height: STEP.height, rx: 9 }),
      this.#sign,
      svg("text", { class: "name", x: STEP.text, y: 20 },
        shortened(step.step, font.name, wide - STEP.text - STEP.end)),
      this.#note,
      svg("title", {}, step.step));
    this.show(new Map([[step.step, step.state]]));
  }

  #font;
  #step;
  #sign;
  #note;

  /** The parts that can be focused: id, Step's name (null: a group), element, box in this shape. */
  get spots() {
    const { name, element } = this;
    return [{ id: `step ${name}`, name, element, ...box(0, 0, this) }];
  }

  show(states) {
    const state = states.get(this.name);
    const { step, command } = this.#step;
    put(this.element, "data-state", state);
    put(this.element,
      "aria-label", `${step}, ${state}${command === step ? "" : `, Command ${command}`}`);
    draw(this.#sign, state);
    this.#note.textContent =
      shortened(stepNote(command, step, state), this.#font.note, this.width - STEP.text - STEP.end);
  }
}

/** The Steps of one Command as one node, with their numbers by state. */
export class GroupShape {
  constructor(node, font, wanted) {
    this.command = node.command;
    this.open = node.open;
    this.#steps = node.steps;
    this.tiles = node.open ? tiles(node.steps, font, wanted) : null;
    this.width = Math.max(GROUP.width, this.tiles === null ? 0 : this.tiles.width + 2 * PAD);
    this.height = this.tiles === null ? GROUP.height : HEAD + this.tiles.height + PAD;
    const size = width(count(node.steps.length, "Step"), font.note);
    const room = (node.open ? GROUP.width : this.width) - 38 - size - 24;
    const name = shortened(node.command, font.name, room);
    this.#counts = svg("g", { class: "counts" });
    this.#bar = svg("g", { class: "bar" });
    this.element = svg("g", { class: `node group ${node.open ? "open" : "closed"}` },
      node.open ? null : svg("rect", {
        class: "behind", x: 5, y: 5, width: this.width, height: this.height, rx: 9,
      }),
      svg("rect", { class: "box", width: this.width, height: this.height, rx: 9 }));
    const fold = node.open ? "M13 17.5 18 22.5 23 17.5" : "M15.5 15 20.5 20 15.5 25";
    const high = node.open ? HEAD : this.height;
    this.#head = svg("g",
      { class: "head", role: "button", tabindex: -1, "aria-expanded": String(node.open) },
      svg("rect", { class: "touch", width: this.width, height: high, rx: 9 }),
      svg("path", { class: "fold", d: fold }),
      svg("text", { class: "name", x: 32, y: node.open ? 25 : 24 }, name),
      svg("text", { class: "note", x: 32 + width(name, font.name) + 10, y: node.open ? 25 : 24 },
        count(node.steps.length, "Step")),
      this.#counts,
      node.open ? null : this.#bar,
      svg("title", {}, node.command));
    this.element.append(this.#head, ...(this.tiles?.shapes ?? []).map(({ element }) => element));
    if (node.open) {
      this.#from = 32 + width(name, font.name) + size + 32;
      put(this.#counts, "transform", `translate(${this.#from} 13)`);
    } else {
      put(this.#counts, "transform", "translate(14 36)");
      put(this.#bar, "transform", `translate(14 ${GROUP.height - 18})`);
    }
    this.#font = font;
    this.show(new Map(node.steps.map(({ step, state }) => [step, state])));
  }

  #steps;
  #head;
  #from = 0;
  #chips = new Map();
  #counts;
  #bar;
  #font;

  /** As those of a Step: the head first, which opens and closes the group. */
  get spots() {
    const height = this.open ? HEAD : this.height;
    return [
      {
        id: `group ${this.command}`, name: null, command: this.command, element: this.#head,
        ...box(0, 0, { ...this, height }),
      },
      ...(this.tiles?.shapes ?? []).map((tile) => (
        {
          id: `step ${tile.name}`, name: tile.name, element: tile.element,
          ...box(tile.x, tile.y, tile),
        })),
    ];
  }

  show(states) {
    const counts = tally(this.#steps.map(({ step }) => states.get(step)));
    const told = [...counts].map(([state, number]) => `${number} ${state}`).join(", ");
    put(this.#head,
      "aria-label", `Command ${this.command}, ${count(this.#steps.length, "Step")}: ${told}`);
    // If the room is too narrow for all of them, the urgent ones come first.
    const wide = this.width - (this.open ? this.#from : 28);
    const chips = [];
    let x = 0;
    for (const [state, number] of counts) {
      const size = 18 + width(String(number), this.#font.note) + 14;
      if (x + size - 14 > wide) break;
      // Kept, as a sign that turns would begin anew.
      const chip = this.#chips.get(state) ?? svg("g", { class: "chip", "data-state": state },
        glyph(state, 14, { y: 2 }), svg("text", { class: "note", x: 19, y: 13 }));
      this.#chips.set(state, chip);
      put(chip, "transform", `translate(${x} 0)`);
      fill(chip.lastElementChild, number);
      chips.push(chip);
      x += size;
    }
    fill(this.#counts, chips);
    if (!this.open) this.#bar.replaceChildren(...bar(counts, this.width - 28));
    if (this.tiles !== null) for (const tile of this.tiles.shapes) tile.show(states.get(tile.name));
  }
}

/** A Step within its group. */
class TileShape {
  constructor(step, font, wide, named) {
    this.name = step.step;
    this.#command = step.command;
    const size = named ? 14 : 12;
    this.#sign = glyph(step.state, size, { x: named ? 7 : 5, y: named ? 7 : 5 });
    const height = named ? TILE.height : DOT;
    this.element = svg("g",
      { class: named ? "node tile" : "node tile dot", role: "button", tabindex: -1 },
      svg("rect", { class: "box", width: wide, height, rx: 6 }),
      this.#sign,
      named ? svg("text", { class: "name", x: TILE.text, y: 18 },
        shortened(this.name, font.tile, wide - TILE.text - TILE.end)) : null,
      svg("title", {}, this.name));
    this.show(step.state);
  }

  #command;
  #sign;

  show(state) {
    put(this.element, "data-state", state);
    put(this.element, "aria-label", `${this.name}, ${state}, Command ${this.#command}`);
    draw(this.#sign, state);
  }
}

function box(x, y, { width: wide, height }) {
  return { x, y, width: wide, height };
}

/** The Steps of an opened group in rows, of the shape `wanted.shape`, within `wanted.width`. */
function tiles(steps, font, wanted) {
  const named = steps.length <= NAMED;
  const widest = Math.max(...steps.map(({ step }) => width(step, font.tile)));
  const wide = named
    ? Math.min(TILE.most, Math.max(TILE.least, Math.ceil(widest) + TILE.text + TILE.end)) : DOT;
  const [across, down] = [wide + TILE.gap, (named ? TILE.height : DOT) + TILE.gap];
  const most = Math.min(steps.length, Math.floor((wanted.width - 2 * PAD) / across));
  const columns = Math.max(1,
    Math.min(most, Math.round(Math.sqrt((steps.length * down * wanted.shape) / across))));
  const shapes = steps.map((step, index) => {
    const tile = new TileShape(step, font, wide, named);
    tile.x = PAD + (index % columns) * across;
    tile.y = HEAD + Math.floor(index / columns) * down;
    [tile.width, tile.height] = [wide, down - TILE.gap];
    put(tile.element, "transform", `translate(${tile.x} ${tile.y})`);
    return tile;
  });
  const rows = Math.ceil(steps.length / columns);
  return { shapes, width: columns * across - TILE.gap, height: rows * down - TILE.gap };
}

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

/** An edge through the layout's points, that leaves and enters nodes in the reading direction. */
export function edge(points, from, to, across) {
  const ends = across
    ? [
      { x: from.x + from.width, y: from.y + from.height / 2 },
      { x: to.x, y: to.y + to.height / 2 },
    ]
    : [
      { x: from.x + from.width / 2, y: from.y + from.height },
      { x: to.x + to.width / 2, y: to.y },
    ];
  const forward = across ? ends[0].x <= ends[1].x : ends[0].y <= ends[1].y;
  const path = forward ? curve([ends[0], ...passed(points), ends[1]], across) : line(points);
  return svg("path", { class: "edge", d: path, "marker-end": to.width > 1 ? "url(#arrow)" : null });
}

/** The layout's points between nodes, without every other one, which is half-way, for a label. */
function passed(points) {
  return points.slice(1, -1).filter((point, index) => index % 2 === 1);
}

function curve(points, across) {
  let path = `M${spot(points[0])}`;
  for (let index = 1; index < points.length; index += 1) {
    const [one, other] = [points[index - 1], points[index]];
    const middle = across ? (one.x + other.x) / 2 : (one.y + other.y) / 2;
    const [first, second] = across
      ? [{ x: middle, y: one.y }, { x: middle, y: other.y }]
      : [{ x: one.x, y: middle }, { x: other.x, y: middle }];
    path += `C${spot(first)} ${spot(second)} ${spot(other)}`;
  }
  return path;
}

function line(points) {
  return `M${points.map(spot).join("L")}`;
}

function spot({ x, y }) {
  return `${x.toFixed(1)},${y.toFixed(1)}`;
}
