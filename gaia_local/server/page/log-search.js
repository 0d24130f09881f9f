// @ts-check
// The search in a log: what is sought, how many there are, and the way from one to the next.

import { why } from "./api.js";
import { fill, html } from "./dom.js";
import { LISTED, placeInLine, Tally } from "./matches.js";

const TYPING_MS = 250; // The search begins when nothing was typed for so long.
const MOST_LISTS = 20;
const NUMBER = new Intl.NumberFormat("en");

/** @typedef {{ line: number, place: number }} Match its line, and its number in that line */

export class LogSearch {
  text = "";
  matchCase = false;
  /** The match that the reader went to. @type {Match | null} */
  now = null;
  #ask;
  #changed;
  #go;
  #tally = new Tally();
  #next = 0;
  #over = true;
  #running = false;
  #current = 0;
  /** A number for each search: answers to earlier ones mean nothing. */
  #search = 0;
  /** @type {Map<string, [number, number][]>} */
  #lists = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #typing;
  #field = html("input", {
    type: "search", class: "field", placeholder: "Search the log", "aria-label": "Search the log",
    maxlength: 1000, autocomplete: "off", spellcheck: "false",
  });
  #count = html("span", { class: "note", role: "status" });
  #case = html("button", {
    type: "button", class: "small", "aria-pressed": "false", click: () => this.#toggleCase(),
  }, "Match case");
  #previous = html("button", {
    type: "button", class: "small", title: "Shift+Enter", click: () => this.#step(-1),
  }, "Previous");
  #following = html("button", {
    type: "button", class: "small", title: "Enter", click: () => this.#step(1),
  }, "Next");
  #found = html("div", { class: "matches", hidden: true },
    this.#count, this.#previous, this.#following, this.#case);

  /**
   * @param {{
   *   ask(parameters: Record<string, string | number>): Promise<any>,
   *   go(match: Match): void, changed(): void,
   * }} acts `changed`: other texts are to be marked
   */
  constructor({ ask, go, changed }) {
    this.#ask = ask;
    this.#go = go;
    this.#changed = changed;
    this.element = html("div", { class: "log-search", role: "search" }, this.#field, this.#found);
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#begin(), TYPING_MS);
    });
    this.#field.addEventListener("keydown",
      (/** @type {KeyboardEvent} */ event) => this.#key(event));
  }

  /** The log is another one, or has none of what was found. */
  restart() {
    this.#reset();
    if (this.text !== "") this.#continue(false);
  }

  /** There is more of the log. */
  grown() {
    if (this.text !== "" && this.#over) this.#continue(false);
  }

  close() {
    clearTimeout(this.#typing);
    this.#search += 1;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.key === "Escape" && this.#field.value !== "") {
      this.#field.value = "";
      this.#begin();
    } else if (event.key === "Enter") {
      if (this.#field.value !== this.text) this.#begin();
      else this.#step(event.shiftKey ? -1 : 1);
    } else return;
    event.preventDefault();
  }

  #toggleCase() {
    this.matchCase = !this.matchCase;
    this.#case.setAttribute("aria-pressed", String(this.matchCase));
    this.#begin();
  }

  #begin() {
    clearTimeout(this.#typing);
    this.text = this.#field.value;
    this.#reset();
    this.#changed();
    if (this.text !== "") this.#continue(true);
  }

  #reset() {
    this.#search += 1;
    this.#tally = new Tally();
    this.#lists.clear();
    this.#next = 0;
    this.#over = true;
    this.#running = false;
    this.#current = 0;
    this.now = null;
    this.#found.hidden = this.text === "";
    fill(this.#count, null);
  }

  /** Search on to the log's present end. @param {boolean} goes whether to go to the first match */
  async #continue(goes) {
    if (this.#running) return;
    this.#running = true;
    const search = this.#search;
    do {
      const from = this.#next;
      let answer;
      try {
        answer = await this.#ask({ ...this.#wanted(), from });
      } catch (error) {
        const reason = why(error);
        if (search !== this.#search) return;
        this.#running = false;
        fill(this.#count, `The search failed: ${reason}`);
        return;
      }
      if (search !== this.#search) return;
      const first = this.#tally.total === 0 && answer.count > 0;
      this.#tally.add(from, answer.count);
      if (answer.count > 0) this.#list(`${from} 0`, answer.matches);
      this.#next = answer.next;
      this.#over = answer.over;
      this.#say(answer.size);
      if (first && goes) await this.#show(0);
      if (search !== this.#search) return;
    } while (!this.#over);
    this.#running = false;
  }

  /** @returns {Record<string, string | number>} */
  #wanted() {
    return { text: this.text, case: Number(this.matchCase) };
  }

  /** @param {number} by */
  #step(by) {
    const { total } = this.#tally;
    if (total === 0) return;
    this.#show(this.now === null ? (by > 0 ? 0 : total - 1) : (this.#current + by + total) % total);
  }

  /** @param {number} match */
  async #show(match) {
    const search = this.#search;
    this.#current = match;
    const { from, skip, place } = this.#tally.locate(match);
    let listed = this.#lists.get(`${from} ${skip}`);
    if (listed === undefined) {
      let answer;
      try {
        answer = await this.#ask({ ...this.#wanted(), from, skip });
      } catch (error) {
        const reason = why(error);
        if (search === this.#search) fill(this.#count, `The search failed: ${reason}`);
        return;
      }
      if (search !== this.#search) return;
      listed = this.#list(`${from} ${skip}`, answer.matches);
    }
    if (match !== this.#current || place >= listed.length) return; // The reader is elsewhere now.
    this.now = { line: listed[place][0], place: placeInLine(listed, place) };
    this.#say();
    this.#go(this.now);
  }

  /** @param {string} key @param {[number, number][]} matches */
  #list(key, matches) {
    this.#lists.set(key, matches.slice(0, LISTED));
    for (const other of this.#lists.keys()) {
      if (this.#lists.size <= MOST_LISTS) break;
      this.#lists.delete(other);
    }
    return matches;
  }

  /** @param {number} [size] bytes of the log, while the search goes on */
  #say(size) {
    const { total } = this.#tally;
    const all = total === 0 ? "No matches" : this.now === null ? `${NUMBER.format(total)} found`
      : `${NUMBER.format(this.#current + 1)} of ${NUMBER.format(total)}`;
    const part = size && !this.#over ? ` in ${Math.floor((100 * this.#next) / size)} %` : "";
    fill(this.#count, all + part);
  }
}
