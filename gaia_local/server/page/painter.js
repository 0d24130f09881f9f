// @ts-check
// Paints parts of a picture on a canvas, where elements would be too many or too small to read.

import { glyph } from "./glyphs.js";

/** @typedef {import("./told.js").Told} Told */
/** @typedef {CanvasRenderingContext2D} Context */

const SIGNED = 9; // Pixels: a smaller sign can't be told from a square.
const HELD = ["halted", "incomplete", "unfit"];
const COLOURED = ["complete", "running", "queued", "error", "exception"];
const PALE = ["queued", "ready", "waiting", "initialized"];

/** The colours of the style sheet, as a canvas wants them. */
export class Colours {
  /** @type {CSSStyleDeclaration} */
  #style;
  /** @type {Map<string, string>} */
  #known = new Map();

  /** @param {Element} element */
  constructor(element) {
    this.#style = getComputedStyle(element);
  }

  /** @param {string} name of a variable of the style sheet */
  get(name) {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const found = this.#style.getPropertyValue(`--${name}`).trim();
    this.#known.set(name, found);
    return found;
  }

  /** @param {string} state */
  of(state) {
    return this.get(HELD.includes(state) ? "held" : COLOURED.includes(state) ? state : "waiting");
  }
}

/**
 * Paint items of a picture: as signs where they are large enough, else as squares.
 * @param {Context} context with the picture's own coordinates
 * @param {Item[]} items @param {Told} told @param {Colours} colours
 * @param {number} scale at which it is seen, in pixels of the canvas
 * @param {string | undefined} filter those that it leaves out are pale
 */
export function paint(context, items, told, colours, scale, filter) {
  /** @type {Map<string, { state: string, pale: boolean, items: Item[] }>} */
  const alike = new Map();
  for (const item of items) {
    if (item.kind === "group") continue;
    const state = told.state(item.step);
    const pale = !told.wanted(item.step, filter);
    const id = pale ? `- ${state}` : state;
    const found = alike.get(id);
    if (found === undefined) alike.set(id, { state, pale, items: [item] });
    else found.items.push(item);
  }
  for (const { state, pale, items: some } of alike.values()) {
    const faint = pale ? 0.15 : 1;
    if (some[0].kind === "dot" && 12 * scale >= SIGNED) {
      const side = Math.ceil(12 * scale);
      const sprite = sign(state, side, colours);
      context.globalAlpha = faint;
      for (const { x, y, width, height } of some)
        context.drawImage(sprite, x + (width - 12) / 2, y + (height - 12) / 2, 12, 12);
      continue;
    }
    context.globalAlpha = faint * (PALE.includes(state) ? 0.45 : 1);
    context.fillStyle = colours.of(state);
    for (const { x, y, width, height } of some)
      context.fillRect(x, y, Math.max(width, 1 / scale), Math.max(height, 1 / scale));
  }
  context.globalAlpha = 1;
}

/**
 * Paint the frames and boxes of groups.
 * @param {Context} context @param {Item[]} items @param {Told} told @param {Colours} colours
 */
export function paintGroups(context, items, told, colours) {
  for (const item of items) {
    if (item.group === null) continue;
    const { x, y, width, height } = item;
    context.fillStyle = colours.get(item.open ? "sunken" : "waiting");
    if (!item.open) {
      const [state] = told.summary(item.group).counts.keys();
      context.fillStyle = colours.of(state);
      context.globalAlpha = PALE.includes(state) ? 0.45 : 1;
    }
    context.fillRect(x, y, width, height);
    context.globalAlpha = 1;
  }
}

/** @type {WeakMap<Colours, Map<string, HTMLCanvasElement>>} */
const signs = new WeakMap();

/**
 * The sign of a state as an image, drawn once for each size and set of colours.
 * @param {string} state @param {number} side @param {Colours} colours
 */
function sign(state, side, colours) {
  const known = signs.get(colours) ?? new Map();
  signs.set(colours, known);
  const id = `${state} ${side}`;
  if (known.has(id)) return known.get(id);
  const image = document.createElement("canvas");
  [image.width, image.height] = [side, side];
  const context = /** @type {Context} */ (image.getContext("2d"));
  context.scale(side / 16, side / 16);
  context.lineCap = context.lineJoin = "round";
  for (const part of glyph(state).children) stroke(context, part, colours, colours.of(state));
  known.set(id, image);
  return image;
}

/**
 * Draw one part of a sign as the style sheet does.
 * @param {Context} context @param {Element} part @param {Colours} colours @param {string} colour
 */
function stroke(context, part, colours, colour) {
  const classes = part.classList;
  const number = (/** @type {string} */ name) => Number(part.getAttribute(name));
  const path = new Path2D(part.getAttribute("d") ?? "");
  if (part.tagName === "circle")
    path.arc(number("cx"), number("cy"), number("r"), 0, 2 * Math.PI);
  context.fillStyle = context.strokeStyle = colour;
  if (classes.contains("disc") || classes.contains("core")) {
    context.fill(path);
    return;
  }
  if (classes.contains("mark")) context.strokeStyle = colours.get("surface");
  context.lineWidth = classes.contains("ring") || classes.contains("ink") ? 1.5 : 1.8;
  context.setLineDash(classes.contains("dashed") ? [2.4, 2.3] : []);
  context.globalAlpha = classes.contains("track") ? 0.3 : 1;
  context.stroke(path);
  context.globalAlpha = 1;
}
