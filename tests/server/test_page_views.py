"""How the status page takes news in: its tabs, its one connection, and parts of it that fail."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect
from starlette.types import Receive, Scope, Send

from gaia_local.server.stream import EventStream
from support.builders import step
from support.fixtures import WaitUntil
from support.gates import Fifo
from support.status_page import Site, chain, held, talk

COUNT_LISTENERS = """
(() => {
    const kept = [];
    window.listeners = () => kept.length;
    const lasting = (target) => target === window || target === document
        || target instanceof MediaQueryList || target instanceof AbortSignal;
    const add = EventTarget.prototype.addEventListener;
    const remove = EventTarget.prototype.removeEventListener;
    EventTarget.prototype.addEventListener = function (type, act, options) {
        const target = this ?? window;
        if (lasting(target) && !options?.once) kept.push([target, type, act]);
        return add.call(target, type, act, options);
    };
    EventTarget.prototype.removeEventListener = function (type, act, options) {
        const target = this ?? window;
        const index = kept.findIndex((each) => each[0] === target && each[1] === type
            && each[2] === act);
        if (index >= 0) kept.splice(index, 1);
        return remove.call(target, type, act, options);
    };
    const timers = new Set();
    window.timers = () => timers.size;
    for (const [start, stop, again] of [
        ["setTimeout", "clearTimeout", false], ["setInterval", "clearInterval", true]]) {
        const [begin, end] = [window[start], window[stop]];
        window[start] = (act, ...rest) => {
            const id = begin(() => { if (!again) timers.delete(id); act(); }, ...rest);
            timers.add(id);
            return id;
        };
        window[stop] = (id) => { timers.delete(id); end(id); };
    }
    const observers = new Set();
    window.observers = () => observers.size;
    window.ResizeObserver = class extends ResizeObserver {
        observe(...all) { super.observe(...all); observers.add(this); }
        disconnect() { super.disconnect(); observers.delete(this); }
    };
})();
"""
"""Counts the listeners, timers and observers that a view could leave behind."""


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The query of each stream that a client holds now."""
    held: list[str] = []
    serve = EventStream.__call__

    async def counted(self: EventStream, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"].decode()
        held.append(query)
        try:
            await serve(self, scope, receive, send)
        finally:
            held.remove(query)

    monkeypatch.setattr(EventStream, "__call__", counted)
    return held


# -------------------------------------------------------------------------------------------- tabs


def test_tabs_have_addresses_and_are_walked_by_arrow_keys(site: Site) -> None:
    chain(site.gaia, "me_tabs")
    site.gaia.wait("me_tabs")
    page = site.go("me_tabs")
    tabs = page.get_by_role("tablist", name="Views").get_by_role("tab")
    expect(tabs).to_have_text(["Graph", "Table", "Timeline", "Definition"])
    expect(page.get_by_role("tab", name="Graph")).to_have_attribute("aria-selected", "true")
    page.get_by_role("tab", name="Graph").focus()
    for key, name, query in [
        ("ArrowRight", "Table", "?view=table"),
        ("End", "Definition", "?view=definition"),
        ("ArrowLeft", "Timeline", "?view=timeline"),
        ("Home", "Graph", ""),
        ("ArrowLeft", "Definition", "?view=definition"),
    ]:
        page.keyboard.press(key)
        tab = page.get_by_role("tab", name=name)
        expect(tab).to_have_attribute("aria-selected", "true")
        expect(tab).to_be_focused()
        expect(page.get_by_role("tabpanel", name=name)).to_be_visible()
        expect(page.get_by_role("tabpanel")).to_have_count(1)
        assert page.url.endswith(f"#/me_tabs{query}")
    page.go_back()
    expect(page.get_by_role("tab", name="Graph")).to_have_attribute("aria-selected", "true")


def test_the_tab_stays_while_steps_are_opened_and_closed(site: Site) -> None:
    chain(site.gaia, "me_stays")
    site.gaia.wait("me_stays")
    page = site.go("me_stays")
    page.get_by_role("tab", name="Table").click()
    page.keyboard.press("/")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_be_focused()
    assert page.url.endswith("#/me_stays/two?view=table")
    page.get_by_role("tab", name="Timeline").click()
    expect(page.locator(".panel h2")).to_have_text("two")
    page.get_by_role("tab", name="Timeline").press("Escape")
    expect(page.locator(".panel")).to_have_count(0)
    assert page.url.endswith("#/me_stays?view=timeline")


def test_counts_lead_to_the_table_of_these_steps(site: Site, gate: Fifo) -> None:
    chain(site.gaia, "me_failed", "exit 3")
    site.gaia.wait("me_failed")
    chain(site.gaia, "me_runs", held(gate))
    page = site.go()
    page.get_by_role("link", name="1 running", exact=True).click()
    expect(page.get_by_role("tabpanel", name="Table")).to_be_visible()
    assert page.url.endswith("#/me_runs?view=table&state=running")
    page.go_back()
    page.get_by_role("link", name="1 failed", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("me_failed")
    assert page.url.endswith("#/me_failed?view=table&state=failed")
    page.locator(".legend").get_by_role("link", name="1 complete").click()
    assert page.url.endswith("#/me_failed?view=table&state=complete")
    page.get_by_role("tab", name="Graph").click()
    assert page.url.endswith("#/me_failed")
    page.locator(".legend").get_by_role("link", name="1 error").press("Enter")
    expect(page.get_by_role("tabpanel", name="Table")).to_be_focused()
    gate.open("go\n")


# ------------------------------------------------------------------------------------------- order


def test_the_list_sorts_by_name_if_asked_to(site: Site) -> None:
    for number in (9, 10, 1):
        site.gaia.upload(f"me_{number}", {}, [talk("c", "true")], [])
    page = site.go()
    names = page.locator(".workflows .name")
    expect(names).to_have_text(["me_1", "me_10", "me_9"])
    page.get_by_label("Order").select_option("by name")
    expect(names).to_have_text(["me_1", "me_9", "me_10"])
    page.reload()
    expect(names).to_have_text(["me_1", "me_9", "me_10"])
    site.gaia.upload("me_2", {}, [talk("c", "true")], [])
    expect(names).to_have_text(["me_1", "me_2", "me_9", "me_10"])
    page.get_by_label("Order").select_option("newest first")
    expect(names).to_have_text(["me_2", "me_1", "me_10", "me_9"])


def test_steps_are_found_in_natural_order(site: Site) -> None:
    steps = [step(f"s{number}", "c", f"k:{number}") for number in (10, 9, 100, 1)]
    site.gaia.upload("me_order", {}, [talk("c", "exit 1")], steps)
    site.gaia.wait("me_order")
    page = site.go("me_order")
    expect(page.locator(".notice.bad")).to_have_text("4 Steps failed: s1, s9, s10, s100")
    page.get_by_role("combobox", name="Find a Step").fill("s")
    options = page.get_by_role("listbox", name="Steps").get_by_role("option")
    expect(options).to_have_text(["s1", "s9", "s10", "s100"])


# ------------------------------------------------------------------------------------------ failing


def test_a_view_that_fails_says_so_once_and_the_news_go_on(site: Site, gate: Fifo) -> None:
    site.expected += ["torn"]
    chain(site.gaia, "me_torn", held(gate))
    page = site.page
    page.add_init_script(
        """(async () => {
            const { GraphView } = await import("./graph.js");
            window.shown = 0;
            GraphView.prototype.show = () => { window.shown += 1; throw new Error("torn"); };
        })();"""
    )
    errors: list[str] = []
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    site.go("me_torn")
    problem = page.locator(".problem")
    expect(problem).to_contain_text("This part of the page failed: Graph: torn")
    page.get_by_role("button", name="Dismiss").click()
    shown = page.evaluate("window.shown")
    gate.open("go\n")
    expect(page.locator(".standing .badge")).to_have_text("complete")
    expect(page.locator(".legend")).to_have_text("2 complete")
    assert page.evaluate("window.shown") > shown
    expect(problem).to_be_hidden()
    assert len(errors) >= 2
    page.get_by_role("tab", name="Table").click()
    expect(page.get_by_role("tabpanel", name="Table")).to_be_visible()


def test_a_view_that_fails_later_says_so_too(site: Site) -> None:
    site.expected += ["torn"]
    chain(site.gaia, "me_late")
    page = site.page
    page.add_init_script(
        """(async () => {
            const { GraphView } = await import("./graph.js");
            GraphView.prototype.show = async () => { await null; throw new Error("torn"); };
        })();"""
    )
    site.go("me_late")
    expect(page.locator(".problem")).to_contain_text("This part of the page failed: Graph: torn")


def test_views_leave_no_listener_timer_or_observer_behind(site: Site) -> None:
    chain(site.gaia, "me_left")
    site.gaia.wait("me_left")
    page = site.page
    page.add_init_script(COUNT_LISTENERS)
    site.go()

    def left() -> list[int]:
        # The graph's and the log's questions end within a second or so after their view.
        page.wait_for_function("() => timers() === 0")
        return [int(page.evaluate(each)) for each in ("listeners()", "observers()")]

    def look() -> None:
        page.get_by_role("link", name="me_left").click()
        expect(page.locator(".node.step")).to_have_count(2)
        for name in ("Table", "Timeline", "Definition", "Graph"):
            page.get_by_role("tab", name=name).click()
        site.node("two").click()
        expect(page.locator(".panel .log")).to_be_attached()
        page.get_by_role("link", name="All workflows").click()
        expect(page.get_by_role("heading", name="Workflows")).to_be_visible()

    look()
    first = left()
    for _ in range(20):
        look()
    assert left() == first


# -------------------------------------------------------------------------------- asking the server


def test_the_graph_is_asked_for_only_when_there_is_another(site: Site, gate: Fifo) -> None:
    chain(site.gaia, "me_asks", held(gate))
    asked: list[str] = []
    site.page.on("request", lambda made: asked.append(made.url.rpartition("/api/")[2]))
    page = site.go("me_asks")
    expect(site.node("two, running")).to_be_visible()
    gate.open("go\n")
    expect(site.node("two, complete")).to_be_visible()
    assert asked.count("workflows/me_asks/graph") == 1
    site.gaia.merge("me_asks", [step("three", "go-on", "k:three", "k:one")])
    expect(page.locator(".node.step")).to_have_count(3)
    assert asked.count("workflows/me_asks/graph") == 2
    gate.open("go\n")


def test_all_tabs_share_one_connection(
    site: Site, streams: list[str], wait_until: WaitUntil
) -> None:
    chain(site.gaia, "me_one")
    chain(site.gaia, "me_two")
    site.gaia.wait("me_two")
    site.go("me_one")
    assert streams == ["follow=me_one"]
    others = [site.page.context.new_page() for _ in range(3)]
    for other, name in zip(others, ["me_one", "me_two", ""], strict=True):
        other.goto(f"{site.server.url}#/{name}")
        expect(other.locator(".link")).to_have_text("Live")
    wait_until(lambda: streams == ["follow=me_one&follow=me_two"])
    site.gaia.merge("me_two", [step("three", "go-on", "k:three", "k:one")])
    expect(others[1].locator(".node.step")).to_have_count(3)
    expect(others[0].locator(".node.step")).to_have_count(2)
    expect(others[2].locator(".workflows li").first).to_contain_text("3 of 3 done")
    others[1].close()
    wait_until(lambda: streams == ["follow=me_one"])
    others[0].close()
    others[2].close()
    expect(site.page.locator(".link")).to_have_text("Live")


def test_a_browser_without_shared_workers_has_a_connection_for_each_tab(
    site: Site, streams: list[str]
) -> None:
    chain(site.gaia, "me_alone")
    site.page.add_init_script("delete window.SharedWorker;")
    page = site.go("me_alone")
    expect(page.locator(".node.step")).to_have_count(2)
    site.gaia.merge("me_alone", [step("three", "go-on", "k:three", "k:one")])
    expect(page.locator(".node.step")).to_have_count(3)
    assert streams == ["follow=me_alone"]


def test_an_unknown_workflow_in_one_tab_is_no_trouble_in_another(site: Site) -> None:
    site.expected += ["status of 404"]
    chain(site.gaia, "me_known")
    page = site.go("me_known")
    other = page.context.new_page()
    other.goto(f"{site.server.url}#/me_knwn")
    expect(other.locator(".workflow > .empty")).to_contain_text("did you mean 'me_known'?")
    site.gaia.merge("me_known", [step("three", "go-on", "k:three", "k:one")])
    expect(page.locator(".node.step")).to_have_count(3)
    chain(site.gaia, "me_knwn")
    expect(other.locator(".node.step")).to_have_count(2)
    other.close()


@pytest.mark.parametrize("part", ["store.js", "panel.css", "page.js"])
def test_a_page_whose_parts_dont_all_come_is_loaded_again(site: Site, part: str) -> None:
    """Chromium drops requests while a container's network interface comes or goes."""
    chain(site.gaia, "me_again")
    asked: list[str] = []

    def drop(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) < 3:
            route.abort("failed")
        else:
            route.continue_()

    site.page.route(f"**/{part}", drop)
    site.expected += ["ERR_FAILED"]
    page = site.go("me_again")
    expect(page.get_by_role("heading", level=1)).to_have_text("me_again")
    assert len(asked) == 3
    assert page.evaluate("sessionStorage.length") == 0


def test_a_page_whose_parts_never_come_says_so(site: Site) -> None:
    site.expected += ["ERR_FAILED", "the page failed"]
    site.page.route("**/store.js", lambda route: route.abort("failed"))
    site.page.goto(site.server.url)
    expect(site.page.locator("main")).to_contain_text("Load it again")
