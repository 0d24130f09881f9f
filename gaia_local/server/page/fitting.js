// @ts-check
// The part of a picture that is seen: to fit a box, to reveal one, to enlarge around a point.

export const READABLE = 0.55; // Text is read at no smaller scale than this.
export const MAX_SCALE = 2.5;
export const MARGIN = 22;
const MIN_SCALE = 0.05;

/**
 * A box whole, in the middle of the room, no larger than life. With `least`, no smaller than that:
 * then what is larger than the room is shown from its beginning.
 * @param {Box} box @param {Size} room without margins @param {number} least @returns {Sight}
 */
export function fitted(box, room, least = 0) {
  const scale =
    Math.max(least, Math.min(1, room.width / box.width, room.height / box.height));
  const along = (
    /** @type {number} */ start, /** @type {number} */ size, /** @type {number} */ space,
  ) => MARGIN + Math.max(0, (space - size * scale) / 2) - start * scale;
  return {
    scale, x: along(box.x, box.width, room.width), y: along(box.y, box.height, room.height),
  };
}

/**
 * The first sight of a picture: all of it, or, where that is too small to read, the parts that
 * matter (none: all after all), or the first of them where they are too far apart.
 * @param {Size} picture @param {Box[]} parts @param {Size} room @returns {Sight}
 */
export function first(picture, parts, room) {
  const whole = fitted({ x: 0, y: 0, ...picture }, room);
  if (whole.scale >= READABLE || parts.length === 0) return whole;
  const all = around(parts);
  const wide = all.width * READABLE <= room.width && all.height * READABLE <= room.height;
  const least = { x: 0, y: 0, ...picture };
  if (wide) return within(centred(all, room, fitted(all, room).scale), least, room);
  const [one] = [...parts].sort((a, b) => a.y - b.y || a.x - b.x);
  return within(centred(one, room, 0.8), least, room);
}

/** The box around boxes. @param {Box[]} boxes @returns {Box} */
export function around(boxes) {
  const x = Math.min(...boxes.map((box) => box.x));
  const y = Math.min(...boxes.map((box) => box.y));
  return {
    x, y, width: Math.max(...boxes.map((box) => box.x + box.width)) - x,
    height: Math.max(...boxes.map((box) => box.y + box.height)) - y,
  };
}

/** A box in the middle. @param {Box} box @param {Size} room @param {number} scale
 * @returns {Sight} */
export function centred(box, room, scale) {
  return {
    scale,
    x: MARGIN + room.width / 2 - (box.x + box.width / 2) * scale,
    y: MARGIN + room.height / 2 - (box.y + box.height / 2) * scale,
  };
}

/** The same scale, without more empty room at a side than there must be.
 * @param {Sight} sight @param {Box} box @param {Size} room @returns {Sight} */
function within({ x, y, scale }, box, room) {
  const along = (
    /** @type {number} */ at, /** @type {number} */ size, /** @type {number} */ space,
  ) => (size * scale <= space ? MARGIN + (space - size * scale) / 2
    : Math.min(MARGIN, Math.max(MARGIN + space - size * scale, at)));
  return { scale, x: along(x, box.width, room.width), y: along(y, box.height, room.height) };
}

/**
 * Moved as little as it takes to have a box between the margins; of one too large, its beginning.
 * @param {Sight} sight @param {Box} box @param {Size} room @returns {Sight}
 */
export function revealed({ x, y, scale }, box, room) {
  const shift = (
    /** @type {number} */ start, /** @type {number} */ size, /** @type {number} */ space,
  ) => (start < MARGIN || size > space ? MARGIN - start
    : Math.min(0, MARGIN + space - (start + size)));
  return {
    scale,
    x: x + shift(box.x * scale + x, box.width * scale, room.width),
    y: y + shift(box.y * scale + y, box.height * scale, room.height),
  };
}

/**
 * Larger or smaller around a point; as small as the whole picture needs it, if that is smaller than
 * the least scale else.
 * @param {Sight} sight @param {number} factor @param {Point} point @param {number} whole
 * @returns {Sight}
 */
export function zoomed(sight, factor, point, whole) {
  const least = Math.min(MIN_SCALE, whole);
  const scale = Math.max(least, Math.min(MAX_SCALE, sight.scale * factor));
  const by = scale / sight.scale;
  return { scale, x: point.x - (point.x - sight.x) * by, y: point.y - (point.y - sight.y) * by };
}

/** The part of a picture that a window of this size shows.
 * @param {Sight} sight @param {Size} size @returns {Box} */
export function seen({ x, y, scale }, { width, height }) {
  return { x: -x / scale, y: -y / scale, width: width / scale, height: height / scale };
}

/** Whether two boxes have a point in common. @param {Box} one @param {Box} other */
export function touches(one, other) {
  return one.x <= other.x + other.width && other.x <= one.x + one.width
    && one.y <= other.y + other.height && other.y <= one.y + one.height;
}

/** Whether a picture is in sight as a whole. @param {Box} sight @param {Size} picture */
export function shows(sight, { width, height }) {
  return sight.x <= 0 && sight.y <= 0
    && sight.x + sight.width >= width && sight.y + sight.height >= height;
}
