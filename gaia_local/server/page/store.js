// @ts-check
// What the page knows, and how news change it: pure, so that it needs no browser.

const FAILED = ["error", "exception"];
/** @type {ReadonlyMap<string, any>} */
const NOTHING = new Map();

/** @param {string} state */
export const hasFailed = (state) => FAILED.includes(state);

/**
 * The state before any news.
 * @param {Route} route
 * @returns {PageState}
 */
export function initial(route) {
  return {
    route, link: { state: "unknown", why: null, since: null, met: false },
    workflows: null, slice: sliceOf(route.name), refused: null,
  };
}

/**
 * The state after some news. What didn't change stays the same object; nothing is written to.
 * @param {PageState} state
 * @param {News} news
 * @returns {PageState}
 */
export function reduce(state, news) {
  switch (news.kind) {
    case "route": return routed(state, news.route);
    case "link": return { ...state, link: linked(state.link, news), refused: refusal(state, news) };
    case "refused":
      return news.follow === state.route.name ? { ...state, refused: news.text } : state;
    case "stream": return streamed(state, news);
    case "graph":
      return sliced(state, news.name, ({ about }) => known({ graph: news.graph, about }));
    case "about":
      return sliced(state, news.name, ({ graph }) => known({ graph, about: news.about }));
    case "look": return sliced(state, state.route.name, ({ due }) => ({ due: due + 1 }));
  }
}

/** @param {string | null} name @returns {Slice | null} */
function sliceOf(name) {
  return name === null ? null
    : { name, entry: null, graph: null, steps: NOTHING, about: null, missing: [], version: null,
      due: 0 };
}

/** @param {PageState} state @param {Route} route @returns {PageState} */
function routed(state, route) {
  if (route.name === state.route.name) return { ...state, route };
  return { ...state, route, slice: sliceOf(route.name), refused: null };
}

/** @param {PageState["link"]} link @param {LinkNews} news @returns {PageState["link"]} */
function linked(link, { there, why, at }) {
  return there ? { state: "live", why: null, since: null, met: true }
    : { state: "lost", why, since: link.since ?? at, met: link.met };
}

/** @param {PageState} state @param {LinkNews} news */
function refusal(state, { there, why }) {
  return there || why === null ? state.refused : why;
}

/**
 * @param {PageState} state
 * @param {string | null} name
 * @param {(slice: Slice) => Partial<Slice>} change
 * @returns {PageState}
 */
function sliced(state, name, change) {
  if (state.slice === null || state.slice.name !== name) return state;
  return { ...state, slice: { ...state.slice, ...change(state.slice) } };
}

/** @param {PageState} state @param {StreamNews} news @returns {PageState} */
function streamed(state, news) {
  if (news.follow !== state.route.name) return state; // said before the reader went elsewhere
  const workflows = merged(state.workflows ?? NOTHING, news.workflows, news.whole);
  const { slice } = state;
  if (slice === null) return { ...state, workflows, refused: null };
  const entry = workflows.get(slice.name) ?? null;
  const deleted = news.workflows.get(slice.name) === null;
  const steps = merged(slice.steps, news.steps, news.whole);
  const version = news.graph ?? slice.version;
  const after = { ...slice, entry: entry ?? slice.entry, steps, version };
  if (news.whole || noticeable(slice, after, news.steps)) after.due += 1;
  const refused = deleted ? "This workflow was deleted." : entry === null ? state.refused : null;
  return { ...state, workflows, slice: after, refused };
}

/**
 * A map with the changes (null: gone). With `whole` they are all there is.
 * @template T
 * @param {ReadonlyMap<string, T>} before
 * @param {ReadonlyMap<string, T | null>} changes
 * @param {boolean} whole
 * @returns {ReadonlyMap<string, T>}
 */
function merged(before, changes, whole) {
  if (changes.size === 0 && !whole) return before;
  const after = new Map(whole ? NOTHING : before);
  for (const [name, value] of changes) {
    const had = before.get(name);
    if (value === null) after.delete(name);
    else after.set(name, had !== undefined && equal(had, value) ? had : value);
  }
  return after;
}

/** @param {any} one @param {any} other */
function equal(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

/**
 * Whether failures, missing inputs or the error of a workflow may have changed: the server is asked
 * for them only then. Inputs come and go with Steps that wait.
 * @param {Slice} before
 * @param {Slice} after
 * @param {ReadonlyMap<string, StepNews | null>} changes
 */
function noticeable(before, after, changes) {
  if (before.version !== after.version || before.entry === null) return true;
  for (const key of ["failed", "unfit", "lacks", "reused", "steps"])
    if (before.entry.progress?.[key] !== after.entry?.progress?.[key]) return true;
  if (before.entry.state !== after.entry?.state) return true;
  for (const [step, news] of changes) {
    const [was, is] = [before.steps.get(step)?.state, news?.state];
    if ([was, is].some((state) => state !== undefined && hasFailed(state))) return true;
    if (is === "waiting" || (was === "waiting" && before.missing.length > 0)) return true;
  }
  return false;
}

/**
 * What a screen reader is told of a change: the workflow's new state, Steps that failed.
 * @param {PageState} before
 * @param {PageState} after
 * @returns {string | null}
 */
export function announcement({ slice: before }, { slice: after }) {
  if (before === null || after === null || before.name !== after.name) return null;
  if (before === after || before.entry === null || after.entry === null) return null;
  if (before.entry.state !== after.entry.state) return `Workflow: ${after.entry.state}.`;
  if (before.steps === after.steps) return null;
  const failed = [...after.steps].filter(([step, { state }]) => {
    const had = before.steps.get(step);
    return hasFailed(state) && had !== undefined && had.state !== state;
  });
  if (failed.length === 0) return null;
  const [[step, { state }]] = failed;
  return failed.length === 1 ? `Step ${step}: ${state}.` : `${failed.length} Steps failed.`;
}

/**
 * With the inputs that the workflow waits for and that none of its Steps makes.
 * @param {{ graph: Graph | null, about: Record<string, any> | null }} answers
 * @returns {Partial<Slice>}
 */
function known({ graph, about }) {
  const waiting = about?.["waiting-inputs"] ?? [];
  if (waiting.length === 0 || graph === null) return { graph, about, missing: [] };
  const made = new Set(graph.edges.flatMap(({ keys }) => keys));
  return { graph, about, missing: waiting.filter((/** @type {string} */ key) => !made.has(key)) };
}
