"""The page's views of what is recorded, each alone on the page with acts that are noted."""

from __future__ import annotations

from playwright.sync_api import Page

from support.status_page import Site

_PREPARE = """
async ([name, module, view, more]) => {
  const made = (await import(`./${module}`))[view];
  window.acts = [];
  const acts = {};
  for (const act of ["open", "rerun", "show"])
    acts[act] = (...given) => window.acts.push([act, ...given]);
  const announcer = document.getElementById("announcer");
  for (const act of ["said", "problem"]) {
    acts[act] = (text) => {
      window.acts.push([act, text]);
      if (text !== null) announcer.textContent = text;
    };
  }
  window.view = more === null ? new made(name, acts) : new made(name, more, acts);
  window.slice = async (version = "1") => {
    const told = await (await fetch(`api/workflows/${encodeURIComponent(name)}/table`)).json();
    const steps = new Map(told.steps.map(({ step, state, task, started, ended }) => (
      [step, { state, task, started, ended }])));
    const graph = { version, steps: [], edges: [], labels: [], groupings: [], suggested: null };
    return { name, entry: null, graph, steps, about: null };
  };
  document.getElementById("view").replaceChildren(window.view.element);
  document.querySelectorAll("#lost").forEach((each) => each.remove());
}
"""


def mount(site: Site, name: str, module: str, view: str, step: str | None = None) -> Page:
    """Put a view of a workflow, or of its Step, alone on the page; it is ``window.view``.

    ``window.slice()`` makes a slice of the store, ``window.acts`` are the calls that it made. The
    last text of an order is in the announcer.
    """
    page = site.go()
    page.evaluate("document.body.classList.add('one')")
    page.evaluate(_PREPARE, [name, module, view, step])
    return page
