// A Step's log, followed while the Step runs.

import { ask, path, why } from "./api.js";
import { fill, html, plain } from "./dom.js";

const POLL_MS = 600; // Milliseconds between two looks at a log that grows.
const KEPT = 2_000_000; // Characters that stay on the page; of a longer log the end.
const PIECE = 20_000; // Characters in one element: the browser lays out only those in sight.
const END = Number.MAX_SAFE_INTEGER; // An offset behind the end of any log.

export class LogView {
  #workflow;
  #step;
  #following = null;
  #task = null;
  #rest = "";
  #kept = 0;
  #cut = false;
  #atBottom = true;
  #top = 0;
  #sized = new ResizeObserver(() => { if (this.#atBottom) this.#toBottom(); });
  #lines = html("div", { class: "lines" });
  #last = html("span");
  #note = html("p", { class: "note", role: "status" });
  #box = html("div",
    { class: "log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: 0 },
    this.#lines, this.#last);
  #bottom = html("button",
    { type: "button", class: "small to-end", hidden: true, click: () => this.#toBottom() },
    "Go to the end");

  constructor(workflow, step) {
    this.#workflow = workflow;
    this.#step = step;
    this.element = html("div", { class: "log-view" }, this.#note, this.#box, this.#bottom);
    this.#box.addEventListener("scroll", () => {
      const end = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < 24;
      // After a reader scrolled up, the log stays. It also scrolls by itself when its size changes.
      const up = this.#box.scrollTop < this.#top - 1;
      this.#top = this.#box.scrollTop;
      if (end || up) this.#atBottom = end;
      else if (this.#atBottom) this.#toBottom();
      this.#bottom.hidden = this.#atBottom;
    }, { passive: true });
  }

  /** Show the log of the latest attempt (`task`, if there is one) until it is complete. */
  start(task) {
    if (this.#following !== null && task === this.#task) return;
    this.stop();
    this.#following = new AbortController();
    this.#sized.observe(this.#box);
    this.#sized.observe(this.#lines);
    this.#follow(this.#following.signal);
  }

  stop() {
    this.#sized.disconnect();
    this.#following?.abort();
    this.#following = null;
  }

  async #follow(signal) {
    let from = null;
    while (!signal.aborted) {
      try {
        from ??= await this.#beginning();
        const answer = await this.#ask(from);
        if (signal.aborted) return;
        if (answer.task !== this.#task) {
          from = null; // It runs again, with a log of its own.
          continue;
        }
        this.#add(answer.text);
        this.#showEnd(answer);
        if (answer.over) return;
        const much = answer.next - from > PIECE;
        from = answer.next;
        if (!much) await pause(POLL_MS, signal);
      } catch (error) {
        const reason = why(error);
        if (signal.aborted) return;
        fill(this.#note, `The log can't be read: ${reason}. Trying again.`);
        await pause(4 * POLL_MS, signal);
      }
    }
  }

  #ask(from) {
    return ask(path("workflows", this.#workflow, "log"), { step: this.#step, from });
  }

  /** The offset to begin at: of a log that is longer than the part kept, only the end is read. */
  async #beginning() {
    const { next, task } = await this.#ask(END);
    this.#clear(task);
    this.#cut = next > KEPT;
    return Math.max(0, next - KEPT);
  }

  #clear(task) {
    this.#task = task;
    this.#lines.replaceChildren();
    this.#last.textContent = "";
    this.#rest = "";
    this.#kept = 0;
    this.#cut = false;
    this.#atBottom = true;
  }

  #showEnd({ over }) {
    const empty = this.#kept === 0 && this.#rest === "";
    const none = over ? "It wrote nothing." : "Nothing written yet.";
    fill(this.#note, this.#cut ? "Only the end of this log is shown." : empty ? none : null);
  }

  #add(text) {
    if (text === "") return;
    const all = this.#rest + text;
    let end = all.lastIndexOf("\n") + 1;
    if (all.length - end > PIECE) end = all.length;
    for (let start = 0; start < end;) {
      const line = all.lastIndexOf("\n", start + PIECE) + 1;
      const cut = end - start <= PIECE ? end : line > start ? line : start + PIECE;
      this.#piece(all.slice(start, cut));
      start = cut;
    }
    this.#rest = all.slice(end);
    this.#last.textContent = shown(this.#rest);
    if (this.#atBottom) this.#toBottom();
  }

  #piece(text) {
    const last = this.#lines.lastElementChild;
    if (last !== null && last.textContent.length + text.length <= PIECE) last.append(shown(text));
    else this.#lines.append(html("div", { class: "piece" }, shown(text)));
    this.#kept += text.length;
    while (this.#kept > KEPT && this.#lines.childElementCount > 1) {
      this.#kept -= this.#lines.firstElementChild.textContent.length;
      this.#lines.firstElementChild.remove();
      this.#cut = true;
    }
  }

  #toBottom() {
    this.#box.scrollTop = this.#box.scrollHeight;
  }
}

/** Lines as a terminal would leave them: without colours, and only the last of overwritten text. */
function shown(text) {
  const colourless = plain(text)
    .replace(/\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])/g, "");
  return colourless.replace(/\r+\n/g, "\n").replace(/[^\n]*\r(?=[^\n])/g, "");
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const clock = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(clock);
      resolve();
    }, { once: true });
  });
}
