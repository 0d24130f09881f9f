// A sign for each state: colour is never the only hint.

import { svg } from "./dom.js";

const RING = ["circle", { class: "ring", cx: 8, cy: 8, r: 6 }];
const DISC = ["circle", { class: "disc", cx: 8, cy: 8, r: 7 }];
const stroke = (d) => ["path", { class: "mark", d }];
const ink = (d) => ["path", { class: "ink", d }];

const SIGNS = {
  complete: [DISC, stroke("M4.8 8.3 7 10.5 11.3 5.8")],
  error: [DISC, stroke("M5.4 5.4 10.6 10.6M10.6 5.4 5.4 10.6")],
  exception: [["path", { class: "disc", d: "M8 1.2 15.2 14H.8Z" }], stroke("M8 6V9.4M8 11.6V11.7")],
  running: [["circle", { class: "track", cx: 8, cy: 8, r: 6 }],
    ["path", { class: "turning", d: "M8 2A6 6 0 0 1 14 8" }],
    ["circle", { class: "core", cx: 8, cy: 8, r: 2.4 }]],
  queued: [RING, ink("M8 4.8V8.2L10.4 9.8")],
  ready: [RING, ["path", { class: "core", d: "M6.6 5.3 11 8 6.6 10.7Z" }]],
  waiting: [["circle", { class: "ring dashed", cx: 8, cy: 8, r: 6 }]],
  unfit: [DISC, stroke("M6 6.4A2 2 0 1 1 8 8.4V9.2M8 11.6V11.7")],
  halted: [DISC, stroke("M6.2 5.2V10.8M9.8 5.2V10.8")],
  incomplete: [RING, ["path", { class: "core", d: "M8 2A6 6 0 0 0 8 14Z" }]],
  initialized: [RING],
};

/** The sign of a state: an `svg` of `size` units, hidden from screen readers, who get the word. */
export function glyph(state, size = 16, place = {}) {
  const sign = svg("svg", {
    class: "glyph", viewBox: "0 0 16 16", "aria-hidden": "true",
    width: size, height: size, ...place,
  });
  draw(sign, state);
  return sign;
}

/** Turn a sign into that of another state. */
export function draw(sign, state) {
  if (sign.dataset.state === state) return;
  sign.dataset.state = state;
  const parts = SIGNS[state] ?? [RING];
  sign.replaceChildren(...parts.map(([tag, attributes]) => svg(tag, attributes)));
}
