// @ts-check
// One line of a log as an element.

import { html } from "./dom.js";
import { paint } from "./contrast.js";
import { marked } from "./matches.js";
import { bytes } from "./words.js";

const MOST_PARTS = 200; // A line of more parts than this is shown without the colours of the rest.
const FLAGS = /** @type {const} */ (["bold", "dim", "italic", "underline", "inverse"]);

/**
 * @param {number} number
 * @param {string} href the line's address
 * @param {import("./log-source.js").Line | null} line null: it isn't here yet
 * @param {{ text: string, matchCase: boolean, place: number | null }} search what to mark; `place`
 *   is the number of the match that the reader went to, in this line
 * @param {boolean} linked whether the address names this line
 */
export function lineElement(number, href, line, search, linked) {
  const spans = line === null ? [] : bounded(line.spans);
  const parts = search.text === "" ? spans.map((span) => ({ ...span, match: null }))
    : marked(spans, search.text, search.matchCase);
  return html("div", { class: linked ? "row linked" : "row" },
    html("a", {
      class: "number", href, tabindex: -1, "data-number": number, "aria-label": `Line ${number}`,
    }),
    html("span", { class: "text" },
      parts.map(({ text, style, match }) => {
        const inner = coloured(text, style);
        return match === null ? inner
          : html("mark", { class: match === search.place ? "now" : null }, inner);
      }),
      line !== null && line.more > 0
        ? html("span", { class: "more" }, ` … ${bytes(line.more)} more`) : null,
      "\n"));
}

/** @param {import("./ansi.js").Span[]} spans */
function bounded(spans) {
  if (spans.length <= MOST_PARTS) return spans;
  const rest = spans.slice(MOST_PARTS);
  const text = rest.map((span) => span.text).join("");
  return [...spans.slice(0, MOST_PARTS), { text, style: rest[0].style }];
}

/** @param {string} text @param {import("./ansi.js").Style} style */
function coloured(text, style) {
  const colours = paint(style);
  const names = FLAGS.filter((flag) => style[flag]);
  if (colours === null && names.length === 0) return text;
  const span = html("span", { class: [...names, colours && "coloured"].filter(Boolean).join(" ") },
    text);
  if (colours !== null) {
    span.style.setProperty("--on-light", colours.light);
    span.style.setProperty("--on-dark", colours.dark);
    if (colours.ground !== null) span.style.backgroundColor = colours.ground;
  }
  return span;
}
