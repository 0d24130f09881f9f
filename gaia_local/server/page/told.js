// @ts-check
// What a picture says of a workflow's Steps and groups: names, states, times, and keys on edges.

import { brief, summary } from "./groups.js";
import { count, duration, several } from "./words.js";

const FAILED = ["error", "exception"];

/** One graph and the news of its Steps. Steps are told by their index in the graph. */
export class Told {
  /** @type {Graph} */
  graph;
  /** Whether the Command's name tells more than the Step's. */
  #telling;
  /** @type {ReadonlyMap<string, StepNews>} */
  #news = new Map();
  /** @type {Map<string, Summary>} */
  #summaries = new Map();
  /** @type {Map<string, number>} */
  #places;

  /** @param {Graph} graph */
  constructor(graph) {
    this.graph = graph;
    this.#places = new Map(graph.steps.map(({ step }, index) => [step, index]));
    this.#telling = new Set(graph.steps.map(({ command }) => command)).size < graph.steps.length;
  }

  /**
   * Take in the news of all Steps; says which Steps' news changed.
   * @param {ReadonlyMap<string, StepNews>} news @returns {Set<number>}
   */
  hear(news) {
    /** @type {Set<number>} */
    const changed = new Set();
    if (news === this.#news) return changed;
    this.graph.steps.forEach(({ step }, index) => {
      if (news.get(step) !== this.#news.get(step)) changed.add(index);
    });
    this.#news = news;
    if (changed.size > 0) this.#summaries.clear();
    return changed;
  }

  /** @param {string} name @returns {number | undefined} */
  place(name) {
    return this.#places.get(name);
  }

  /** @param {number} step */
  name(step) {
    return this.graph.steps[step].step;
  }

  /** @param {number} step */
  label(step) {
    return this.graph.labels[step] ?? this.name(step);
  }

  /** @param {number} step */
  state(step) {
    const { step: name, state } = this.graph.steps[step];
    return this.#news.get(name)?.state ?? state;
  }

  /** The second line of a Step's box: its state, and its Command or its time.
   * @param {number} step @param {string} state
   */
  note(step, state = this.state(step)) {
    const { step: name, command } = this.graph.steps[step];
    if (this.#telling) return command === name ? state : `${state} · ${command}`;
    const news = this.#news.get(name);
    return news !== undefined && news.started !== null && news.ended !== null
      ? `${state} · ${brief(Math.max(0, news.ended - news.started))}` : state;
  }

  /** The name of a Step for a screen reader. @param {number} step */
  spoken(step) {
    const { step: name, command } = this.graph.steps[step];
    return `${name}, ${this.state(step)}${command === name ? "" : `, Command ${command}`}`;
  }

  /** @param {DrawnGroup} group @returns {Summary} */
  summary(group) {
    const known = this.#summaries.get(group.id);
    if (known !== undefined) return known;
    const found = summary(group.steps.map((step) => {
      const news = this.#news.get(this.name(step));
      return {
        state: this.state(step), started: news?.started ?? null, ended: news?.ended ?? null,
      };
    }));
    this.#summaries.set(group.id, found);
    return found;
  }

  /** @param {DrawnGroup} group */
  spokenGroup(group) {
    const { counts, total, median, timed } = this.summary(group);
    const kind = group.by === "command" ? "Command" : "Group";
    const states = [...counts].map(([state, number]) => `${number} ${state}`).join(", ");
    const times = timed === 0 ? ""
      : `; ${duration(total)} in all, median ${duration(median)}`;
    return `${kind} ${group.name}, ${count(group.steps.length, "Step")}: ${states}${times}`;
  }

  /** A group's times where there is little room; empty if nothing ended yet.
   * @param {DrawnGroup} group
   */
  times(group) {
    const { total, median, timed } = this.summary(group);
    return timed === 0 ? "" : `${brief(total)} in all · median ${brief(median)}`;
  }

  /**
   * The Steps that are to be seen first: those that failed, or else those that run.
   * @returns {Set<number>}
   */
  urgent() {
    const all = this.graph.steps.map((_, step) => step);
    const failed = all.filter((step) => FAILED.includes(this.state(step)));
    return new Set(failed.length ? failed : all.filter((step) => this.state(step) === "running"));
  }

  /** The keys on an edge that stands for some of the graph's. @param {number[]} links */
  edge(links) {
    const edges = links.map((link) => this.graph.edges[link]);
    const [makers, readers] = [new Set(edges.map(({ from }) => from)),
      new Set(edges.map(({ to }) => to))];
    const keys = [...new Set(edges.flatMap((edge) => edge.keys))];
    const end = (/** @type {Set<string>} */ names) => (
      names.size === 1 ? [...names][0] : count(names.size, "Step"));
    return `${end(makers)} → ${end(readers)}: ${several(keys, 6)}`;
  }

  /** What a Step reads from others, and who reads what it makes. @param {number} step */
  keys(step) {
    const name = this.name(step);
    const told = [];
    const [into, out] = [this.graph.edges.filter(({ to }) => to === name),
      this.graph.edges.filter(({ from }) => from === name)];
    const part = (/** @type {GraphEdge[]} */ edges, /** @type {"from" | "to"} */ end) => [
      several([...new Set(edges.flatMap(({ keys }) => keys))]),
      several(edges.map((edge) => edge[end]), 3),
    ];
    if (into.length) {
      const [keys, makers] = part(into, "from");
      told.push(`reads ${keys} from ${makers}`);
    }
    if (out.length) {
      const [keys, readers] = part(out, "to");
      told.push(`makes ${keys} for ${readers}`);
    }
    return told.length ? `${name} ${told.join("; ")}` : `${name} shares no key with another Step`;
  }

  /** Whether a Step is among those that a filter wants (`failed`, or a state; none: all).
   * @param {number} step @param {string | undefined} filter
   */
  wanted(step, filter) {
    if (filter === undefined || filter === "") return true;
    const state = this.state(step);
    return filter === "failed" ? FAILED.includes(state) : state === filter;
  }
}
