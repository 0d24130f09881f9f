// @ts-check
// A row of tabs, as the ARIA Authoring Practices have it: arrow keys go from one to the next.

import { html, put } from "./dom.js";

export class Tabs {
  /** @type {Map<string, HTMLButtonElement>} */
  #tabs;
  #picked;
  element;

  /**
   * @param {string} label
   * @param {Map<string, string>} tabs id → name
   * @param {(id: string) => void} picked
   */
  constructor(label, tabs, picked) {
    this.#picked = picked;
    this.#tabs = new Map([...tabs].map(([id, name]) => [id, html("button", {
      type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `view-${id}`,
      "aria-selected": "false", tabindex: -1, click: () => picked(id),
    }, name)]));
    this.element = html("div", {
      class: "tabs", role: "tablist", "aria-label": label,
      keydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    }, ...this.#tabs.values());
  }

  /** Whether the keyboard is on the tabs. */
  get focused() {
    return this.element.contains(document.activeElement);
  }

  /** Mark the tab that is shown. @param {string} id */
  show(id) {
    for (const [other, tab] of this.#tabs) {
      put(tab, "aria-selected", String(other === id));
      put(tab, "tabindex", other === id ? 0 : -1);
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const ids = [...this.#tabs.keys()];
    const here = ids.findIndex((id) => this.#tabs.get(id) === document.activeElement);
    const there = {
      ArrowRight: (here + 1) % ids.length,
      ArrowLeft: (here + ids.length - 1) % ids.length,
      Home: 0,
      End: ids.length - 1,
    }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    this.#tabs.get(ids[there])?.focus();
    this.#picked(ids[there]);
  }
}
