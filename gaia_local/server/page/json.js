// @ts-check
// JSON as it is written: numbers keep all their digits, and objects the order and number of names.

const DEPTH = 200; // What is nested deeper is no JSON that anybody reads.
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
const PLAIN = /-?(?:Infinity|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)|true|false|null|NaN/y;

/**
 * @typedef {{ kind: "object", entries: [string, Json][] } | { kind: "array", items: Json[] }
 *   | { kind: "string" | "plain", text: string }} Json
 */

/**
 * A text as JSON. Throws a `SyntaxError` that names the offset where it isn't.
 * @param {string} text
 * @returns {Json}
 */
export function parse(text) {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

/** How many values are in it directly; null for one that holds none.
 * @param {Json} json */
export function size(json) {
  if (json.kind === "object") return json.entries.length;
  return json.kind === "array" ? json.items.length : null;
}

class Reader {
  #at = 0;
  #text;

  /** @param {string} text */
  constructor(text) {
    this.#text = text;
    this.#skip();
  }

  /** The next value, `depth` levels inside. @param {number} depth @returns {Json} */
  value(depth) {
    if (depth > DEPTH) throw this.#wrong("it is nested too deep");
    const sign = this.#text[this.#at];
    if (sign === "{") return { kind: "object", entries: this.#list("}", () => this.#pair(depth)) };
    if (sign === "[")
      return { kind: "array", items: this.#list("]", () => this.value(depth + 1)) };
    if (sign === "\"") return { kind: "string", text: this.#string() };
    const plain = this.#take(PLAIN);
    if (plain === null) throw this.#wrong("there is no value");
    return { kind: "plain", text: plain };
  }

  end() {
    if (this.#at < this.#text.length) throw this.#wrong("there is more than one value");
  }

  /**
   * What is between an opening sign and its `closing` one.
   * @template T
   * @param {string} closing @param {() => T} next
   * @returns {T[]}
   */
  #list(closing, next) {
    const found = [];
    this.#step();
    if (this.#text[this.#at] !== closing) {
      found.push(next());
      while (this.#text[this.#at] === ",") {
        this.#step();
        found.push(next());
      }
    }
    if (this.#text[this.#at] !== closing) throw this.#wrong(`there is no ${closing}`);
    this.#step();
    return found;
  }

  /** @param {number} depth @returns {[string, Json]} */
  #pair(depth) {
    const name = this.#string();
    if (this.#text[this.#at] !== ":") throw this.#wrong("there is no :");
    this.#step();
    return [name, this.value(depth + 1)];
  }

  #string() {
    const found = this.#take(STRING);
    if (found === null) throw this.#wrong("there is no text");
    return JSON.parse(found);
  }

  /** @param {RegExp} what */
  #take(what) {
    what.lastIndex = this.#at;
    const found = what.exec(this.#text);
    if (found === null) return null;
    this.#at = what.lastIndex;
    this.#skip();
    return found[0];
  }

  #step() {
    this.#at += 1;
    this.#skip();
  }

  #skip() {
    SPACE.lastIndex = this.#at;
    SPACE.exec(this.#text);
    this.#at = SPACE.lastIndex;
  }

  /** @param {string} problem */
  #wrong(problem) {
    return new SyntaxError(`${problem} at ${this.#at}`);
  }
}
