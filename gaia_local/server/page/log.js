// @ts-check
// The log of an attempt at a Step, all of it: followed while the Step runs, searched, linked to.

import { fill, html } from "./dom.js";
import { lineElement } from "./log-line.js";
import { Rows } from "./log-rows.js";
import { LogSearch } from "./log-search.js";
import { lastLines, LogSource } from "./log-source.js";
import { address } from "./parts.js";

export { lastLines };

const SETTLED_MS = 1500; // After so long the rest of the panel has come.

export class LogView {
  #workflow;
  #step;
  /** @type {LogSource | null} */
  #source = null;
  /** The attempt that the reader chose; null: the latest. @type {string | null} */
  #chosen = null;
  /** @type {string | null} */
  #latest = null;
  /** The line that the address names. @type {number | null} */
  #linked = null;
  #sought = false;
  /** @type {string | null} */
  #problem = null;
  /** What each row was made of. @type {WeakMap<Element, string | object | null>[]} */
  #made = [new WeakMap(), new WeakMap()];
  #note = html("p", { class: "note", role: "status" });
  /** @type {IntersectionObserver | undefined} */
  #sight;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #sighted;
  #rows = new Rows((line, before) => this.#row(line, before), () => this.#moved());
  #search = new LogSearch({
    ask: (parameters) => /** @type {LogSource} */ (this.#source).search(parameters),
    go: ({ line }) => this.#rows.goTo(line),
    changed: () => this.#rows.draw(),
  });
  #toEnd = html("button",
    { type: "button", class: "small to-end", hidden: true, click: () => this.#rows.toEnd() },
    "Go to the end");
  #wrap = html("button",
    { type: "button", class: "small", "aria-pressed": "true", click: () => this.#toggleWrap() },
    "Wrap lines");
  #wide = html("button",
    { type: "button", class: "small", "aria-pressed": "false", click: () => this.#toggleWide() },
    "Full width");
  #file = html("a",
    { class: "file", download: "", "aria-label": "Download the log" }, "Download");
  #tools = html("div", { class: "log-tools" },
    this.#search.element,
    html("div", { class: "line" }, this.#wrap, this.#wide, this.#file));

  /** @param {string} workflow @param {string} step */
  constructor(workflow, step) {
    this.#workflow = workflow;
    this.#step = step;
    this.element = html("div", { class: "log-view wrapped" },
      this.#tools, this.#note, html("div", { class: "log-frame" }, this.#rows.element,
        this.#toEnd));
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || event.defaultPrevented || !this.#isWide()) return;
      event.preventDefault();
      this.#toggleWide();
    });
    this.#show();
  }

  /**
   * Follow the latest attempt's log, unless the reader chose another one.
   * @param {string | null} task the latest attempt, if there is one
   */
  start(task) {
    this.#latest = task;
    if (this.#source === null) this.#open();
    else if (this.#chosen === null && task !== this.#source.task && this.#source.over)
      this.#open(); // It had ended, and runs again.
    else this.#show();
  }

  /**
   * Show an attempt (none: the latest), and a line of it, as an address has them.
   * @param {{ task?: string | null, line?: number | string | null }} what
   */
  show({ task = null, line = null }) {
    const number = Number(line);
    this.#linked = line !== null && Number.isInteger(number) && number > 0 ? number : null;
    this.#sought = this.#linked !== null;
    const chosen = task !== null && task === this.#latest && this.#source?.task === task
      ? null : task;
    if (this.#source === null || chosen !== this.#chosen) {
      this.#chosen = chosen;
      this.#open();
    } else this.#seek();
    this.#rows.draw();
  }

  /** The log may lie below the panel's sight, and what is above it may come a little later. */
  #bringIntoSight() {
    const bring = () => this.element.scrollIntoView({ block: "nearest" });
    this.#letGo();
    bring();
    this.#sight = new IntersectionObserver(([{ intersectionRatio: seen }]) => {
      if (seen < 1) bring();
    }, { threshold: [0, 0.5, 0.9, 1] });
    this.#sight.observe(this.#rows.element);
    this.#sighted = setTimeout(() => this.#letGo(), SETTLED_MS);
  }

  #letGo() {
    this.#sight?.disconnect();
    clearTimeout(this.#sighted);
  }

  stop() {
    this.#letGo();
    this.#source?.close();
    this.#search.close();
    this.#rows.close();
  }

  #open() {
    this.#source?.close();
    this.#problem = null;
    /** @type {LogSource} */
    const source = new LogSource(this.#workflow, this.#step, this.#chosen, {
      changed: () => { if (source === this.#source) this.#changed(); },
      replaced: () => { if (source === this.#source) this.#open(); },
      problem: (text) => {
        if (source !== this.#source) return;
        this.#problem = text;
        this.#show();
      },
    });
    this.#source = source;
    this.#search.restart();
    if (!this.#sought) this.#rows.toEnd();
    this.#show();
  }

  #changed() {
    const source = /** @type {LogSource} */ (this.#source);
    this.#show();
    this.#rows.setTotal(source.lines);
    this.#seek();
    this.#search.grown();
  }

  /** Go to the line that the address names, once it is known. */
  #seek() {
    const source = /** @type {LogSource} */ (this.#source);
    if (!this.#sought || this.#linked === null) return;
    if (source.lines < this.#linked && !source.over) return;
    if (source.lines === 0) return;
    this.#sought = false;
    this.#rows.goTo(Math.min(this.#linked, source.lines));
    this.#bringIntoSight();
    this.element.scrollIntoView({ block: "nearest" });
  }

  #show() {
    const source = this.#source;
    const empty = source === null || source.lines === 0;
    this.#rows.element.hidden = empty;
    this.#tools.hidden = empty;
    if (source !== null && this.#file.getAttribute("href") !== source.file())
      this.#file.setAttribute("href", source.file());
    const none = source?.over ? "It wrote nothing." : "Nothing written yet.";
    const earlier = this.#chosen !== null && this.#chosen !== this.#latest;
    fill(this.#note,
      earlier ? ["The log of an earlier attempt. ",
        html("a", { href: address(this.#workflow, this.#step) }, "Show the latest")] : null,
      earlier && (this.#problem !== null || empty) ? " " : null,
      this.#problem !== null ? `The log can't be read: ${this.#problem}`
        : empty && source !== null ? none : null);
  }

  #moved() {
    const [first, last] = this.#rows.range;
    this.#source?.want(first, last);
    this.#toEnd.hidden = this.#rows.atEnd;
  }

  /** @param {number} number @param {HTMLElement | undefined} before */
  #row(number, before) {
    const line = this.#source?.line(number) ?? null;
    const { text, matchCase, now } = this.#search;
    const place = now !== null && now.line === number ? now.place : null;
    const linked = number === this.#linked;
    const shown = JSON.stringify([text, matchCase, place, linked, this.#source?.task]);
    const [lines, others] = this.#made;
    if (before !== undefined && lines.get(before) === line && others.get(before) === shown)
      return before;
    const row = lineElement(number, this.#href(number), line, { text, matchCase, place }, linked);
    lines.set(row, line);
    others.set(row, shown);
    return row;
  }

  /** @param {number} line */
  #href(line) {
    const task = this.#source?.task;
    const query = new URLSearchParams(task ? { task, line: String(line) } : { line: String(line) });
    return `${address(this.#workflow, this.#step)}?${query}`;
  }

  #toggleWrap() {
    const wraps = this.element.classList.toggle("wrapped");
    this.#wrap.setAttribute("aria-pressed", String(wraps));
    this.#rows.element.scrollLeft = 0;
    this.#rows.draw(true);
  }

  #isWide() {
    return this.element.classList.contains("wide");
  }

  #toggleWide() {
    const wide = this.element.classList.toggle("wide");
    this.#wide.setAttribute("aria-pressed", String(wide));
    this.#rows.draw(true);
  }
}
