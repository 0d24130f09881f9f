// @ts-check
// The lines of one attempt's log, fetched where they are wanted, and followed while it grows.

import { after, render } from "./ansi.js";
import { ask, path, Refused, why } from "./api.js";

/**
 * A line of a log: how it looks, and the bytes of it that were left out.
 * @typedef {{ spans: import("./ansi.js").Span[], more: number }} Line
 */

const CHUNK = 200; // Lines that are fetched and kept together.
const MOST_CHARACTERS = 4_000_000; // About so much of the log is kept.
const POLL_MS = 600; // Milliseconds between two looks at a log that grows.

/** @typedef {{ lines: Line[], complete: boolean, characters: number }} Chunk */

export class LogSource {
  lines = 0;
  size = 0;
  over = false;
  #workflow;
  #step;
  #task;
  #latest;
  #told;
  #closed = new AbortController();
  /** @type {Map<number, Chunk>} */
  #chunks = new Map();
  #characters = 0;
  #fetching = false;
  /** @type {[number, number]} */
  #wanted = [1, 0];

  /**
   * @param {string} workflow
   * @param {string} step
   * @param {string | null} task an attempt; null: the latest, also if the Step runs again
   * @param {{ changed(): void, replaced(): void, problem(text: string | null): void }} told
   *   `replaced`: it ran again, with a log of its own; `problem`: it can't be read, or can again
   */
  constructor(workflow, step, task, told) {
    this.#workflow = workflow;
    this.#step = step;
    this.#task = task;
    this.#latest = task === null;
    this.#told = told;
    this.#follow();
  }

  /** The attempt; null as long as there is none. */
  get task() { return this.#task; }

  close() {
    this.#closed.abort();
  }

  /** @param {number} line @returns {Line | null} null: it isn't here yet */
  line(line) {
    return this.#chunks.get(chunkOf(line))?.lines[(line - 1) % CHUNK] ?? null;
  }

  /** Have these lines, soon. @param {number} first @param {number} last */
  want(first, last) {
    this.#wanted = [first, last];
    this.#fetch();
  }

  /** @param {Record<string, string | number>} parameters of a search */
  search(parameters) {
    return ask(path("workflows", this.#workflow, "log", "search"),
      { ...this.#named(), ...parameters });
  }

  /** The address of the whole as a file. */
  file() {
    return `${path("workflows", this.#workflow, "log", "file")}?${new URLSearchParams(
      this.#named())}`;
  }

  /** @returns {Record<string, string>} */
  #named() {
    return this.#task === null ? { step: this.#step } : { step: this.#step, task: this.#task };
  }

  async #follow() {
    const signal = this.#closed.signal;
    while (!signal.aborted) {
      try {
        const asked = this.#latest ? { step: this.#step } : this.#named();
        const answer = await this.#ask({ ...asked, count: 0 });
        if (signal.aborted) return;
        if (this.#task !== null && answer.task !== this.#task) {
          this.#told.replaced();
          return;
        }
        this.#told.problem(null);
        this.#task = answer.task;
        this.#take(answer);
        if (answer.over) return;
        await pause(POLL_MS, signal);
      } catch (error) {
        const reason = why(error);
        if (signal.aborted) return;
        this.#told.problem(reason);
        if (error instanceof Refused && error.status === 404) return;
        await pause(4 * POLL_MS, signal);
      }
    }
  }

  /** @param {Record<string, string | number>} parameters */
  #ask(parameters) {
    return ask(path("workflows", this.#workflow, "log", "lines"), parameters);
  }

  /** @param {{ lines: number, size: number, over: boolean }} answer */
  #take(answer) {
    const last = this.#chunks.get(chunkOf(this.lines));
    if (answer.size > this.size && last !== undefined) last.complete = false;
    const same = answer.size === this.size && answer.over === this.over;
    const begun = this.lines > 0 || answer.lines > 0;
    if (answer.size < this.size || (same && begun)) return;
    this.lines = answer.lines;
    this.size = answer.size;
    this.over = answer.over;
    this.#told.changed();
    this.#fetch();
  }

  async #fetch() {
    if (this.#fetching) return;
    this.#fetching = true;
    try {
      for (let chunk = this.#missing(); chunk !== null; chunk = this.#missing()) {
        await this.#fetchChunk(chunk);
        if (this.#closed.signal.aborted) return;
      }
    } finally {
      this.#fetching = false;
    }
  }

  /** A chunk that is wanted, and isn't here or has grown; null if there is none. */
  #missing() {
    const last = Math.min(this.#wanted[1], this.lines);
    for (let chunk = chunkOf(this.#wanted[0]); chunk <= chunkOf(last) && last > 0; chunk += 1)
      if (!this.#chunks.get(chunk)?.complete) return chunk;
    return null;
  }

  /** @param {number} chunk */
  async #fetchChunk(chunk) {
    const first = chunk * CHUNK + 1;
    /** @type {Line[]} */
    const lines = [];
    let characters = 0;
    const [known, size] = [this.lines, this.size];
    const end = Math.min(first + CHUNK, known + 1);
    while (first + lines.length < end) {
      let answer;
      try {
        answer = await this.#ask(
          { ...this.#named(), line: first + lines.length, count: end - first - lines.length });
      } catch (error) {
        const reason = why(error);
        if (this.#closed.signal.aborted) return;
        this.#told.problem(reason);
        await pause(4 * POLL_MS, this.#closed.signal);
        if (this.#closed.signal.aborted) return;
        continue;
      }
      if (this.#closed.signal.aborted) return;
      this.#told.problem(null);
      let style = after(answer.style);
      for (const { text, more } of answer.rows) {
        const rendered = render(text, style);
        style = rendered.style;
        lines.push({ spans: rendered.spans, more });
        characters += text.length;
      }
      if (answer.rows.length === 0) break; // It was cut.
    }
    const complete = known >= first + CHUNK || this.size === size;
    this.#keep(chunk, { lines, complete, characters });
    this.#told.changed();
  }

  /** @param {number} number @param {Chunk} chunk */
  #keep(number, chunk) {
    this.#characters += chunk.characters - (this.#chunks.get(number)?.characters ?? 0);
    this.#chunks.delete(number);
    this.#chunks.set(number, chunk);
    for (const [other, { characters }] of this.#chunks) {
      if (this.#characters <= MOST_CHARACTERS) break;
      if (other >= chunkOf(this.#wanted[0]) && other <= chunkOf(this.#wanted[1])) continue;
      this.#chunks.delete(other);
      this.#characters -= characters;
    }
  }
}

/** The end of the latest attempt's log as plain text.
 * @param {string} workflow
 * @param {string} step
 * @param {number} count the most lines
 * @returns {Promise<string>}
 */
export async function lastLines(workflow, step, count) {
  const answer = await ask(path("workflows", workflow, "log", "lines"), { step, last: count });
  const rows = /** @type {{ text: string }[]} */ (answer.rows);
  return rows.map(({ text }) => render(text).spans.map((span) => span.text).join("")).join("\n");
}

/** @param {number} line */
function chunkOf(line) {
  return Math.floor((line - 1) / CHUNK);
}

/** @param {number} milliseconds @param {AbortSignal} signal @returns {Promise<void>} */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const ended = () => {
      clearTimeout(clock);
      signal.removeEventListener("abort", ended);
      resolve();
    };
    const clock = setTimeout(ended, milliseconds);
    signal.addEventListener("abort", ended);
  });
}
