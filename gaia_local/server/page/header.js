// @ts-check
// What is said of a workflow above its tabs: name, orders, state, counts, notices.

import { arrange, fill, html, put } from "./dom.js";
import { glyph } from "./glyphs.js";
import { notices } from "./notices.js";
import { Badge, owner, stepsIn, when } from "./parts.js";
import { tally } from "./words.js";

export class Header {
  #name;
  #badge = new Badge();
  #owner = html("span", { class: "owner" });
  #when = html("span", { class: "when" });
  /** @type {Map<string, { shown: HTMLElement, item: HTMLElement }>} */
  #counts = new Map();
  #reused = html("b");
  #ofThem = html("li", {}, html("span", {}, this.#reused, " of them reused"));
  #legend = html("ul", { class: "legend", "aria-label": "Steps by state" });
  #notices = html("div", { class: "notices" });
  #heading;
  #run;
  #halt;
  #retry;
  #all;
  /** @type {Partial<Slice>} */
  #shown = {};
  element;

  /**
   * @param {string} name
   * @param {OrdersLike} orders
   * @param {{ said: HTMLElement, problem: HTMLElement }} messages
   */
  constructor(name, orders, messages) {
    this.#name = name;
    this.#heading = html("h1", { tabindex: -1 }, name);
    this.#run = order("Run", "Run whatever is left to run", () => orders.run());
    this.#halt = order("Halt", "Stop what runs", () => orders.halt());
    this.#retry = order("Retry failed", "Run the failed Steps again", () => orders.retryFailed());
    this.#all = order("Run all again…", "Expire all Steps: they run again, complete ones too",
      () => orders.expireAll());
    this.#retry.hidden = true;
    this.element = html("div", { class: "about" },
      html("div", { class: "heading" }, this.#heading,
        html("div", { class: "acts", role: "group", "aria-label": "Workflow" },
          this.#run, this.#halt, this.#retry, this.#all)),
      html("div", { class: "standing" },
        this.#badge.element, this.#legend, this.#when, this.#owner, messages.said),
      this.#notices, messages.problem);
  }

  focus() {
    this.#heading.focus();
  }

  /** There is no such workflow (any more). */
  refuse() {
    for (const button of [this.#run, this.#halt, this.#all]) put(button, "aria-disabled", "true");
    this.#retry.hidden = true;
    this.#shown = {};
  }

  /** @param {Slice} slice */
  show(slice) {
    const before = this.#shown;
    this.#shown = slice;
    if (slice.entry !== null && slice.entry !== before.entry) this.#enter(slice.entry);
    if (slice.steps !== before.steps || slice.entry !== before.entry) this.#count(slice);
    if (slice.about !== null
      && (slice.about !== before.about || slice.missing !== before.missing))
      this.#notice(slice.about, slice.missing);
  }

  /** @param {Record<string, any>} entry */
  #enter(entry) {
    fill(this.#owner, owner(this.#name, entry.properties));
    fill(this.#when, when(entry));
    this.#badge.show(entry.state);
    put(this.#run, "aria-disabled", String(entry.state === "running"));
    put(this.#halt, "aria-disabled", String(entry.state !== "running"));
    put(this.#all, "aria-disabled", String(entry["step-count"] === 0));
    this.#retry.hidden = !entry.progress?.failed;
  }

  /** @param {Slice} slice */
  #count({ entry, steps }) {
    const states = tally([...steps.values()].map(({ state }) => state));
    const items = [...states].map(([state, number]) => {
      // Kept, as a sign that turns would begin anew.
      let count = this.#counts.get(state);
      if (count === undefined) {
        const shown = html("b");
        const link = html("a", { href: stepsIn(this.#name, state) },
          glyph(state), html("span", {}, shown, ` ${state}`));
        count = { shown, item: html("li", { "data-state": state }, link) };
        this.#counts.set(state, count);
      }
      fill(count.shown, number);
      return count.item;
    });
    const reused = entry?.progress?.reused;
    fill(this.#reused, reused);
    arrange(this.#legend, reused ? [...items, this.#ofThem] : items);
  }

  /** @param {Record<string, any>} about @param {readonly string[]} missing */
  #notice(about, missing) {
    const made = notices(this.#name, about, missing);
    // Links that say the same stay, since the keyboard may be on one.
    const same = made.length === this.#notices.children.length
      && made.every((notice, index) => notice.isEqualNode(this.#notices.children[index]));
    if (!same) fill(this.#notices, made);
  }
}

/** @param {string} name @param {string} title @param {() => void} act */
function order(name, title, act) {
  const button = html("button", {
    type: "button", title,
    click: () => { if (button.getAttribute("aria-disabled") !== "true") act(); },
  }, name);
  return button;
}
