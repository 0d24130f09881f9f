// @ts-check
// A part of the page that may fail without taking the rest with it.

/**
 * One view and its failures: the first is told to the reader, each is logged, and the next news are
 * given to the view as if nothing had happened.
 */
export class Part {
  /** @type {View | null} */
  view = null;
  #name;
  #report;
  #reported = false;

  /**
   * @param {string} name for the reader
   * @param {() => View} make
   * @param {(text: string) => void} report
   */
  constructor(name, make, report) {
    this.#name = name;
    this.#report = report;
    this.act(() => { this.view = make(); });
  }

  /** @param {Slice} slice @param {Record<string, string>} query */
  show(slice, query) {
    this.act(() => this.view?.show(slice, query));
  }

  close() {
    this.act(() => this.view?.close());
  }

  /** @param {() => unknown} what returns a promise if it goes on later */
  act(what) {
    try {
      const later = what();
      if (later instanceof Promise) later.catch(this.#failed);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {unknown} error */
  #failed = (error) => {
    console.error(error);
    if (this.#reported) return;
    this.#reported = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.#report(`This part of the page failed: ${this.#name}: ${reason}`);
  };
}
