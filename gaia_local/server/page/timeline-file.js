// @ts-check
// A file with one workflow's timeline: it has all that it shows, and asks no server.

import { AttemptsTable } from "./attempts-table.js";
import { TimelineChart } from "./chart.js";
import { fill, html } from "./dom.js";
import { TimelineFigures } from "./figures.js";
import { arrange } from "./lanes.js";
import { unpack } from "./packed.js";

const data = document.getElementById("timeline");
if (data === null) throw new Error("this file has no timeline in it");
const { workflow, now, attempts } = unpack(JSON.parse(data.textContent ?? ""));
const lanes = arrange(attempts, now);
const figures = new TimelineFigures();
const table = new AttemptsTable(attempts, now);
const chart = new TimelineChart(({ step }) => find(step));
const field = /** @type {HTMLInputElement} */ (html("input", {
  class: "field", type: "search", placeholder: "Find Steps or Commands",
  "aria-label": "Find Steps or Commands", input: () => find(field.value),
}));

/** Show attempts with this in the name of Step or Command, and the others faintly. */
function find(/** @type {string} */ text) {
  field.value = text;
  const wanted = text.toLowerCase();
  /** @param {TimelineAttempt} attempt */
  const fits = ({ step, command, state }) => wanted === "" || state === wanted
    || step.toLowerCase().includes(wanted) || (command ?? "").toLowerCase().includes(wanted);
  chart.filter((bar) => fits(bar.attempt));
  table.filter(fits);
}

figures.show(lanes, attempts, now);
chart.show(lanes, now);
fill(document.body, html("main", { class: "timeline" },
  html("h1", {}, workflow),
  html("div", { class: "line" }, figures.element,
    html("div", { class: "line" }, field, chart.tools)),
  chart.element, figures.table, table.element));
