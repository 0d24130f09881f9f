// @ts-check
// Paints a timeline on a canvas: lanes, bars in the colour of their Command, the axis.

import { blocks } from "./bars.js";
import { plain } from "./dom.js";
import { hue, marked, REUSED } from "./lanes.js";
import { SIGN_SIZE, SIGNS } from "./states.js";
import { duration } from "./words.js";

export const TOP = 28; // Pixels for the marks of the axis,
export const BOTTOM = 20; // for the words on idle times,
export const LANE_GAP = 8; // between two lanes,
export const TICK = 88; // and from mark to mark.
const NAMED = 64; // A bar of this width has its name in it.
const FAILED = ["error", "exception"];
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/g;

/** Text for a canvas: nothing in it turns or hides the rest. @param {string} text */
const clean = (text) => plain(text).replace(CONTROLS, "\ufffd");

/** The heights of rows, by how many there are. @param {Lanes} lanes */
export function rowHeight({ lanes }) {
  const rows = lanes.reduce((sum, lane) => sum + lane.rows.length, 0);
  return rows <= 40 ? 24 : rows <= 120 ? 15 : 9;
}

/** The place of each lane below the axis' marks, and of the end. @param {Lanes} lanes */
export function laneTops(lanes) {
  const high = rowHeight(lanes);
  let at = 0;
  return [...lanes.lanes.map(({ rows }) => {
    const top = at;
    at += rows.length * high + LANE_GAP;
    return top;
  }), at];
}

/**
 * The colours of the style sheets, as they are at present.
 * @param {Element} element
 * @returns {Palette}
 */
export function palette(element) {
  const style = getComputedStyle(element);
  /** @param {string} name */
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: value("text"), muted: value("muted"), line: value("line"), ground: value("surface"),
    band: value("sunken"), accent: value("accent"), mixed: value("edge"), font: style.fontFamily,
    area: value("command-area"), edge: value("command-line"),
    states: Object.fromEntries(Object.keys(SIGNS).map((state) => [state, value(state)])),
  };
}

/**
 * Paint the part of a timeline that is in sight.
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 */
export function paint(context, scene) {
  const { lanes, colours, width, height, labels, top, from, to } = scene;
  const scale = (width - labels) / (to - from);
  context.clearRect(0, 0, width, height);
  const tops = laneTops(lanes);
  const high = rowHeight(lanes);
  context.textBaseline = "middle";
  clipped(context, labels, TOP, width - labels, height - TOP, () => {
    lanes.lanes.forEach((lane, index) => {
      const y = TOP + tops[index] - top;
      const tall = lane.rows.length * high;
      if (y + tall < TOP || y > height) return;
      context.fillStyle = colours.band;
      context.fillRect(labels, y - 1, width - labels, tall + 1);
    });
    grid(context, scene, scale);
    lanes.lanes.forEach((lane, index) => {
      const y = TOP + tops[index] - top;
      lane.rows.forEach((row, number) => {
        const at = y + number * high;
        if (at + high < TOP || at > height) return;
        paintRow(context, scene, blocks(row, from, to, scale, onItsOwn), at, high - 3);
      });
    });
    ring(context, scene, scale, tops, high);
  });
  clipped(context, 0, TOP, labels, height - TOP, () => names(context, scene, tops, high));
  marks(context, scene, scale);
}

/** Bars that are worth a look aren't merged with others. @param {Bar} bar */
const onItsOwn = ({ state }) => marked(state);

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y
 * @param {number} width @param {number} height @param {() => void} draw */
function clipped(context, x, y, width, height, draw) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  draw();
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {Block[]} row
 * @param {number} y @param {number} high */
function paintRow(context, scene, row, y, high) {
  const { colours, labels, width, fits } = scene;
  /** @type {{ bar: Bar, x: number, wide: number }[]} */
  const signs = [];
  for (const { bar, left, right, number, command } of row) {
    const x = labels + Math.max(left, -8);
    const wide = Math.max(Math.min(labels + right, width + 8) - x, 1);
    const single = number === 1;
    context.globalAlpha = fits(bar) ? 1 : 0.15;
    const edge = command < 0 ? colours.mixed : `hsl(${hue(command)} ${colours.edge})`;
    const area = command < 0 ? colours.mixed : `hsl(${hue(command)} ${colours.area})`;
    context.fillStyle = wide < 4 ? edge : area;
    if (bar.state !== REUSED || wide < 4) context.fillRect(x, y, wide, high);
    if (single && marked(bar.state)) hatch(context, colours, bar.state, x, y, wide, high);
    if (wide >= 4) outline(context, colours, bar, edge, x, y, wide, high);
    if (single && (marked(bar.state) || wide >= NAMED)) signs.push({ bar, x, wide });
    if (single && wide >= NAMED && high >= 12) {
      context.fillStyle = colours.text;
      context.font = `11.5px ${colours.font}`;
      context.fillText(shortened(context, bar.attempt.step, wide - 26), x + 20, y + high / 2 + 0.5);
    }
  }
  context.globalAlpha = 1;
  if (high < 10) return;
  // After all bars, none of which hides a sign.
  let free = -Infinity;
  for (const { bar, x, wide } of signs) {
    const middle = wide >= 18 ? x + 10 : x + wide / 2;
    if (middle < free || !fits(bar)) continue;
    paintSign(context, colours, bar.state, middle, y + high / 2);
    free = middle + 14;
  }
}

/** @param {CanvasRenderingContext2D} context @param {Palette} colours @param {Bar} bar
 * @param {string} edge @param {number} x @param {number} y @param {number} wide
 * @param {number} high */
function outline(context, colours, bar, edge, x, y, wide, high) {
  const state = marked(bar.state) || bar.attempt.ended === null;
  context.strokeStyle = state ? colours.states[bar.state] ?? edge : edge;
  context.lineWidth = FAILED.includes(bar.state) ? 2 : 1;
  const dashes = bar.state === REUSED || bar.attempt.ended === null ? [3, 2] : [];
  context.setLineDash(dashes);
  context.strokeRect(x + 0.5, y + 0.5, wide - 1, high - 1);
  context.setLineDash([]);
}

/** Lines across a bar, dense for one that failed. @param {CanvasRenderingContext2D} context
 * @param {Palette} colours @param {string} state @param {number} x @param {number} y
 * @param {number} wide @param {number} high */
function hatch(context, colours, state, x, y, wide, high) {
  const between = FAILED.includes(state) ? 6 : 11;
  clipped(context, x, y, wide, high, () => {
    context.strokeStyle = colours.states[state] ?? colours.muted;
    context.lineWidth = 1.4;
    context.beginPath();
    for (let at = x - high; at < x + wide; at += between) {
      context.moveTo(at, y + high);
      context.lineTo(at + high, y);
    }
    context.stroke();
  });
}

/** @type {Record<string, Path2D>} */
const paths = {};

/** @param {CanvasRenderingContext2D} context @param {Palette} colours @param {string} state
 * @param {number} x @param {number} y */
function paintSign(context, colours, state, x, y) {
  const colour = colours.states[state] ?? colours.muted;
  const size = 13;
  context.save();
  context.translate(x - size / 2, y - size / 2);
  context.scale(size / SIGN_SIZE, size / SIGN_SIZE);
  context.lineCap = "round";
  context.lineWidth = 1.8;
  for (const [kind, data] of SIGNS[state] ?? SIGNS.waiting) {
    const path = (paths[data] ??= new Path2D(data));
    if (kind === "disc" || kind === "core") {
      context.fillStyle = colour;
      context.fill(path);
    } else {
      context.strokeStyle = kind === "mark" ? colours.ground : colour;
      context.stroke(path);
    }
  }
  context.restore();
}

/** A name that fits: its beginning and its end, where the names of Steps differ.
 * @param {CanvasRenderingContext2D} context @param {string} name @param {number} room */
function shortened(context, name, room) {
  const text = clean(name);
  const whole = context.measureText(text).width;
  if (whole <= room) return text;
  const letters = [...text];
  for (let left = Math.floor((letters.length * room) / whole); left >= 2; left -= 1) {
    const tail = left >> 1;
    const cut = `${letters.slice(0, left - tail).join("")}…${letters.slice(-tail).join("")}`;
    if (context.measureText(cut).width <= room) return cut;
  }
  return "";
}

/** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {number} scale */
function grid(context, { lanes, colours, height, labels, from, to }, scale) {
  context.strokeStyle = colours.line;
  context.lineWidth = 1;
  context.beginPath();
  for (const { at } of lanes.axis.ticks(from, to, TICK / scale)) {
    const x = Math.round(labels + scale * (at - from)) + 0.5;
    context.moveTo(x, TOP);
    context.lineTo(x, height);
  }
  context.stroke();
  context.strokeStyle = colours.muted;
  context.setLineDash([2, 4]);
  context.beginPath();
  for (const { at } of lanes.axis.gaps()) {
    const x = Math.round(labels + scale * (at - from)) + 0.5;
    if (x < labels) continue;
    context.moveTo(x, TOP);
    context.lineTo(x, height);
  }
  context.stroke();
  context.setLineDash([]);
}

/** The words of the axis: times above, idle times below where there is room.
 * @param {CanvasRenderingContext2D} context @param {Scene} scene @param {number} scale */
function marks(context, { lanes, colours, width, height, labels, from, to }, scale) {
  context.font = `11.5px ${colours.font}`;
  context.fillStyle = colours.muted;
  context.textAlign = "center";
  for (const { at, text } of lanes.axis.ticks(from, to, TICK / scale)) {
    const x = labels + scale * (at - from);
    if (x < labels - 1) continue;
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(Math.max(x, half), width - half), TOP / 2);
  }
  const gaps = lanes.axis.gaps();
  if (gaps.length > 0) {
    context.fillStyle = colours.ground;
    context.fillRect(0, height - BOTTOM, width, BOTTOM);
    context.fillStyle = colours.muted;
    const words = gaps.map(({ at, seconds }) => {
      const text = `${duration(seconds)} idle`;
      return { text, x: labels + scale * (at - from), wide: context.measureText(text).width };
    });
    for (const { text, x } of apart(words, labels, width))
      context.fillText(text, x, height - BOTTOM / 2);
  }
  context.textAlign = "left";
}

/**
 * The words that don't overlap, each moved to where it is whole; the first ones win.
 * @template {{ x: number, wide: number }} Word
 * @param {Word[]} words
 * @param {number} left
 * @param {number} right
 * @returns {Word[]}
 */
export function apart(words, left, right) {
  let free = left;
  return words.filter(({ x }) => x >= left && x <= right).map((word) => (
    { ...word, x: Math.min(Math.max(word.x, left + word.wide / 2), right - word.wide / 2) }))
    .filter(({ x, wide }) => {
      if (x - wide / 2 < free) return false;
      free = x + wide / 2 + 10;
      return true;
    });
}

/** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {number[]} tops
 * @param {number} high */
function names(context, { lanes, colours, labels, top, height }, tops, high) {
  lanes.lanes.forEach((lane, index) => {
    const y = TOP + tops[index] - top;
    const tall = lane.rows.length * high;
    if (y + tall < TOP || y > height) return;
    const middle = y + tall / 2;
    const two = tall >= 24;
    context.font = `600 12px ${colours.font}`;
    context.fillStyle = colours.text;
    if (tall >= 12) context.fillText(shortened(context, lane.name, labels - 6), 2,
      two ? middle - 6.5 : middle);
    if (!two) return;
    context.font = `11px ${colours.font}`;
    context.fillStyle = colours.muted;
    context.fillText(lane.about, 2, middle + 7);
  });
}

/** A frame around the bar that is pointed at or has the keyboard.
 * @param {CanvasRenderingContext2D} context @param {Scene} scene @param {number} scale
 * @param {number[]} tops @param {number} high */
function ring(context, { current, colours, labels, from, top }, scale, tops, high) {
  if (current === null) return;
  const x = labels + scale * (current.left - from);
  const y = TOP + tops[current.lane] - top + current.row * high;
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  const wide = Math.max(scale * (current.right - current.left), 1);
  context.strokeRect(x - 2, y - 2, wide + 4, high + 1);
}
