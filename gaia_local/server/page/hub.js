// @ts-check
// One connection to the server for all tabs: what each follows, and who hears which news.

import { ask, path, Refused, why } from "./api.js";
import { Connection } from "./connection.js";

/**
 * Each tab has a port. It says `{kind: "follow", name, hidden}` (name: a workflow, or null for the
 * list alone), again whenever that changes; `retry` and `bye`. It hears news for the store.
 *
 * The connection follows exactly what the tabs follow, without the names that the server refused;
 * it is let go while all tabs are hidden. What was heard is kept, so that a tab that comes later
 * gets everything at once.
 */
export class Hub {
  /** @type {Map<MessagePort, { name: string | null, hidden: boolean }>} */
  #tabs = new Map();
  /** @type {ReturnType<ConnectionMaker> | null} */
  #connection = null;
  /** @type {string | null} */
  #following = null;
  /** @type {{ workflows: Map<string, any>, followed: Map<string, Followed> } | null} */
  #held = null;
  /** @type {LinkNews | null} */
  #link = null;
  /** @type {Map<string, string>} */
  #refused = new Map();
  #connect;
  #exists;

  /**
   * @param {ConnectionMaker} connect
   * @param {(name: string) => Promise<unknown>} exists asks for a workflow
   */
  constructor(
    connect = (names, hidden, on) => new Connection(names, hidden, on),
    exists = (name) => ask(path("workflows", name)),
  ) {
    this.#connect = connect;
    this.#exists = exists;
  }

  /** @param {MessagePort} port */
  add(port) {
    port.onmessage = ({ data }) => this.#told(port, data);
  }

  /** @param {MessagePort} port @param {any} message */
  #told(port, { kind, name, hidden }) {
    if (kind === "retry") {
      this.#connection?.retry();
    } else if (kind === "bye") {
      this.#tabs.delete(port);
      port.close();
      this.#settle();
    } else {
      const before = this.#tabs.get(port);
      this.#tabs.set(port, { name, hidden });
      if (before === undefined && this.#link !== null) port.postMessage(this.#link);
      if (name !== null && before?.name !== name) this.#refused.delete(name);
      if (!this.#settle() && (before === undefined || before.name !== name)) this.#welcome(port);
    }
  }

  /** Connect anew if other workflows are followed now; returns whether it did. */
  #settle() {
    const tabs = [...this.#tabs.values()];
    const hidden = tabs.every((tab) => tab.hidden);
    const names = [...new Set(tabs.map((tab) => tab.name))]
      .filter((name) => name !== null && !this.#refused.has(name)).sort();
    const following = tabs.length === 0 ? null : JSON.stringify(names);
    if (following === this.#following) {
      this.#connection?.hide(hidden);
      return false;
    }
    this.#following = following;
    this.#connection?.close();
    this.#held = null;
    this.#connection = following === null ? null : this.#connect(
      /** @type {string[]} */ (names), hidden,
      { changed: this.#changed, linked: this.#linked(/** @type {string[]} */ (names)) });
    return true;
  }

  /** Tell a tab that has just come what is known. @param {MessagePort} port */
  #welcome(port) {
    if (this.#held === null) this.#connection?.retry();
    else this.#tell(port, this.#held.workflows, this.#held.followed, true);
  }

  /** @param {any} news @param {boolean} whole */
  #changed = (news, whole) => {
    const workflows = new Map(Object.entries(news.workflows));
    /** @type {Map<string, Followed>} */
    const followed = new Map(Object.entries(news.followed ?? {}).map(([name, { steps, graph }]) =>
      [name, { steps: new Map(Object.entries(steps ?? {})), graph: graph ?? null }]));
    if (whole || this.#held === null) this.#held = { workflows: new Map(), followed: new Map() };
    keep(this.#held, workflows, followed);
    for (const port of this.#tabs.keys()) this.#tell(port, workflows, followed, whole);
    const back = [...this.#refused.keys()].filter((name) => workflows.get(name));
    for (const name of back) this.#refused.delete(name);
    if (back.length > 0) this.#settle();
  };

  /**
   * @param {MessagePort} port
   * @param {Map<string, any>} workflows
   * @param {Map<string, Followed>} followed
   * @param {boolean} whole
   */
  #tell(port, workflows, followed, whole) {
    const name = this.#tabs.get(port)?.name ?? null;
    const own = name === null ? undefined : followed.get(name);
    if (!whole && workflows.size === 0 && own === undefined) return;
    const { steps = new Map(), graph = null } = own ?? {};
    port.postMessage({ kind: "stream", follow: name, whole, workflows, steps, graph });
    const text = name === null ? undefined : this.#refused.get(name);
    if (text !== undefined) port.postMessage({ kind: "refused", follow: name, text });
  }

  /** @param {string[]} names @returns {ConnectionListener["linked"]} */
  #linked = (names) => (there, reason, status) => {
    if (status === 404 && names.length > 0) {
      this.#sort(names);
      return;
    }
    const changed = this.#link?.there !== there || this.#link.why !== reason;
    this.#link = { kind: "link", there, why: reason, at: Date.now() / 1000 };
    if (changed) for (const port of this.#tabs.keys()) port.postMessage(this.#link);
  };

  /** Find which of the followed workflows the server doesn't have. @param {string[]} names */
  async #sort(names) {
    await Promise.all(names.map(async (name) => {
      try {
        await this.#exists(name);
      } catch (error) {
        const reason = why(error);
        if (error instanceof Refused) this.#refused.set(name, reason);
      }
    }));
    this.#settle();
  }
}

/**
 * Take changes into what is held (null: gone).
 * @param {{ workflows: Map<string, any>, followed: Map<string, Followed> }} held
 * @param {Map<string, any>} workflows
 * @param {Map<string, Followed>} followed
 */
function keep(held, workflows, followed) {
  change(held.workflows, workflows);
  for (const [name, { steps, graph }] of followed) {
    const before = held.followed.get(name) ?? { steps: new Map(), graph: null };
    change(before.steps, steps);
    held.followed.set(name, { steps: before.steps, graph: graph ?? before.graph });
  }
}

/** @param {Map<string, any>} map @param {Map<string, any>} changes */
function change(map, changes) {
  for (const [name, value] of changes) {
    if (value === null) map.delete(name);
    else map.set(name, value);
  }
}
