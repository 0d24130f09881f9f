// @ts-check
// A long text as the part of it that a browser lays out at once.

/**
 * The first lines of a text, each cut at a width; `more` says in words what is left out.
 * @param {string} text
 * @param {{ lines: number, width: number }} most
 */
export function sample(text, most) {
  const lines = [];
  let at = 0;
  while (at < text.length && lines.length < most.lines) {
    const found = text.indexOf("\n", at);
    const end = found < 0 ? text.length : found;
    lines.push(cut(text.slice(at, end), most.width));
    at = end + 1;
  }
  const left = text.length - at;
  const more = left > 0 ? `${left} more characters` : null;
  return { text: lines.join("\n"), more };
}

/**
 * A text of at most a width, which says how much it lacks.
 * @param {string} text @param {number} width
 */
export function cut(text, width) {
  if (text.length <= width) return text;
  // A character of two units stays whole.
  const end = /[\ud800-\udbff]/.test(text[width - 1]) ? width - 1 : width;
  return `${text.slice(0, end)} … ${text.length - end} more characters`;
}
