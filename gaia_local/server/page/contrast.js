// @ts-check
// Colours of logs that can be read on the page's own ground, in light and in dark.

/** @typedef {[number, number, number]} Rgb red, green and blue, each from 0 to 255 */

/** The grounds of logs, `--sunken` in the style sheet. @type {Record<"light" | "dark", Rgb>} */
export const GROUNDS = { light: [238, 240, 243], dark: [34, 41, 52] };
/** What text has at least beside its ground, as the guidelines for accessible pages ask. */
export const LEAST = 4.5;

/** @type {Rgb} */
const BLACK = [0, 0, 0];
/** @type {Rgb} */
const WHITE = [255, 255, 255];

/** The sixteen named colours, as terminals have them. @type {Rgb[]} */
const NAMED = [
  [0, 0, 0], [205, 49, 49], [13, 158, 90], [178, 140, 0],
  [36, 114, 200], [188, 63, 188], [17, 150, 190], [190, 190, 190],
  [102, 102, 102], [241, 76, 76], [35, 190, 120], [220, 190, 40],
  [59, 142, 234], [214, 112, 214], [41, 184, 219], [255, 255, 255],
];
const STEPS = [0, 95, 135, 175, 215, 255];

/**
 * @param {number | string} colour a number of the 256, or `#rrggbb`
 * @returns {Rgb}
 */
export function rgb(colour) {
  if (typeof colour === "string") {
    const number = parseInt(colour.slice(1), 16);
    return [number >> 16, (number >> 8) & 255, number & 255];
  }
  if (colour < 16) return NAMED[colour];
  if (colour > 231) {
    const grey = 8 + 10 * (colour - 232);
    return [grey, grey, grey];
  }
  const place = colour - 16;
  return [STEPS[Math.floor(place / 36)], STEPS[Math.floor(place / 6) % 6], STEPS[place % 6]];
}

/**
 * The contrast of two colours, from 1 to 21.
 * @param {Rgb} one
 * @param {Rgb} other
 */
export function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/** @param {Rgb} colour */
function luminance(colour) {
  const [red, green, blue] = colour.map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/**
 * A colour as near to this one as can be read on a ground.
 * @param {Rgb} colour
 * @param {Rgb} ground
 * @returns {Rgb}
 */
export function readable(colour, ground) {
  const towards = contrast(BLACK, ground) > contrast(WHITE, ground) ? BLACK : WHITE;
  for (let part = 0; part < 1; part += 0.05) {
    const nearer = mix(colour, towards, part);
    if (contrast(nearer, ground) >= LEAST) return nearer;
  }
  return towards;
}

/**
 * @param {Rgb} colour
 * @param {Rgb} towards
 * @param {number} part
 * @returns {Rgb}
 */
function mix(colour, towards, part) {
  const [red, green, blue] =
    colour.map((value, index) => Math.round(value + (towards[index] - value) * part));
  return [red, green, blue];
}

/** @param {Rgb} colour @returns {string} as style sheets have it */
export function css(colour) {
  return `rgb(${colour.join(" ")})`;
}

/** @typedef {{ light: string, dark: string, ground: string | null }} Paint */
/** @type {Map<string, Paint>} */
const paints = new Map();
const MOST_PAINTS = 4096;

/**
 * The colours of text, in light and dark, and of its ground (null: the page's), as style sheets
 * have them; null if it has no colours. The text on a ground of its own is the same in both.
 * @param {import("./ansi.js").Style} style
 * @returns {Paint | null}
 */
export function paint({ fore, back, inverse }) {
  if (fore === null && back === null) return null;
  const key = `${fore} ${back} ${inverse}`;
  const known = paints.get(key);
  if (known !== undefined) return known;
  if (paints.size >= MOST_PAINTS) paints.clear(); // A log may have any number of colours.
  const made = mixed(inverse ? back : fore, inverse ? fore : back);
  paints.set(key, made);
  return made;
}

/**
 * @param {number | string | null} fore
 * @param {number | string | null} back
 * @returns {Paint}
 */
function mixed(fore, back) {
  if (back !== null) {
    const ground = rgb(back);
    const text = css(readable(fore === null ? ground : rgb(fore), ground));
    return { light: text, dark: text, ground: css(ground) };
  }
  const text = rgb(fore ?? 7);
  return {
    light: css(readable(text, GROUNDS.light)), dark: css(readable(text, GROUNDS.dark)),
    ground: null,
  };
}
