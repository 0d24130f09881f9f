// @ts-check
// One stream of changes from the server: it reconnects until it is closed.

import { Refused, refusal, Unreachable } from "./api.js";

// The server says something every 15 s; this long without a word means that it is gone.
const SILENCE_MS = 40_000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000]; // Before each new try, in milliseconds.
// A hidden page looks this often instead of holding a connection: a browser has only a few.
const HIDDEN_POLL_MS = 15_000;

/**
 * The server's changes. `changed(news, whole)` is called with everything after connecting, then
 * with the changes: of all workflows, and of the Steps of those with the `names`. `linked(there,
 * why, status)` tells whether the server answers; `why` is null if there was no answer, and
 * `status` is a refusal's. After the end of a server whose root was removed, it says so until a
 * server answers again.
 */
export class Connection {
  #names;
  #on;
  #hidden;
  #closed = false;
  /** @type {AbortController | null} */
  #connection = null;
  /** @type {string | null} */
  #gone = null;
  #wake = () => {};

  /**
   * @param {string[]} names
   * @param {boolean} hidden
   * @param {ConnectionListener} on
   */
  constructor(names, hidden, on) {
    this.#names = names;
    this.#hidden = hidden;
    this.#on = on;
    this.#follow();
  }

  /** Try again now, where it waits before the next try. */
  retry() {
    this.#wake();
  }

  /** Let go of the connection while nobody looks. @param {boolean} hidden */
  hide(hidden) {
    if (hidden === this.#hidden) return;
    this.#hidden = hidden;
    if (hidden) this.#connection?.abort();
    else this.#wake();
  }

  close() {
    this.#closed = true;
    this.#connection?.abort();
    this.#wake();
  }

  async #follow() {
    let tries = 0;
    while (!this.#closed) {
      const hidden = this.#hidden;
      try {
        await this.#listen(hidden, () => { tries = 0; });
      } catch (error) {
        this.#lost(error);
      }
      if (this.#closed) return;
      await this.#pause(this.#hidden
        ? HIDDEN_POLL_MS : hidden ? 0 : RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
      tries += 1;
    }
  }

  /** @param {unknown} error */
  #lost(error) {
    const aborted = error instanceof Error && error.name === "AbortError";
    if (this.#closed || (aborted && this.#hidden)) return;
    if (error instanceof Refused && error.status < 500)
      this.#on.linked(false, error.message, error.status);
    else this.#on.linked(false, this.#gone, null);
  }

  /**
   * Hear the server until the connection ends, or, with `once`, until the first news.
   * @param {boolean} once
   * @param {() => void} heard
   */
  async #listen(once, heard) {
    const connection = new AbortController();
    this.#connection = connection;
    let watch = setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const query = new URLSearchParams(this.#names.map((name) => ["follow", name])).toString();
      const response = await fetch(`api/stream${query === "" ? "" : `?${query}`}`,
        { signal: connection.signal, headers: { accept: "text/event-stream" } });
      if (!response.ok) throw refusal(response.status, await response.text());
      if (response.body === null) throw new Unreachable();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      let whole = true;
      for (;;) {
        const { value, done } = await reader.read();
        clearTimeout(watch);
        if (done) throw new Unreachable();
        watch = setTimeout(() => connection.abort(), SILENCE_MS);
        const events = (text + value).split("\n\n");
        text = events.pop() ?? "";
        this.#gone =
          events.map((event) => parsed(event, "gone")).find((data) => data !== null) ?? null;
        const changes = events.map((event) => parsed(event, "changed"));
        for (const news of changes.filter((data) => data !== null)) {
          heard();
          this.#deliver(news, whole);
          whole = false;
          if (once) return;
        }
      }
    } finally {
      clearTimeout(watch);
      connection.abort();
    }
  }

  /**
   * Called later, since errors of the listener are none of the connection.
   * @param {any} news
   * @param {boolean} whole
   */
  #deliver(news, whole) {
    queueMicrotask(() => {
      if (this.#closed) return;
      this.#on.linked(true, null, null);
      this.#on.changed(news, whole);
    });
  }

  /** @param {number} milliseconds @returns {Promise<void>} */
  #pause(milliseconds) {
    return new Promise((resolve) => {
      const clock = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(clock);
        resolve();
      };
    });
  }
}

/**
 * The data of an event of this kind; null for others.
 * @param {string} event
 * @param {string} kind
 */
function parsed(event, kind) {
  const fields = event.split("\n").map((line) => line.match(/^(\w+): ?(.*)$/s))
    .filter((field) => field !== null);
  if (!fields.some(([, name, value]) => name === "event" && value === kind)) return null;
  return JSON.parse(fields.filter(([, name]) => name === "data")
    .map(([, , value]) => value).join("\n"));
}
