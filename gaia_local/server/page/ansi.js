// @ts-check
// Lines of a log as a terminal would leave them: text with colours, after all that wrote over it.
// Other escape sequences (titles, links, moves of the cursor) are dropped, and never acted upon.

import { plain } from "./dom.js";

/**
 * How text looks; a colour is a number of the 256, or `#rrggbb`, and null is the page's own.
 * @typedef {{
 *   fore: number | string | null, back: number | string | null, bold: boolean, dim: boolean,
 *   italic: boolean, underline: boolean, inverse: boolean,
 * }} Style
 * @typedef {{ text: string, style: Style }} Span
 */

/** @type {Style} */
export const PLAIN = Object.freeze({
  fore: null, back: null, bold: false, dim: false, italic: false, underline: false, inverse: false,
});

// A sequence ends in its line, or it is none, so that nothing is hidden behind an unfinished one.
// In this order: CSI; OSC, DCS and other strings up to their terminator; the other escapes.
const SEQUENCE = new RegExp([
  "(?:\\x1b\\[|\\x9b)([0-?]*)[ -/]*([@-~])",
  "(?:\\x1b[\\]PX^_]|[\\x90\\x98\\x9d-\\x9f])"
    + "[^\\x07\\x1b\\x90\\x98\\x9c-\\x9f]*(?:\\x07|\\x1b\\\\|\\x9c)",
  "\\x1b(?:[ -/]+[0-~]|[0-~]?)",
  "[\\r\\b]",
].join("|"), "g");
const OTHER_CONTROLS = /[\0-\x08\x0b-\x1f\x7f-\x9f]/g;
const SPECIAL = /[\0-\x08\x0b-\x1f\x7f-\x9f]/;

/**
 * The visible text of one line (without its newline), and the style that holds after it.
 * @param {string} line
 * @param {Style} style the style that holds before it
 * @returns {{ spans: Span[], style: Style }}
 */
export function render(line, style = PLAIN) {
  // The carriage return of a Windows line's end writes nothing over.
  const text = line.replace(/\r+$/, "");
  if (!SPECIAL.test(text))
    return { spans: text === "" ? [] : [{ text: plain(text), style }], style };
  const screen = new Screen();
  let now = style;
  let at = 0;
  for (const found of text.matchAll(SEQUENCE)) {
    screen.write(text.slice(at, found.index), now);
    at = found.index + found[0].length;
    if (found[0] === "\r") screen.column = 0;
    else if (found[0] === "\b") screen.column = Math.max(0, screen.column - 1);
    else if (found[2] === "m") now = styled(now, found[1]);
    else if (found[2] === "K") screen.erase(found[1]);
  }
  screen.write(text.slice(at), now);
  return { spans: screen.spans(), style: now };
}

/** @param {string} sequences @returns {Style} the style after some sequences alone */
export function after(sequences) {
  return render(sequences).style;
}

/** One line of a terminal, endlessly wide: a character and its style in each column. */
class Screen {
  column = 0;
  /** @type {string[]} */
  #characters = [];
  /** @type {Style[]} */
  #styles = [];

  /** @param {string} text @param {Style} style */
  write(text, style) {
    for (const character of text.replace(OTHER_CONTROLS, "")) {
      this.#characters[this.column] = character;
      this.#styles[this.column] = style;
      this.column += 1;
    }
  }

  /** @param {string} what of the line: 1, up to the cursor; 2, all; else what follows */
  erase(what) {
    if (what === "1" || what === "2") {
      const end = Math.min(this.column, this.#characters.length);
      this.#characters.fill(" ", 0, end);
      this.#styles.fill(PLAIN, 0, end);
    }
    if (what !== "1") {
      const end = Math.min(this.column, this.#characters.length);
      this.#characters.length = end;
      this.#styles.length = end;
    }
  }

  /** @returns {Span[]} */
  spans() {
    /** @type {Span[]} */
    const spans = [];
    for (let column = 0; column < this.#characters.length; column += 1) {
      const character = this.#characters[column] ?? " ";
      const style = this.#styles[column] ?? PLAIN;
      const last = spans.at(-1);
      if (last?.style === style) last.text += character;
      else spans.push({ text: character, style });
    }
    return spans.map((span) => ({ text: plain(span.text), style: span.style }));
  }
}

/** @type {Record<number, Partial<Style>>} */
const CODES = {
  1: { bold: true }, 2: { dim: true }, 3: { italic: true }, 4: { underline: true },
  7: { inverse: true }, 21: { underline: true }, 22: { bold: false, dim: false },
  23: { italic: false }, 24: { underline: false }, 27: { inverse: false },
  39: { fore: null }, 49: { back: null },
};

/**
 * @param {Style} before
 * @param {string} parameters those of a sequence that ends in `m`
 * @returns {Style}
 */
function styled(before, parameters) {
  let style = before;
  const codes = parameters.split(";");
  for (let index = 0; index < codes.length; index += 1) {
    const parts = codes[index].split(":");
    const code = Number(parts[0]);
    if (code === 0) style = PLAIN;
    else if (code === 38 || code === 48) {
      // `38:2::R:G:B` is one parameter; `38;2;R;G;B` are five.
      const own = parts.length > 1;
      const [kind, ...rest] = own ? parts.slice(1) : codes.slice(index + 1, index + 5);
      const given = own && kind === "2" && rest.length > 3 ? rest.slice(1) : rest;
      const found = colour(kind, given.map(Number));
      if (!own) index += kind === "2" ? 4 : kind === "5" ? 2 : 1;
      if (found !== null) style = { ...style, [code === 38 ? "fore" : "back"]: found };
    } else if (code === 4 && parts[1] === "0") style = { ...style, underline: false };
    else if (Object.hasOwn(CODES, code)) style = { ...style, ...CODES[code] };
    else if (code >= 30 && code < 38) style = { ...style, fore: code - 30 };
    else if (code >= 40 && code < 48) style = { ...style, back: code - 40 };
    else if (code >= 90 && code < 98) style = { ...style, fore: code - 82 };
    else if (code >= 100 && code < 108) style = { ...style, back: code - 92 };
  }
  return style;
}

/**
 * @param {string | undefined} kind
 * @param {number[]} values
 * @returns {number | string | null} null if they are no colour
 */
function colour(kind, values) {
  const wanted = kind === "2" ? 3 : 1;
  const given = values.slice(0, wanted);
  const right = given.length === wanted
    && given.every((value) => Number.isInteger(value) && value >= 0 && value < 256);
  if (!right) return null;
  if (kind === "5") return given[0];
  if (kind !== "2") return null;
  return `#${given.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
