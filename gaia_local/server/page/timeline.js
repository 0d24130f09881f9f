// @ts-check
// The tab with a workflow's timeline, which grows while Steps run.

import { ask, path, why } from "./api.js";
import { TimelineChart } from "./chart.js";
import { fill, html } from "./dom.js";
import { TimelineFigures } from "./figures.js";
import { arrange } from "./lanes.js";
import { Refresher } from "./refresher.js";

const SHARE = 20; // Drawing what grows may take one part in so many of the time,
const LEAST_MS = 1000; // and is at least so far apart.
const FAILED = ["error", "exception"];

export class TimelineView {
  #name;
  /** @type {ReadonlyMap<string, StepNews> | null} */
  #steps = null;
  /** @type {TimelineAttempt[] | null} */
  #attempts = null;
  #state = "";
  #news = 0; // Their number.
  #refresher = new Refresher((news) => this.#ask(news));
  #closed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #growing;
  #figures = new TimelineFigures();
  #chart;
  #problem = html("p", { class: "problem", role: "alert", hidden: true });
  #filtered = html("p", { class: "note", hidden: true });

  /** Of the workflow `name`. @param {string} name @param {Acts} acts */
  constructor(name, acts) {
    this.#name = name;
    this.#chart = new TimelineChart(({ step, task }) => acts.open(step, task ? { task } : {}));
    this.tools = this.#chart.tools;
    this.element = html("section", { class: "timeline", "aria-label": "Timeline" },
      html("div", { class: "line" }, this.#figures.element, this.#chart.tools),
      this.#problem, this.#filtered, this.#chart.element, this.#figures.table);
  }

  /** @param {Slice} slice @param {Record<string, string>} query */
  show({ steps }, { state = "" }) {
    if (state !== this.#state) {
      this.#state = state;
      const states = state === "failed" ? FAILED : [state];
      this.#chart.filter((bar) => state === "" || states.includes(bar.state));
      this.#filtered.hidden = state === "";
      fill(this.#filtered, `Attempts that are ${state} stand out.`);
    }
    if (steps === this.#steps && this.#attempts !== null) return;
    this.#steps = steps;
    this.#refresher.want(this.#news += 1);
  }

  focus() {
    this.#chart.focus();
  }

  close() {
    this.#closed = true;
    this.#refresher.close();
    clearTimeout(this.#growing);
    this.#chart.close();
  }

  /**
   * Ask for the attempts.
   * @param {import("./refresher.js").Mark} news
   */
  async #ask(news) {
    try {
      const { attempts } = await ask(path("workflows", this.#name, "timeline"));
      if (this.#closed) return null;
      this.#attempts = attempts;
      this.#draw();
      this.#problem.hidden = true;
      return news;
    } catch (error) {
      // The stream reports a server or a workflow that is gone.
      this.#problem.hidden = this.#attempts !== null;
      fill(this.#problem, `The timeline can't be shown: ${why(error)}.`);
      return null;
    }
  }

  #draw() {
    clearTimeout(this.#growing);
    if (this.#attempts === null || this.#closed) return;
    const began = performance.now();
    const now = Date.now() / 1000;
    const lanes = arrange(this.#attempts, now);
    this.#figures.show(lanes, this.#attempts, now);
    this.#chart.show(lanes, now);
    if (!lanes.running) return;
    const pause = Math.max(LEAST_MS, SHARE * (performance.now() - began));
    this.#growing = setTimeout(() => this.#draw(), pause);
  }
}
