// @ts-check
// The page: its state, the view for the address, and the connection to the server.

import { fill, html } from "./dom.js";
import { Follower } from "./follower.js";
import { ListView } from "./list.js";
import { Reader } from "./reader.js";
import { format, parse, towards } from "./route.js";
import { announcement, initial, reduce } from "./store.js";
import { moment } from "./words.js";
import { WorkflowView } from "./workflow.js";

const HIDDEN_MS = 500; // A page that isn't drawn takes news in this often.

class Page {
  #state = initial(parse(location.hash));
  /** @type {PageState | null} */
  #drawn = null;
  /** @type {ListView | WorkflowView} */
  #view;
  /** @type {Reader | null} */
  #reader = null;
  #waits = false;
  #follower = new Follower((news) => this.#take(news));
  #place = part("view");
  #link = part("link");
  #lost = part("lost");
  #announcer = part("announcer");

  constructor() {
    this.#view = this.#make();
    addEventListener("hashchange", () => this.#go());
    addEventListener("focus", () => this.#take({ kind: "look" }));
    addEventListener("keydown", this.#key);
    this.#draw();
  }

  /** Take news in; they are drawn with the next frame. @param {News} news */
  #take(news) {
    const before = this.#state;
    this.#state = reduce(before, news);
    if (this.#state === before || this.#waits) return;
    this.#waits = true;
    if (document.hidden) setTimeout(this.#draw, HIDDEN_MS);
    else requestAnimationFrame(this.#draw);
  }

  #draw = () => {
    this.#waits = false;
    const [before, state] = [this.#drawn, this.#state];
    this.#drawn = state;
    if (before === state) return;
    this.#view.show(state);
    document.title = this.#view.title;
    if (state.slice !== null) this.#reader?.know(state.slice);
    if (before?.link !== state.link) this.#showLink();
    const news = before === null ? null : announcement(before, state);
    if (news !== null) fill(this.#announcer, news);
  };

  /** Follow the address. */
  #go() {
    const before = this.#state.route.name;
    this.#state = reduce(this.#state, { kind: "route", route: parse(location.hash) });
    const { name } = this.#state.route;
    if (name !== before) {
      this.#view.close();
      this.#reader?.close();
      this.#view = this.#make();
    }
    this.#draw();
    if (name !== before) this.#view.focus(before);
  }

  /** The view for the workflow of the address, or the list. */
  #make() {
    const { name } = this.#state.route;
    const acts = { open: this.#open };
    const view = name === null ? new ListView(acts) : new WorkflowView(name, acts);
    fill(this.#place, view.element);
    document.body.classList.toggle("one", name !== null);
    this.#reader = name === null ? null : new Reader(name,
      (news) => this.#take(news),
      (text) => { if (view instanceof WorkflowView) view.complain(text); });
    this.#follower.follow(name);
    return view;
  }

  /** Go to a Step of the workflow that is shown, or back from it. @type {Acts["open"]} */
  #open = (step, query = {}) => {
    const wanted = format(towards(this.#state.route, step, query));
    if (format(parse(location.hash)) !== wanted) location.hash = wanted;
    else if (this.#view instanceof WorkflowView) this.#view.focusPart();
  };

  #showLink() {
    const { state, why, since, met } = this.#state.link;
    if (state === "unknown") return;
    const lost = state === "lost";
    this.#link.dataset.state = state;
    fill(this.#link, lost ? (why === null ? "Not connected" : null) : "Live");
    this.#lost.hidden = !lost || why !== null;
    if (this.#lost.hidden || since === null) return;
    fill(this.#lost, html("p", {}, met
      ? `The connection to the server was lost at ${moment(since)}; `
        + "what is shown is from then. Trying again."
      : "The server can't be reached. Trying again."),
    html("button",
      { type: "button", class: "small", click: () => this.#follower.retry() }, "Try now"));
  }

  #key = (/** @type {KeyboardEvent} */ event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]") !== null) return;
    const typing = event.target instanceof Element
      && event.target.matches("input, textarea, select");
    if (event.key === "Escape" && this.#state.route.step !== null) this.#open(null);
    else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey
      && this.#view instanceof WorkflowView) this.#view.find();
    else return;
    event.preventDefault();
  };
}

/** @param {string} id */
function part(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`index.html has no #${id}`);
  return element;
}

new Page();
