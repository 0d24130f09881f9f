// The page: the view for the address, and the connection to the server.

import { Stream } from "./api.js";
import { fill, html } from "./dom.js";
import { ListView } from "./list.js";
import { moment } from "./words.js";
import { WorkflowView } from "./workflow.js";

const place = document.getElementById("view");
const link = document.getElementById("link");
const lost = document.getElementById("lost");
const announcer = document.getElementById("announcer");

let shown = { name: undefined, view: null, stream: null };
let lostAt = null;
let met = false;

/** `#/WORKFLOW/STEP`, each name in a form that a URL can hold. */
function address() {
  const [, name = "", step = ""] = location.hash.split("?")[0].split("/");
  return { name: decoded(name) || null, step: decoded(step) || null };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

function go() {
  const { name, step } = address();
  const before = shown.name;
  if (name !== before) {
    shown.stream?.close();
    shown.view?.close();
    const view = name === null ? new ListView() : new WorkflowView(name, { open, announce });
    fill(place, view.element);
    shown = { name, view, stream: null };
    shown.stream = new Stream(name, (news, whole) => {
      view.changed(news, whole);
      document.title = view.title;
      if (whole && name === null && before) view.focus(before);
    }, (there, why) => linked(view, there, why));
    document.title = view.title;
    document.body.classList.toggle("one", name !== null);
    if (before !== undefined && name !== null) view.focus();
  }
  if (name !== null) shown.view.show(step, name === before);
}

/** Go to a Step of the workflow that is shown, or back from it. */
function open(step) {
  const wanted =
    `#/${[shown.name, step].filter((part) => part !== null).map(encodeURIComponent).join("/")}`;
  if (location.hash === wanted) shown.view.show(step, true);
  else location.hash = wanted;
}

function announce(text) {
  fill(announcer, text);
}

function linked(view, there, why) {
  met ||= there;
  lostAt = there ? null : lostAt ?? Date.now() / 1000;
  link.dataset.state = there ? "live" : "lost";
  fill(link, there ? "Live" : why === null ? "Not connected" : null);
  lost.hidden = there || why !== null;
  if (!there && why !== null) view.refused(why);
  if (there || why !== null) return;
  const since = moment(lostAt);
  fill(lost, html("p", {}, met
    ? `The connection to the server was lost at ${since}; what is shown is from then. Trying again.`
    : "The server can't be reached. Trying again."),
  html("button", { type: "button", class: "small", click: () => shown.stream.retry() }, "Try now"));
}

addEventListener("hashchange", go);
addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]") !== null) return;
  const typing = event.target.matches("input, textarea");
  if (event.key === "Escape" && address().step !== null) open(null);
  else if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey
    && shown.name !== null) shown.view.find();
  else return;
  event.preventDefault();
});
go();
