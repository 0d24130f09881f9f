// The list of workflows, the newest first.

import { fill, html, put } from "./dom.js";
import { Badge, owner, Progress } from "./parts.js";

const SEVERAL = 8; // From this many workflows on there is a field to find one in.

export class ListView {
  #rows = new Map();
  #list = html("ul", { class: "workflows" });
  #empty = html("div", { class: "empty", hidden: true },
    html("p", {}, "There are no workflows yet. This makes one:"),
    html("pre", {}, "gaia-local upload NAME --commands FILE --steps FILE"));
  #none = html("p", { class: "empty", role: "status", hidden: true }, );
  #sought = html("input", {
    type: "search", class: "field", hidden: true,
    placeholder: "Find a workflow", "aria-label": "Find a workflow",
    autocomplete: "off", spellcheck: "false", input: () => this.#sift(),
  });
  #heading = html("h1", { tabindex: -1 }, "Workflows");

  title = "gaia-local";
  element = html("section", { class: "list" },
    html("div", { class: "heading" }, this.#heading, this.#sought),
    this.#list, this.#empty, this.#none);

  /** Take in the news of a stream. */
  changed({ workflows }, whole) {
    if (whole)
      for (const name of this.#rows.keys()) if (!Object.hasOwn(workflows, name)) this.#drop(name);
    for (const [name, entry] of Object.entries(workflows)) {
      if (entry === null) this.#drop(name);
      else this.#show(name, entry);
    }
    this.#sought.hidden = this.#rows.size < SEVERAL && this.#sought.value === "";
    this.#empty.hidden = this.#rows.size > 0;
    this.#sift();
  }

  /** Show the server's refusal in place of the list. */
  refused(text) {
    this.#list.replaceChildren();
    this.#rows.clear();
    this.#empty.hidden = true;
    this.#none.hidden = false;
    fill(this.#none, text);
  }

  /** Put the keyboard on the workflow that the reader comes back from, else on the heading. */
  focus(name) {
    (this.#rows.get(name)?.link ?? this.#heading).focus();
  }

  close() {}

  #show(name, entry) {
    let row = this.#rows.get(name);
    if (row === undefined) {
      row = makeRow(name);
      this.#rows.set(name, row);
      this.#list.prepend(row.element);
    }
    put(row.element, "data-state", entry.state);
    row.badge.show(entry.state);
    put(row.link, "aria-label", `${name}, ${entry.state}, ${row.progress.show(entry.progress)}`);
    fill(row.owner, owner(name, entry.properties));
  }

  #drop(name) {
    this.#rows.get(name)?.element.remove();
    this.#rows.delete(name);
  }

  #sift() {
    const sought = this.#sought.value.trim().toLowerCase();
    let shown = 0;
    for (const [name, { element }] of this.#rows) {
      element.hidden = !name.toLowerCase().includes(sought);
      shown += element.hidden ? 0 : 1;
    }
    this.#none.hidden = shown > 0 || this.#rows.size === 0;
    fill(this.#none, "No workflow has this in its name.");
  }
}

function makeRow(name) {
  const [badge, progress, whose] = [new Badge(), new Progress(), html("span", { class: "owner" })];
  const link = html("a", { href: `#/${encodeURIComponent(name)}` },
    badge.element, html("span", { class: "title" }, html("span", { class: "name" }, name), whose),
    progress.element);
  return { badge, progress, owner: whose, link, element: html("li", {}, link) };
}
