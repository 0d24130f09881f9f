// @ts-check
// Addresses on the page: `#/WORKFLOW/STEP?view=table`, each name in a form that a URL can hold.

/**
 * What an address asks for. Raises nothing: a part that can't be decoded is taken as it is.
 * @param {string} hash
 * @returns {Route}
 */
export function parse(hash) {
  const [place, ...rest] = hash.replace(/^#/, "").split("?");
  const [, name = "", step = ""] = place.split("/");
  const query = Object.fromEntries(new URLSearchParams(rest.join("?")));
  return { name: decoded(name) || null, step: decoded(step) || null, query };
}

/**
 * The address of a route.
 * @param {{ name?: string | null, step?: string | null, query?: Record<string, string> }} route
 */
export function format({ name = null, step = null, query = {} }) {
  const names = [name, step].filter((part) => part !== null).map(encodeURIComponent);
  const parameters = new URLSearchParams(query).toString();
  return `#/${names.join("/")}${parameters === "" ? "" : `?${parameters}`}`;
}

// What belongs to the tab; all else belongs to the Step's panel.
const OF_THE_TAB = ["view", "state"];

/**
 * The route to a Step of the workflow that is shown (null: to the workflow alone). The tab stays as
 * it is unless `query` names another; an empty value takes a parameter away.
 * @param {Route} route
 * @param {string | null} step
 * @param {Record<string, string>} query
 * @returns {Route}
 */
export function towards(route, step, query) {
  const kept = Object.entries(route.query).filter(([name]) => OF_THE_TAB.includes(name));
  const wanted = [...kept, ...Object.entries(query)];
  return {
    name: route.name, step,
    query: Object.fromEntries(new Map(wanted.filter(([name]) => query[name] !== ""))),
  };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}
