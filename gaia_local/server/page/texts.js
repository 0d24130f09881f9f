// The width of texts, and shortening to a width.

const canvas = document.createElement("canvas").getContext("2d");
const widths = new Map();

/** The width of a text in a font, as CSS writes fonts. */
export function width(text, font) {
  const id = `${font}\n${text}`;
  if (!widths.has(id)) {
    if (widths.size > 20_000) widths.clear();
    canvas.font = font;
    widths.set(id, canvas.measureText(text).width);
  }
  return widths.get(id);
}

/** A text that is too wide without its middle: the ends of names tell them apart. */
export function shortened(text, font, room) {
  if (width(text, font) <= room) return text;
  const letters = Array.from(text);
  const cut = (kept) => {
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
