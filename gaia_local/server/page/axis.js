// @ts-check
// The axis of a timeline: times as places on it, in seconds, without long times of nothing.

// An idle time longer than this share of the busy time is cut out, and then takes a share of it.
const IDLE = 0.2;
const CUT = 0.03;
const STEPS = [-4, -3, -2, -1, 0].flatMap((power) => [1, 2, 5].map((base) => base * 10 ** power))
  .concat(10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
    604800, 2592000, 7776000);
const DAY = 86400;

export class Axis {
  /** The times shown, each with its place. @type {{ start: number, end: number, at: number }[]} */
  segments = [];
  /** The times shown, in all. */
  busy = 0;
  /** The length of the axis: `busy` and the gaps. */
  whole = 1;
  #gap = 0;

  /**
   * Of what ran from a time until another, in order of the first.
   * @param {Iterable<[number, number]>} spans
   */
  constructor(spans) {
    /** @type {[number, number][]} */
    const runs = [];
    for (const [start, end] of spans) {
      const last = runs.at(-1);
      if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
      else runs.push([start, end]);
    }
    const worked = runs.reduce((sum, [start, end]) => sum + end - start, 0);
    for (const [start, end] of runs) {
      const last = this.segments.at(-1);
      if (last !== undefined && start - last.end <= Math.max(IDLE * worked, 1e-3)) last.end = end;
      else this.segments.push({ start, end, at: 0 });
    }
    this.busy = this.segments.reduce((sum, { start, end }) => sum + end - start, 0);
    this.#gap = CUT * (this.busy || 1);
    let at = 0;
    for (const segment of this.segments) {
      segment.at = at;
      at += segment.end - segment.start + this.#gap;
    }
    if (this.segments.length > 0) this.whole = at - this.#gap || 1;
  }

  /** The place of a time. @param {number} time */
  place(time) {
    let [low, high] = [0, this.segments.length - 1];
    if (high < 0) return 0;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (time <= this.segments[middle].end) high = middle;
      else low = middle + 1;
    }
    const { start, end, at } = this.segments[low];
    return at + Math.min(Math.max(time, start), end) - start;
  }

  /** The idle times that are cut out: the middle of each, and how long it was. */
  gaps() {
    return this.segments.slice(1).map(({ start, at }, index) => (
      { at: at - this.#gap / 2, width: this.#gap, seconds: start - this.segments[index].end }));
  }

  /**
   * Marks at round times of the reader's clock between two places, at least `least` apart.
   * @param {number} from
   * @param {number} to
   * @param {number} least
   */
  ticks(from, to, least) {
    if (!this.busy) return [];
    const step = STEPS.find((seconds) => seconds >= least) ?? STEPS[STEPS.length - 1];
    /** @type {{ at: number, text: string }[]} */
    const found = [];
    let free = -Infinity;
    for (const { start, end, at } of this.segments) {
      if (at > to || at + end - start < from) continue;
      const zone = -60 * new Date(1000 * start).getTimezoneOffset();
      const first = Math.ceil((Math.max(start, start + from - at) + zone) / step - 1e-9);
      const last = Math.floor((Math.min(end, start + to - at) + zone) / step + 1e-9);
      for (let number = first; number <= last; number += 1) {
        const time = number * step - zone;
        const place = at + time - start;
        if (place - free < 0.9 * least) continue;
        found.push({ at: place, text: clock(time, step) });
        free = place;
      }
    }
    return found;
  }
}

/** @param {number} time @param {number} step */
function clock(time, step) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  const shown = new Date(Math.round(1e4 * time) / 10);
  /** @param {number} number */
  const two = (number) => String(number).padStart(2, "0");
  const day = `${two(shown.getMonth() + 1)}-${two(shown.getDate())}`;
  if (step >= DAY) return `${shown.getFullYear()}-${day}`;
  const minute = `${two(shown.getHours())}:${two(shown.getMinutes())}`;
  if (step >= DAY / 4) return `${day} ${minute}`;
  if (step >= 60) return minute;
  const part = digits ? (((time % 1) + 1) % 1).toFixed(digits).slice(1) : "";
  return `${minute}:${two(shown.getSeconds())}${part}`;
}
