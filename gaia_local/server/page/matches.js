// @ts-check
// The matches of a search: how many there are, which of them is where, and where in a line.

/** @typedef {import("./ansi.js").Span} Span */
/** @typedef {{ from: number, count: number }} Step a part of the log, and its number of matches */

/** The server lists so many matches at once. */
export const LISTED = 1000;

/** What the steps of a search have found so far. */
export class Tally {
  total = 0;
  /** @type {Step[]} */
  #steps = [];

  /** @param {number} from the byte at which a step began @param {number} count */
  add(from, count) {
    if (count > 0) this.#steps.push({ from, count });
    this.total += count;
  }

  /**
   * Which list of the server's has a match, and the match's place in that list.
   * @param {number} match from 0 on
   * @returns {{ from: number, skip: number, place: number }}
   */
  locate(match) {
    let rest = match;
    for (const { from, count } of this.#steps) {
      if (rest < count) {
        const place = rest % LISTED;
        return { from, skip: rest - place, place };
      }
      rest -= count;
    }
    throw new RangeError(`there is no match ${match} of ${this.total}`);
  }
}

/**
 * How many matches before this one are in the same line.
 * @param {[number, number][]} listed line and byte of each
 * @param {number} place
 */
export function placeInLine(listed, place) {
  let before = 0;
  while (before < place && listed[place - before - 1][0] === listed[place][0]) before += 1;
  return before;
}

/** As the server does: only A to Z are also a to z. @param {string} text */
function lower(text) {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * A line's text in parts that are, or aren't, in a match.
 * @param {Span[]} spans
 * @param {string} text what is searched for
 * @param {boolean} matchCase
 * @param {number} most so many matches are marked
 * @returns {{ text: string, style: import("./ansi.js").Style, match: number | null }[]}
 */
export function marked(spans, text, matchCase, most = 200) {
  const prepared = matchCase ? (/** @type {string} */ each) => each : lower;
  const whole = prepared(spans.map((span) => span.text).join(""));
  const wanted = prepared(text);
  const parts = [];
  let at = 0;
  let match = 0;
  let next = whole.indexOf(wanted);
  for (const span of spans) {
    const end = at + span.text.length;
    let from = at;
    while (from < end) {
      const inside = next >= 0 && match < most && from >= next;
      const stop = next < 0 || match >= most ? end
        : Math.min(end, inside ? next + wanted.length : next);
      parts.push({
        text: span.text.slice(from - at, stop - at), style: span.style,
        match: inside ? match : null,
      });
      from = stop;
      if (inside && from === next + wanted.length) {
        next = whole.indexOf(wanted, from);
        match += 1;
      }
    }
    at = end;
  }
  return parts;
}
