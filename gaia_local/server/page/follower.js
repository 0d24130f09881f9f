// @ts-check
// A tab's end of the stream of changes: through the worker that all tabs share, where there is one.

import { Hub } from "./hub.js";

/** Follows one workflow, or the list alone, for as long as the page is there. */
export class Follower {
  /** @type {MessagePort} */
  #port;
  /** @type {string | null} */
  #name = null;
  #take;

  /** @param {(news: News) => void} take is called with all news for the store */
  constructor(take) {
    this.#take = take;
    this.#port = this.#shared() ?? this.#own();
    addEventListener("online", () => this.retry());
    addEventListener("pagehide", () => this.#port.postMessage({ kind: "bye" }));
    addEventListener("pageshow", (event) => {
      if (/** @type {PageTransitionEvent} */ (event).persisted) this.#reopen();
    });
    document.addEventListener("visibilitychange", () => this.#say());
  }

  /** @param {string | null} name */
  follow(name) {
    this.#name = name;
    this.#say();
  }

  /** Try again now, where it waits before the next try. */
  retry() {
    this.#port.postMessage({ kind: "retry" });
  }

  #say() {
    this.#port.postMessage({ kind: "follow", name: this.#name, hidden: document.hidden });
  }

  /** The tab comes back from the browser's memory, where it had said goodbye. */
  #reopen() {
    this.#port = this.#shared() ?? this.#own();
    this.#say();
  }

  #shared() {
    if (typeof SharedWorker === "undefined") return null;
    const url = new URL("./stream-worker.js", import.meta.url);
    const worker = new SharedWorker(url, { type: "module", name: "gaia-local" });
    worker.onerror = () => { // for example a browser without modules in workers
      this.#port = this.#own();
      this.#say();
    };
    return this.#listen(worker.port);
  }

  #own() {
    const { port1, port2 } = new MessageChannel();
    new Hub().add(port1);
    return this.#listen(port2);
  }

  /** @param {MessagePort} port */
  #listen(port) {
    port.onmessage = ({ data }) => this.#take(data);
    return port;
  }
}
