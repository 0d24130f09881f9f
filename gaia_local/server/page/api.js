// The server: questions, orders, and its stream of changes.

// The server says something every 15 s; this long without a word means that it is gone.
const SILENCE_MS = 40_000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000]; // Before each new try, in milliseconds.
// A hidden page looks this often instead of holding a connection: a browser has only a few.
const HIDDEN_POLL_MS = 15_000;

/** What the server refused, in its words. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.name = "Refused";
    this.status = status;
  }
}

/** The server didn't answer, or not to the end. */
export class Unreachable extends Error {
  constructor(cause) {
    super("the server can't be reached", { cause });
    this.name = "Unreachable";
  }
}

/** The path of a reading call, each part in a form that a URL can hold. */
export function path(...parts) {
  return ["api", ...parts.map(encodeURIComponent)].join("/");
}

/** The answer to a reading call. Raises `Refused` or `Unreachable`. */
export function ask(where, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  return answer(query ? `${where}?${query}` : where, { headers: { accept: "application/json" } });
}

/** The answer to an order: `run`, `halt` or `expire`. Raises as `ask` does. */
export function tell(method, body) {
  const headers = { "content-type": "application/json", accept: "application/json" };
  return answer(method, { method: "POST", headers, body: JSON.stringify(body) });
}

/** Why a call failed, for the reader. Errors of the page itself go on. */
export function why(error) {
  if (error instanceof Refused || error instanceof Unreachable) return error.message;
  throw error;
}

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

function refusal(status, text) {
  let message = text || `the server answered ${status}`;
  try {
    message = JSON.parse(text).error ?? message;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  const advice = " Open this page by the link that holds the token.";
  return new Refused(status === 401 ? message + advice : message, status);
}

/**
 * The server's changes: `changed(news, whole)` is called with everything after connecting, then
 * with the changes. With a workflow these include its Steps. `linked(true | false, why)` tells
 * whether the server answers; `why` is null if there was no answer. After the end of a server whose
 * root was removed, it says so until a server answers again. It reconnects until it is closed, and
 * disconnects while the page is hidden.
 */
export class Stream {
  #workflow;
  #changed;
  #linked;
  #closed = false;
  #connection = null;
  #gone = null;
  #wake = () => {};

  constructor(workflow, changed, linked) {
    this.#workflow = workflow;
    this.#changed = changed;
    this.#linked = linked;
    addEventListener("online", this.retry);
    document.addEventListener("visibilitychange", this.#visibilityChanged);
    this.#follow();
  }

  /** Try again now, where it waits before the next try. */
  retry = () => this.#wake();

  close() {
    this.#closed = true;
    removeEventListener("online", this.retry);
    document.removeEventListener("visibilitychange", this.#visibilityChanged);
    this.#connection?.abort();
    this.#wake();
  }

  #visibilityChanged = () => {
    if (document.hidden) this.#connection?.abort();
    else this.#wake();
  };

  async #follow() {
    let tries = 0;
    while (!this.#closed) {
      const hidden = document.hidden;
      try {
        await this.#listen(hidden, () => { tries = 0; });
      } catch (error) {
        const meant = this.#closed || (error.name === "AbortError" && document.hidden);
        const refused = error instanceof Refused && error.status < 500;
        if (!meant) this.#linked(false, refused ? error.message : this.#gone);
      }
      if (this.#closed) return;
      await this.#pause(document.hidden
        ? HIDDEN_POLL_MS : hidden ? 0 : RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
      tries += 1;
    }
  }

  /** Hear the server until the connection ends, or, with `once`, until the first news. */
  async #listen(once, heard) {
    const connection = new AbortController();
    this.#connection = connection;
    let watch = setTimeout(() => connection.abort(), SILENCE_MS);
    try {
      const query = this.#workflow === null
        ? "" : `?${new URLSearchParams({ workflow: this.#workflow })}`;
      const headers = { accept: "text/event-stream" };
      const response = await fetch(`api/stream${query}`, { signal: connection.signal, headers });
      if (!response.ok) throw refusal(response.status, await response.text());
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      let whole = true;
      for (;;) {
        const { value, done } = await reader.read();
        clearTimeout(watch);
        if (done) throw new Unreachable();
        watch = setTimeout(() => connection.abort(), SILENCE_MS);
        const events = (text + value).split("\n\n");
        text = events.pop();
        this.#gone =
          events.map((event) => parsed(event, "gone")).find((data) => data !== null) ?? null;
        const changes = events.map((event) => parsed(event, "changed"));
        for (const news of changes.filter((data) => data !== null)) {
          heard();
          this.#deliver(news, whole);
          whole = false;
          if (once) return;
        }
      }
    } finally {
      clearTimeout(watch);
      connection.abort();
    }
  }

  /** Called later, since errors of the listener are none of the connection. */
  #deliver(news, whole) {
    queueMicrotask(() => {
      if (this.#closed) return;
      this.#linked(true, null);
      this.#changed(news, whole);
    });
  }

  #pause(milliseconds) {
    return new Promise((resolve) => {
      const clock = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(clock);
        resolve();
      };
    });
  }
}

/** The data of an event of this kind; null for others. */
function parsed(event, kind) {
  const fields = event.split("\n").map((line) => line.match(/^(\w+): ?(.*)$/s)).filter(Boolean);
  if (!fields.some(([, name, value]) => name === "event" && value === kind)) return null;
  return JSON.parse(fields.filter(([, name]) => name === "data")
    .map(([, , value]) => value).join("\n"));
}
