// @ts-check
// What is asked of the server besides the stream: the graph, and what wants attention.

import { ask, path, why } from "./api.js";
import { Refresher } from "./refresher.js";

export class Reader {
  #graph;
  #about;

  /**
   * @param {string} name the workflow's
   * @param {(news: News) => void} take
   * @param {(text: string) => void} failed
   */
  constructor(name, take, failed) {
    let had = false;
    this.#graph = new Refresher(async (version) => {
      const graph = await answer(path("workflows", name, "graph"),
        (text) => { if (!had) failed(`The workflow can't be shown: ${text}.`); });
      if (graph === null) return null;
      had = true;
      take({ kind: "graph", name, graph });
      return graph.version ?? version;
    });
    this.#about = new Refresher(async (due) => {
      // The stream reports a server or a workflow that is gone.
      const about = await answer(path("workflows", name), () => {});
      if (about !== null) take({ kind: "about", name, about });
      return about === null ? null : due;
    });
  }

  /** @param {Slice} slice */
  know({ version, due }) {
    this.#graph.want(version);
    this.#about.want(due === 0 ? null : due);
  }

  close() {
    this.#graph.close();
    this.#about.close();
  }
}

/** @param {string} where @param {(reason: string) => void} failed */
async function answer(where, failed) {
  try {
    return await ask(where);
  } catch (error) {
    failed(why(error));
    return null;
  }
}
