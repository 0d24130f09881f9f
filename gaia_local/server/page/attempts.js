// @ts-check
// All attempts at a Step, and what changed between two of them.

import { ask, path, why } from "./api.js";
import { compare, outcome } from "./comparing.js";
import { fill, html, put } from "./dom.js";
import { glyph } from "./glyphs.js";
import { address } from "./parts.js";
import { duration, moment } from "./words.js";

const FIRST = 10; // So many are shown until the reader asks for all.
const DIGITS = 10; // Of a digest.
/** @type {{ same: "span", added: "ins", removed: "del" }} */
const MARKS = { same: "span", added: "ins", removed: "del" };

export class AttemptsView {
  #workflow;
  #step;
  #shown;
  #asked = 0;
  #closed = false;
  #text = "";
  #all = false;
  /** @type {AttemptRecord[]} */
  #attempts = [];
  #problem = html("p", { class: "failure", role: "alert", hidden: true });
  #list = html("ol", { class: "attempts", reversed: true });
  #more = html("button",
    { type: "button", class: "small", hidden: true, click: () => this.#showAll() });
  /** @type {HTMLSelectElement[]} */
  #choices = ["The later attempt", "The earlier attempt"].map((label) => (
    /** @type {HTMLSelectElement} */ (html("select",
      { "aria-label": label, change: () => this.#compare() }))));
  #differences = html("div", { class: "differences", role: "status" });
  #comparison = html("div", { class: "comparison", hidden: true },
    html("h4", {}, "What changed"),
    html("p", { class: "choices" }, "In attempt ", this.#choices[0], " since attempt ",
      this.#choices[1]),
    this.#differences);
  element;

  /**
   * Of a Step; `show(task)` is called when the reader wants the log of an attempt.
   * @param {string} workflow @param {string} step @param {{ show(task: string): void }} acts
   */
  constructor(workflow, step, { show }) {
    this.#workflow = workflow;
    this.#step = step;
    this.#shown = show;
    this.element = html("section", { class: "attempts-part", hidden: true },
      html("h3", {}, "Attempts"), this.#problem, this.#list, this.#more, this.#comparison);
  }

  /** Ask for the attempts, and show them. */
  async refresh() {
    this.#asked += 1;
    const asked = this.#asked;
    let problem = null;
    /** @type {{ attempts: AttemptRecord[] } | null} */
    let told = null;
    try {
      told = await ask(path("workflows", this.#workflow, "attempts"), { step: this.#step });
    } catch (error) {
      problem = why(error);
    }
    if (asked !== this.#asked || this.#closed) return;
    this.#problem.hidden = problem === null;
    fill(this.#problem, problem);
    if (told !== null) this.#show(told.attempts);
    this.element.hidden = problem === null && this.#attempts.length === 0;
  }

  close() {
    this.#closed = true;
  }

  /** @param {AttemptRecord[]} attempts */
  #show(attempts) {
    const text = JSON.stringify(attempts);
    if (text === this.#text) return;
    const newest = this.#attempts[0]?.task;
    this.#text = text;
    this.#attempts = attempts;
    this.#fill();
    this.#comparison.hidden = attempts.length < 2;
    this.#offer(newest === attempts[0]?.task);
    this.#compare();
  }

  #showAll() {
    this.#all = true;
    this.#fill();
  }

  #fill() {
    const attempts = this.#all ? this.#attempts : this.#attempts.slice(0, FIRST);
    const longest = Math.max(...this.#attempts.map(({ elapsed }) => elapsed ?? 0));
    fill(this.#list, attempts.map((attempt) => this.#item(attempt, longest)));
    this.#more.hidden = attempts.length === this.#attempts.length;
    fill(this.#more, `Show all ${this.#attempts.length}`);
  }

  /** @param {AttemptRecord} attempt @param {number} longest In seconds. */
  #item(attempt, longest) {
    const { task, number, state, reason, message, started, elapsed, reused } = attempt;
    const bar = html("span", { class: "bar", "aria-hidden": "true" }, html("span", {}));
    // Set by script, as the page's policy refuses styles in markup.
    /** @type {HTMLElement} */ (bar.firstChild).style.width =
      `${longest > 0 ? (100 * (elapsed ?? 0)) / longest : 0}%`;
    return html("li", { "data-state": state },
      html("div", { class: "line" },
        html("span", { class: "badge" }, glyph(state),
          html("span", {}, `${number}: ${outcome(attempt)}`)),
        html("span", { class: "note" }, reused ? ["reused from ",
          html("a", { href: address(reused.workflow, reused.step) }, reused.step)] : reason),
        attempt.has_log || started !== null && elapsed === null ? html("button", {
          type: "button", class: "small", "aria-label": `Log of attempt ${number}`,
          click: () => this.#shown(task),
        }, "Log") : null),
      html("div", { class: "line" }, bar, html("span", { class: "note" },
        elapsed === null ? null : `${duration(elapsed)}, `,
        started === null ? "hasn't begun"
          : html("time", { datetime: new Date(started * 1000).toISOString() }, moment(started)))),
      message === null || state === "complete" || message === `exit code ${attempt.exit_code}`
        ? null : html("p", { class: "note" }, message));
  }

  /** Offer all attempts in both choices: at first the newest and the one before. */
  #offer(keep = false) {
    const chosen = this.#choices.map(({ value }) => value);
    this.#choices.forEach((choice, index) => {
      fill(choice, this.#attempts.map(({ task, number, state }) => (
        html("option", { value: task }, `${number} (${state})`))));
      const known = this.#attempts.some(({ task }) => task === chosen[index]);
      choice.value = keep && known ? chosen[index] : this.#attempts[index]?.task ?? "";
    });
  }

  #compare() {
    const [later, earlier] = this.#choices
      .map(({ value }) => this.#attempts.find(({ task }) => task === value));
    fill(this.#differences, later && earlier ? differences(compare(earlier, later)) : null);
    put(this.#differences, "aria-label", "What changed");
  }
}

/** @param {import("./comparing.js").Comparison} found */
function differences({ inputs, unknown, tokens, image, outcome: ended, same }) {
  return [
    same ? html("p", {}, "Inputs, command line and image are the same",
      unknown ? " as far as they are known." : ".") : null,
    unknown ? html("p", { class: "note" },
      `Of ${unknown === 1 ? "1 input" : `${unknown} inputs`} the content isn't known.`) : null,
    ended ? fact("Outcome", [ended.from, " → ", ended.to]) : null,
    image ? fact("Image", [image.from, " → ", image.to]) : null,
    inputs.length ? fact("Inputs", html("ul", { class: "changes" }, inputs.map(changed))) : null,
    tokens ? fact("Command line", html("ol", { class: "tokens diff" },
      tokens.map(({ change, token }) => html("li", { class: change },
        html(MARKS[change], {}, html("code", {}, token)))))) : null,
  ];
}

/** @param {import("./comparing.js").InputChange} input */
function changed({ key, change, from, to }) {
  return html("li", { class: change }, html("code", {}, key), " ",
    html("span", { class: "note" }, change, " ", [from, to].filter((digest) => digest !== null)
      .map((digest, index) => [index ? " → " : null,
        html("span", { class: "digest", title: `content digest, BLAKE2b: ${digest}` },
          String(digest).replace(/^d:/, "").slice(0, DIGITS))])));
}

/** @param {string} name @param {Content} value */
function fact(name, value) {
  return html("div", { class: "fact" }, html("h5", {}, name), html("div", {}, value));
}
