// @ts-check
// The width of texts, and shortening to a width.

const canvas = /** @type {CanvasRenderingContext2D} */ (
  document.createElement("canvas").getContext("2d"));
/** @type {Map<string, number>} */
const widths = new Map();

/**
 * The width of a text in a font, as CSS writes fonts.
 * @param {string} text @param {string} font @returns {number}
 */
export function width(text, font) {
  const id = `${font}\n${text}`;
  const known = widths.get(id);
  if (known !== undefined) return known;
  if (widths.size > 20_000) widths.clear();
  canvas.font = font;
  const found = canvas.measureText(text).width;
  widths.set(id, found);
  return found;
}

/**
 * A text that is too wide without its middle: the ends of names tell them apart.
 * @param {string} text @param {string} font @param {number} room
 */
export function shortened(text, font, room) {
  if (width(text, font) <= room) return text;
  const letters = Array.from(text);
  const cut = (/** @type {number} */ kept) => {
    const head = Math.floor(kept * 0.45);
    const tail = letters.slice(letters.length - (kept - head));
    return `${letters.slice(0, head).join("")}…${tail.join("")}`;
  };
  let [least, most] = [1, letters.length - 1];
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (width(cut(middle), font) <= room) least = middle;
    else most = middle - 1;
  }
  return cut(least);
}
