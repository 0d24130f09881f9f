// @ts-check
// Answers that are asked for again only when they can have changed, and not all the time.

const LEAST_PAUSE_MS = 1000;
const SHARE = 20; // The asking takes at most one part in so many of the time.

/**
 * Asks while what is wanted differs from what is held: at most one question at a time. After a
 * failure it asks again when something is wanted next.
 */
export class Refresher {
  /** @type {string | number | null} */
  #held = null;
  /** @type {string | number | null} */
  #wanted = null;
  #busy = false;
  #again = false; // wanted since the last question
  #closed = false;
  #waking = () => {};
  #ask;

  /**
   * @param {(wanted: string | number | null) => Promise<string | number | null>} ask takes the
   *     answer in; returns what is held then
   */
  constructor(ask) {
    this.#ask = ask;
  }

  /** @param {string | number | null} mark differs when the answer may; null: ask for nothing */
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
      const clock = setTimeout(resolve, milliseconds);
      this.#waking = () => {
        clearTimeout(clock);
        resolve();
      };
    });
  }
}
