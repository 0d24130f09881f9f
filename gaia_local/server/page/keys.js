// @ts-check
// The storage keys that a Step reads or makes: where each lies, what is there, who makes and reads
// it, and a look into it.

import { copyButton } from "./copying.js";
import { fill, html } from "./dom.js";
import { address } from "./parts.js";
import { downloadLink, Preview, Toggle } from "./preview.js";
import { bytes, count, moment } from "./words.js";

const SHOWN = 40; // Of more keys the first ones are shown until the reader asks for all.
const NAMES = 6; // Of more Steps than this the first ones are named.

/**
 * What the server tells of a key.
 * @typedef {{
 *   key: string, path: string, kind: string, state: string, because: string | null,
 *   digest: string | null, made_by: string[], read_by: string[], query: string,
 *   size?: number, files?: number, more?: boolean, modified?: number, problem?: string,
 * }} KeyFacts
 */

/** A list of keys, `Inputs` or `Outputs`. */
export class KeyList {
  #workflow;
  #step;
  /** @type {Map<string, KeyRow>} */
  #rows = new Map();
  /** @type {KeyFacts[]} */
  #keys = [];
  #all = false;
  #count = html("span", { class: "note" });
  #list = html("ul", { class: "keys" });
  #more = html("button",
    { type: "button", class: "small", hidden: true, click: () => this.#showAll() });

  /** @param {string} title @param {string} workflow @param {string} step */
  constructor(title, workflow, step) {
    this.#workflow = workflow;
    this.#step = step;
    this.element = html("section", { class: "keys-part", hidden: true },
      html("h3", {}, title, " ", this.#count), this.#list, this.#more);
  }

  /** @param {KeyFacts[]} keys */
  show(keys) {
    this.#keys = keys;
    this.element.hidden = keys.length === 0;
    fill(this.#count, keys.length > 1 ? keys.length : null);
    const shown = this.#all ? keys : keys.slice(0, SHOWN);
    fill(this.#list, shown.map((facts) => this.#row(facts).element));
    this.#more.hidden = shown.length === keys.length;
    fill(this.#more, `Show all ${keys.length}`);
  }

  /** Open the preview of a key; returns whether it is one of these. @param {string} key */
  open(key) {
    const facts = this.#keys.find((each) => each.key === key);
    if (facts === undefined) return false;
    if (!this.#all && this.#keys.indexOf(facts) >= SHOWN) this.#showAll();
    this.#row(facts).open();
    return true;
  }

  #showAll() {
    this.#all = true;
    this.show(this.#keys);
  }

  /** @param {KeyFacts} facts */
  #row(facts) {
    const row = this.#rows.get(facts.key) ?? new KeyRow(this.#workflow, this.#step, facts.key);
    this.#rows.set(facts.key, row);
    row.show(facts);
    return row;
  }
}

class KeyRow {
  #workflow;
  #step;
  #key;
  #query = "";
  #seen = "";
  #path = html("code", { class: "path" });
  #place = html("span", { class: "unseen" }, "Path");
  #about = html("span", { class: "note" });
  #who = html("p", { class: "note" });
  #get = html("span");
  #name = html("span", { class: "name" });
  #toggle;

  /** @param {string} workflow @param {string} step @param {string} key */
  constructor(workflow, step, key) {
    this.#workflow = workflow;
    this.#step = step;
    this.#key = key;
    this.#toggle = new Toggle([html("span", { class: "unseen" }, "Preview of "),
      html("code", {}, key)], () => new Preview(workflow, this.#query, key));
    this.element = html("li", {},
      html("div", { class: "leaf" }, this.#name, this.#about, this.#get),
      html("p", { class: "place" }, this.#place, this.#path,
        copyButton(this.#path, `path of ${key}`)),
      this.#who, this.#toggle.place);
  }

  /** @param {KeyFacts} facts */
  show(facts) {
    const text = JSON.stringify(facts);
    if (text === this.#seen) return;
    const again = this.#seen !== "";
    this.#seen = text;
    this.#query = facts.query;
    const there = ["file", "directory"].includes(facts.kind);
    const waits = facts.kind === "missing" && facts.made_by.length === 0;
    fill(this.#name,
      there || this.#toggle.open ? this.#toggle.button : html("code", {}, this.#key));
    fill(this.#path, facts.path);
    fill(this.#place, waits ? "Put it here: " : "Path: ");
    this.#place.className = waits ? "put" : "unseen";
    fill(this.#about, about(facts), digest(facts));
    fill(this.#get, there
      ? downloadLink(this.#workflow, facts.query, facts.kind === "directory", this.#key) : null);
    fill(this.#who, this.#people(facts));
    if (again) this.#toggle.reload();
  }

  /** Open its preview, if there is something to look at. */
  open() {
    if (!this.#name.contains(this.#toggle.button)) return;
    if (!this.#toggle.open) this.#toggle.turn();
    this.element.scrollIntoView({ block: "nearest" });
  }

  /** Who makes it, and who reads it beside this Step. @param {KeyFacts} facts */
  #people(facts) {
    const own = facts.made_by.includes(this.#step);
    const readers = facts.read_by.filter((step) => step !== this.#step);
    const makers = facts.made_by.filter((step) => step !== this.#step);
    const by = makers.length ? ["made by ", this.#links(makers)]
      : own ? null : facts.kind === "missing" ? "no Step makes it" : "yours";
    const read = readers.length
      ? [own ? "read by " : "also read by ", this.#links(readers)] : own ? "read by no Step" : null;
    const parts = [by, read, facts.state === "complete" || facts.kind === "missing" ? null
      : facts.because && `${facts.state}: ${facts.because}`].filter(Boolean);
    return parts.map((part, index) => [index ? "; " : null, part]);
  }

  /** @param {string[]} steps */
  #links(steps) {
    return [steps.slice(0, NAMES).map((step, index) => [index ? ", " : null,
      html("a", { href: address(this.#workflow, step) }, step)]),
    steps.length > NAMES ? ` and ${count(steps.length - NAMES, "more Step")}` : null];
  }
}

/** What lies there, in words. @param {KeyFacts} facts */
function about(facts) {
  if (facts.kind === "missing") return facts.made_by.length ? "not made yet" : "not there yet";
  if (facts.kind === "barred") return `not shown: ${facts.problem}`;
  const parts = [];
  if (facts.kind === "directory" && facts.more && !facts.files) parts.push("a large directory");
  else {
    if (facts.kind === "directory")
      parts.push(count(facts.files ?? 0, "file") + (facts.more ? " and more" : ""));
    else if (facts.kind !== "file") parts.push(`${facts.kind}, not shown`);
    if (facts.size !== undefined) parts.push(`${facts.more ? "over " : ""}${bytes(facts.size)}`);
  }
  if (facts.modified !== undefined) parts.push(moment(facts.modified));
  return parts.join(", ");
}

/** @param {KeyFacts} facts */
function digest(facts) {
  return facts.digest && facts.kind !== "missing" ? html("span",
    { class: "digest", title: `content digest, BLAKE2b: ${facts.digest}` },
    facts.digest.replace(/^d:/, "").slice(0, 8)) : null;
}
