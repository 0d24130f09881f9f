// @ts-check
// A sign for each state: colour is never the only hint.

import { svg } from "./dom.js";
import { SIGN_SIZE, SIGNS } from "./states.js";

/**
 * The sign of a state: an `svg` of `size` units, hidden from screen readers, who get the word.
 * @param {string} state
 * @param {number} [size]
 * @param {Record<string, any>} [place]
 * @returns {SVGElement}
 */
export function glyph(state, size = 16, place = {}) {
  const sign = svg("svg", {
    class: "glyph", viewBox: `0 0 ${SIGN_SIZE} ${SIGN_SIZE}`, "aria-hidden": "true",
    width: size, height: size, ...place,
  });
  draw(sign, state);
  return sign;
}

/**
 * Turn a sign into that of another state.
 * @param {SVGElement} sign
 * @param {string} state
 */
export function draw(sign, state) {
  if (sign.dataset.state === state) return;
  sign.dataset.state = state;
  const parts = SIGNS[state] ?? SIGNS.initialized;
  sign.replaceChildren(...parts.map(([kind, data]) => svg("path", { class: kind, d: data })));
}
