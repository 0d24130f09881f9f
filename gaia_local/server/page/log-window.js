// @ts-check
// Where a log of any length stands in a scroll bar of limited length.

/** Browsers draw no element that is much higher, in pixels. */
export const MOST_HEIGHT = 8_000_000;

/**
 * The height of the element whose scroll bar stands for all lines.
 * @param {number} lines
 * @param {number} rowHeight pixels of a line
 */
export function height(lines, rowHeight) {
  return Math.min(lines * rowHeight, MOST_HEIGHT);
}

/**
 * The scroll bar's place for a place in the log, both in pixels: the same number where that is
 * possible, and near the beginning and, from below, near the end; between these in proportion.
 * @param {number} place from 0 to `longest`
 * @param {number} longest the last place in the log
 * @param {number} room the last place of the scroll bar
 */
export function toBar(place, longest, room) {
  if (longest <= 0 || room <= 0) return 0;
  const inside = clamp(place, 0, longest);
  if (longest <= room) return longest - inside < inside ? room - (longest - inside) : inside;
  const zone = room / 4;
  if (inside <= zone) return inside;
  if (longest - inside <= zone) return room - (longest - inside);
  return zone + ((inside - zone) * (room - 2 * zone)) / (longest - 2 * zone);
}

/**
 * The inverse of `toBar`.
 * @param {number} bar
 * @param {number} longest
 * @param {number} room
 */
export function fromBar(bar, longest, room) {
  if (longest <= 0 || room <= 0) return 0;
  const inside = clamp(bar, 0, room);
  if (longest <= room) return (inside * longest) / room;
  const zone = room / 4;
  if (inside <= zone) return inside;
  if (room - inside <= zone) return longest - (room - inside);
  return zone + ((inside - zone) * (longest - 2 * zone)) / (room - 2 * zone);
}

/**
 * The lines to have as elements, numbered from 1 on: those in sight, and some around them.
 * @param {number} top the line at the top
 * @param {number} inSight
 * @param {number} margin
 * @param {number} lines all there are
 * @returns {[number, number]} the first and the last; the last is smaller if there are none
 */
export function around(top, inSight, margin, lines) {
  return [Math.max(1, Math.min(top, lines) - margin), Math.min(lines, top + inSight + margin)];
}

/**
 * The first of some ascending places that is behind `place`, minus one: the element at a place.
 * @param {number} count
 * @param {(index: number) => number} placeOf
 * @param {number} place
 */
export function elementAt(count, placeOf, place) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (placeOf(middle) <= place) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
export function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
