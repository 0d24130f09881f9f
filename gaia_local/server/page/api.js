// @ts-check
// The server's answers: questions and orders.

/** What the server refused, in its words. */
export class Refused extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.name = "Refused";
    this.status = status;
  }
}

/** The server didn't answer, or not to the end. */
export class Unreachable extends Error {
  /** @param {unknown} [cause] */
  constructor(cause) {
    super("the server can't be reached", { cause });
    this.name = "Unreachable";
  }
}

/**
 * The path of a reading call, each part in a form that a URL can hold.
 * @param {...string} parts
 */
export function path(...parts) {
  return ["api", ...parts.map(encodeURIComponent)].join("/");
}

/**
 * The answer to a reading call. Raises `Refused` or `Unreachable`.
 * @param {string} where
 * @param {Record<string, any>} parameters
 * @returns {Promise<any>}
 */
export function ask(where, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return answer(query ? `${where}?${query}` : where, { headers: { accept: "application/json" } });
}

/**
 * The answer to an order: `run`, `halt` or `expire`. Raises as `ask` does.
 * @param {string} method
 * @param {object} body
 * @returns {Promise<any>}
 */
export function tell(method, body) {
  const headers = { "content-type": "application/json", accept: "application/json" };
  return answer(method, { method: "POST", headers, body: JSON.stringify(body) });
}

/**
 * Why a call failed, for the reader. Errors of the page itself go on.
 * @param {unknown} error
 */
export function why(error) {
  if (error instanceof Refused || error instanceof Unreachable) return error.message;
  throw error;
}

/** @param {string} where @param {RequestInit} options */
async function answer(where, options) {
  let response, text;
  try {
    response = await fetch(where, options);
    text = await response.text();
  } catch (error) {
    throw new Unreachable(error);
  }
  if (!response.ok) throw refusal(response.status, text);
  return JSON.parse(text);
}

/**
 * The error for an answer that is a refusal.
 * @param {number} status
 * @param {string} text the answer's body
 */
export function refusal(status, text) {
  let message = text || `the server answered ${status}`;
  try {
    message = JSON.parse(text).error ?? message;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const advice = " Open this page by the link that holds the token.";
  return new Refused(status === 401 ? message + advice : message, status);
}
