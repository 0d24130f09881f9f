"""The parts of a workflow's page together: links lead where they should, and nothing is left."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from support.status_page import Site, chain

COUNTED = """
window.held = { listeners: 0, intervals: 0, observers: 0 };
for (const kind of [Window, Document, MediaQueryList]) {
  const { addEventListener: add, removeEventListener: remove } = EventTarget.prototype;
  const known = new WeakMap();
  kind.prototype.addEventListener = function (name, listener, ...rest) {
    const names = known.get(listener) ?? new Set();
    if (listener && !names.has(name)) held.listeners += 1;
    if (listener) known.set(listener, names.add(name));
    return add.call(this ?? window, name, listener, ...rest);
  };
  kind.prototype.removeEventListener = function (name, listener, ...rest) {
    if (known.get(listener)?.delete(name)) held.listeners -= 1;
    return remove.call(this ?? window, name, listener, ...rest);
  };
}
const intervals = new Set();
const { setInterval: begin, clearInterval: end } = window;
window.setInterval = (...given) => {
  const id = begin(...given);
  held.intervals = intervals.add(id).size;
  return id;
};
window.clearInterval = (id) => {
  intervals.delete(id);
  held.intervals = intervals.size;
  end(id);
};
for (const name of ["ResizeObserver", "MutationObserver", "IntersectionObserver"]) {
  window[name] = class extends window[name] {
    #on = false;
    observe(...given) {
      if (!this.#on) held.observers += 1;
      this.#on = true;
      super.observe(...given);
    }
    disconnect() {
      if (this.#on) held.observers -= 1;
      this.#on = false;
      super.disconnect();
    }
  };
}
"""
"""Counts what a view could leave behind, in ``window.held``."""


def failed(site: Site) -> None:
    """Two Steps, of which the second failed, after 300 lines."""
    chain(site.gaia, "w", "seq -f 'line %.0f' 300; exit 3")
    site.gaia.wait("w")


def at(page: Page, end: str) -> None:
    expect(page).to_have_url(re.compile(re.escape(end) + "$"))


def test_an_address_names_a_line_of_an_earlier_attempt(site: Site) -> None:
    failed(site)
    first = site.gaia.attempt("w", "two")["task"]
    site.gaia.run("w")
    site.gaia.wait("w")
    page = site.page
    page.goto(f"{site.server.url}#/w/two?line=120")
    linked = page.locator(".log .row.linked")
    expect(linked.locator(".text")).to_have_text("line 120")
    expect(linked).to_be_in_viewport()
    page.get_by_role("button", name="Log of attempt 1").click()
    at(page, f"#/w/two?task={first}")
    expect(page.locator(".log-view > .note")).to_contain_text("an earlier attempt")
    expect(linked).to_have_count(0)
    page.get_by_role("link", name="Show the latest").click()
    at(page, "#/w/two")
    expect(page.locator(".log-view > .note")).to_be_hidden()


def test_a_count_leads_to_a_filter_of_the_table_and_a_row_to_its_step(site: Site) -> None:
    failed(site)
    page = site.go("w")
    page.locator(".legend a", has_text="error").click()
    expect(page).to_have_url(re.compile("state="))
    page.goto(f"{site.server.url}#/w?view=table&state=failed")
    rows = page.locator(".rows tbody .step")
    expect(rows).to_have_text(["two"])
    rows.get_by_role("link").click()
    at(page, "#/w/two?view=table&state=failed")
    expect(page.locator(".panel h2")).to_have_text("two")
    expect(rows).to_have_text(["two"])
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".panel")).to_have_count(0)
    expect(page.get_by_label("State", exact=True)).to_have_value("failed")


def test_a_bar_of_the_timeline_leads_to_the_attempt(site: Site) -> None:
    failed(site)
    page = site.page
    page.goto(f"{site.server.url}#/w?view=timeline")
    bars = page.get_by_role("listbox")
    bars.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_have_text("one")
    at(page, f"?view=timeline&task={site.gaia.attempt('w', 'one')['task']}")
    expect(bars).to_be_visible()


def test_what_is_left_leaves_nothing_behind(site: Site) -> None:
    failed(site)
    page = site.page
    page.add_init_script(COUNTED)
    site.go("w", "two")

    def round_trip() -> dict[str, int]:
        for view in ("Graph", "Table", "Timeline", "Definition"):
            page.get_by_role("tab", name=view).click()
            page.goto(f"{site.server.url}#/w/two?view={view.lower()}")
            expect(page.locator(".panel .log .rows .row").first).to_be_visible()
            page.get_by_role("button", name="Close").click()
            expect(page.locator(".panel")).to_have_count(0)
        page.get_by_role("link", name="All workflows").click()
        page.locator(".workflows .name").wait_for()
        held: dict[str, int] = page.evaluate("({ ...window.held })")
        page.locator(".workflows .name").click()
        expect(page.locator(".standing .badge")).to_have_text("error")
        return held

    first = round_trip()
    assert [round_trip() for _ in range(2)] == [first, first]
