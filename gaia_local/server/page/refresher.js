// @ts-check
// Answers that are asked for again only when they can have changed, and not all the time.

/** @typedef {string | number | null} Mark */
/**
 * @typedef {{ start(act: () => void, milliseconds: number): any, stop(timer: any): void }} Clock
 */

const LEAST_PAUSE_MS = 1000;
const SHARE = 20; // The asking takes at most one part in so many of the time.

/** @type {Clock} */
const TIMERS = {
  start: (act, milliseconds) => setTimeout(act, milliseconds),
  stop: (timer) => clearTimeout(timer),
};

/**
 * Asks while what is wanted differs from what is held: at most one question at a time. After a
 * failure it asks again when something is wanted next.
 */
export class Refresher {
  /** @type {Mark} */
  #held = null;
  /** @type {Mark} */
  #wanted = null;
  #busy = false;
  #again = false; // wanted since the last question
  #closed = false;
  #waking = () => {};
  #ask;
  #clock;

  /**
   * @param {(wanted: Mark) => Promise<Mark>} ask takes the
   *     answer in; returns what is held then, or null if there was no answer
   * @param {Clock} clock
   */
  constructor(ask, clock = TIMERS) {
    this.#ask = ask;
    this.#clock = clock;
  }

  /** @param {Mark} mark differs when the answer may; null: ask for nothing */
  want(mark) {
    this.#wanted = mark;
    this.#again = true;
    if (!this.#busy && !this.#closed && mark !== null && mark !== this.#held) this.#work();
  }

  close() {
    this.#closed = true;
    this.#waking();
  }

  async #work() {
    this.#busy = true;
    while (!this.#closed && this.#wanted !== null && this.#wanted !== this.#held) {
      this.#again = false;
      const began = performance.now();
      const held = await this.#ask(this.#wanted);
      const pause = Math.max(LEAST_PAUSE_MS, SHARE * (performance.now() - began));
      if (!this.#closed) await this.#pause(pause);
      if (held !== null) this.#held = held;
      else if (!this.#again) break;
    }
    this.#busy = false;
  }

  /** @param {number} milliseconds @returns {Promise<void>} */
  #pause(milliseconds) {
    return new Promise((resolve) => {
      const timer = this.#clock.start(resolve, milliseconds);
      this.#waking = () => {
        this.#clock.stop(timer);
        resolve();
      };
    });
  }
}
