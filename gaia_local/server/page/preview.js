// @ts-check
// A look at what a file holds, or a directory. Whatever it is, it becomes text, a picture, or a
// frame that can neither run anything nor reach this page: see the server's `file_answers`.

import { ask, path, why } from "./api.js";
import { separator, table } from "./csv.js";
import { fill, html } from "./dom.js";
import { parse, size } from "./json.js";
import { cut, sample } from "./samples.js";
import { bytes, count, moment } from "./words.js";

const ROWS = 200;
const COLUMNS = 60;
const CELL = 300; // Characters.
const TEXT = { lines: 2000, width: 2000 };
const CHILDREN = 200; // Values of one JSON object or array that are shown.

/**
 * What the server says of a file.
 * @typedef {{ kind: string, size?: number, text?: string, cut?: boolean, encoding?: string }} Seen
 */

/**
 * The address of a file; of a directory, that of its archive.
 * @param {string} workflow
 * @param {string} query as the server has it for each
 * @param {"" | "archive"} what
 */
export function fileAddress(workflow, query, what = "") {
  const place = `files/${encodeURIComponent(workflow)}`;
  return what === "" ? `${place}?${query}` : `${place}/${what}?${query}`;
}

/**
 * A link that stores a file, or a directory as a tar.
 * @param {string} workflow @param {string} query @param {boolean} directory @param {string} name
 */
export function downloadLink(workflow, query, directory, name) {
  const href = directory ? fileAddress(workflow, query, "archive")
    : fileAddress(workflow, `${query}&download=1`);
  return html("a", { href, download: "", class: "get" },
    directory ? "Download as tar" : "Download", html("span", { class: "unseen" }, `: ${name}`));
}

/** What one file or directory holds; asked for when it is made. */
export class Preview {
  #workflow;
  #query;
  #name;
  #closed = false;
  element = html("div", { class: "preview" });

  /**
   * @param {string} workflow
   * @param {string} query the parameters that name the file, as the server gave them
   * @param {string} name for the reader
   */
  constructor(workflow, query, name) {
    this.#workflow = workflow;
    this.#query = query;
    this.#name = name;
    this.load();
  }

  /** Ask again. */
  async load() {
    try {
      const seen = await this.#ask("preview");
      const parts = seen.kind === "directory" ? this.#tree(await this.#ask("directory"))
        : this.#parts(seen);
      if (!this.#closed) fill(this.element, parts);
    } catch (error) {
      const reason = why(error);
      if (!this.#closed)
        fill(this.element, html("p", { class: "note", role: "status" }, `No preview: ${reason}`));
    }
  }

  close() {
    this.#closed = true;
    this.element.remove();
  }

  /** @param {string} what */
  #ask(what) {
    return ask(`${path("workflows", this.#workflow, what)}?${this.#query}`);
  }

  /** @param {Seen} seen */
  #parts(seen) {
    const framed = fileAddress(this.#workflow, `${this.#query}&frame=1`);
    const title = `Preview of ${this.#name}`;
    switch (seen.kind) {
      case "empty": return note("It is empty.");
      case "csv": return csv(seen, this.#name);
      case "json": return json(seen);
      case "image": return picture(fileAddress(this.#workflow, this.#query), this.#name);
      case "html":
        return [html("iframe", { class: "frame", sandbox: "", title, src: framed }),
          note("Shown without its scripts, and without files from elsewhere.")];
      // With this attribute browsers show no PDF. The policy of its answer is a sandbox as well.
      case "pdf": return html("iframe", { class: "frame", title, src: framed });
      case "text": return text(seen);
      default: return note(`${bytes(seen.size ?? 0)} that aren't text: download it to see it.`);
    }
  }

  /** @param {{ entries: Record<string, any>[], total: number, more: boolean }} listed */
  #tree({ entries, total, more }) {
    if (entries.length === 0) return note("It is empty.");
    return [
      html("ul", { class: "tree", "aria-label": this.#name },
        entries.map((entry) => leaf(this.#workflow, entry))),
      more ? note(`The first ${entries.length} of ${total} are shown.`) : null];
  }
}

/**
 * An entry of a directory, which opens where there is something to look at.
 * @param {string} workflow
 * @param {Record<string, any>} entry
 */
function leaf(workflow, entry) {
  const { name, query, kind } = entry;
  const directory = kind === "directory";
  if (!directory && kind !== "file")
    return html("li", {}, html("div", { class: "leaf" }, html("span", { class: "name" }, name),
      html("span", { class: "note" }, `${kind}, not shown`)));
  const shown = new Toggle(name, () => new Preview(workflow, query, name));
  return html("li", {},
    html("div", { class: "leaf" }, shown.button,
      html("span", { class: "note" },
        directory ? null : `${bytes(entry.size)}, `, moment(entry.modified)),
      downloadLink(workflow, query, directory, name)),
    shown.place);
}

/** A button that opens and closes a preview. */
export class Toggle {
  /** @type {Preview | null} */
  #preview = null;
  #make;
  place = html("div", { class: "opened" });

  /** @param {any} label @param {() => Preview} make */
  constructor(label, make) {
    this.#make = make;
    this.button = html("button",
      { type: "button", class: "toggle", "aria-expanded": "false", click: () => this.turn() },
      label);
  }

  get open() {
    return this.#preview !== null;
  }

  /** Open or close it. */
  turn() {
    if (this.#preview === null) {
      this.#preview = this.#make();
      this.place.append(this.#preview.element);
    } else {
      this.#preview.close();
      this.#preview = null;
    }
    this.button.setAttribute("aria-expanded", String(this.open));
  }

  /** Look again at what is open. */
  reload() {
    this.#preview?.load();
  }
}

/** @param {Seen} seen */
function text(seen) {
  const shown = sample(seen.text ?? "", TEXT);
  return [html("pre", { class: "sample", tabindex: 0, role: "region", "aria-label": "Text" },
    shown.text),
    encoded(seen), beginning(seen) ?? (shown.more && note(`And ${shown.more}.`))];
}

/** @param {Seen} seen @param {string} name */
function csv(seen, name) {
  const given = seen.text ?? "";
  const { rows, more } = table(given, separator(given, name), ROWS);
  const width = Math.max(0, ...rows.map((row) => row.length));
  /** @type {(row: string[], tag: "th" | "td") => any} */
  const line = (row, tag) => html("tr", {}, row.slice(0, COLUMNS).map((field) =>
    html(tag, tag === "th" ? { scope: "col" } : {}, cut(field, CELL))));
  const left = [more && `the first ${ROWS} rows`,
    width > COLUMNS && `${COLUMNS} of ${width} columns`].filter(Boolean);
  return [
    html("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": `Table ${name}` },
      html("table", {}, html("thead", {}, rows.slice(0, 1).map((row) => line(row, "th"))),
        html("tbody", {}, rows.slice(1).map((row) => line(row, "td"))))),
    encoded(seen),
    left.length ? note(`Shown: ${left.join(", ")}.`) : beginning(seen)];
}

/** @param {Seen} seen */
function json(seen) {
  try {
    return html("div", { class: "json" }, folded(null, parse(seen.text ?? ""), true));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return text(seen);
  }
}

/**
 * A value that opens, if it holds others. Its inside is made when it is opened.
 * @param {string | null} name @param {import("./json.js").Json} value @param {boolean} open
 */
function folded(name, value, open) {
  const named = name === null
    ? null : [html("span", { class: "field-name" }, cut(name, CELL)), ": "];
  if (value.kind === "string" || value.kind === "plain")
    return html("div", { class: "value" }, named,
      html("code", { class: value.kind }, cut(value.text, TEXT.width)));
  const word = value.kind === "object" ? "{…}" : "[…]";
  const inside = html("div", { class: "inside" });
  const details = html("details", {},
    html("summary", {}, named, word, " ",
      html("span", { class: "note" }, count(size(value) ?? 0, "value"))), inside);
  const make = () => {
    if (details.open && inside.childElementCount === 0) fill(inside, children(value));
  };
  details.addEventListener("toggle", make);
  details.open = open;
  if (open) make();
  return details;
}

/** @param {import("./json.js").Json} value */
function children(value) {
  const all = value.kind === "object" ? value.entries
    : value.kind === "array" ? value.items.map((item, index) => /** @type {const} */ (
      [String(index), item])) : [];
  const shown = all.slice(0, CHILDREN).map(([name, item]) => folded(name, item, false));
  return all.length > CHILDREN ? [shown, note(`And ${count(all.length - CHILDREN, "more value")}.`)]
    : shown;
}

/** @param {string} source @param {string} name */
function picture(source, name) {
  const image = html("img", { src: source, alt: `Image ${name}`, class: "picture" });
  image.addEventListener("error",
    () => image.replaceWith(note("This browser can't show the image.")));
  return image;
}

/** @param {Seen} seen */
function beginning(seen) {
  return seen.cut ? note(`The beginning of ${bytes(seen.size ?? 0)}.`) : null;
}

/** @param {Seen} seen */
function encoded(seen) {
  const usual = !seen.encoding || seen.encoding.startsWith("utf-8");
  return usual ? null : note(`Read as ${seen.encoding}.`);
}

/** @param {string} told */
function note(told) {
  return html("p", { class: "note" }, told);
}
