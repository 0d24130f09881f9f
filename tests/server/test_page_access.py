"""The status page for all readers: what axe finds, small and enlarged windows, the keyboard."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from gaia_local.server import Server
from support.builders import step
from support.fixtures import MakeGaia
from support.gates import Fifo
from support.status_page import Site, address, chain, held, sweep

AXE = Path(__file__).parents[1] / "page" / "node_modules" / "axe-core" / "axe.min.js"
SIZES = {"wide": (1280, 800), "narrow": (390, 844)}


def findings(page: Page) -> list[str]:
    """What axe finds on the page as it stands, with the elements that it means."""
    if page.evaluate("typeof window.axe") == "undefined":
        page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{found['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for found in result["violations"]
        for node in found["nodes"]
    ]


@pytest.mark.parametrize(
    ("scheme", "size"), list(itertools.product(["light", "dark"], SIZES)), ids=str
)
def test_axe_finds_nothing(
    browser: Browser, make_gaia: MakeGaia, gate: Fifo, scheme: Any, size: str
) -> None:
    assert AXE.is_file(), f"{AXE.name} isn't there: run `make page` once, which installs it"
    gaia = make_gaia(watch=False)
    width, height = SIZES[size]
    chain(gaia, "me_failed", "echo 'it went wrong' >&2; exit 3")
    gaia.wait("me_failed")
    chain(gaia, "me_runs", held(gate))
    sweep(gaia, "me_sweep")
    with (
        Server(gaia, port=0) as server,
        # The page's policy would refuse axe itself.
        browser.new_context(
            bypass_csp=True,
            color_scheme=scheme,
            reduced_motion="reduce",
            viewport={"width": width, "height": height},
        ) as context,
    ):
        page = context.new_page()

        def at(*names: str, query: str = "") -> None:
            page.goto(server.url + address(*names) + query)
            expect(page.locator(".link")).to_have_text("Live")

        found: dict[str, list[str]] = {}
        at("")
        expect(page.locator(".workflows li")).to_have_count(3)
        found["list"] = findings(page)
        views = [("me_failed", view) for view in ("graph", "table", "timeline", "definition")]
        for name, view in [*views, ("me_runs", "graph"), ("me_sweep", "graph")]:
            at(name, query=f"?view={view}")
            expect(page.get_by_role("tabpanel")).to_be_visible()
            expect(page.locator(".legend li")).not_to_have_count(0)
            if view == "graph":
                expect(page.locator("svg.graph").get_by_role("button").first).to_be_visible()
            found[f"{name} {view}"] = findings(page)
        for name in ("one", "two"):
            at("me_failed", name)
            expect(page.locator(".panel header .badge")).to_be_visible()
            found[f"panel of {name}"] = findings(page)
        at("me_failed")
        page.get_by_role("button", name="Run all again").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        found["dialog"] = findings(page)
        page.keyboard.press("Escape")
        page.keyboard.press("/")
        page.keyboard.type("o")
        expect(
            page.get_by_role("listbox", name="Steps").get_by_role("option").first
        ).to_be_visible()
        found["finder"] = findings(page)
        page.goto(server.url + address("me_nobody"))
        expect(page.locator(".workflow > .empty")).to_contain_text("me_nobody")
        found["unknown"] = findings(page)
        gate.open("go\n")
    assert not {where: what for where, what in found.items() if what}


@pytest.mark.parametrize(("width", "height"), [(390, 844), (640, 400), (320, 640)])
def test_nothing_is_wider_than_a_narrow_or_enlarged_window(
    site: Site, width: int, height: int
) -> None:
    long = "me_" + "a-very-long-name_" * 5
    chain(site.gaia, long, "exit 3")
    site.gaia.wait(long)
    for number in range(9):
        site.gaia.upload(f"me_{number}", {"owner": "someone-else"}, [], [])
    site.page.set_viewport_size({"width": width, "height": height})
    page = site.go()
    expect(page.locator(".workflows li")).to_have_count(10)
    assert site.fits()
    for view in ("graph", "table", "timeline", "definition"):
        page.goto(site.server.url + address(long) + f"?view={view}")
        expect(page.locator(".legend li")).to_have_count(2)
        assert site.fits(), view
        panel = page.get_by_role("tabpanel").bounding_box()
        assert panel is not None
        assert panel["height"] > 180, view
    site.go(long, "two")
    expect(page.locator(".panel header .badge")).to_be_visible()
    assert site.fits()


def test_the_page_has_landmarks_and_headings_in_order(site: Site) -> None:
    chain(site.gaia, "me_marks")
    site.gaia.wait("me_marks")
    page = site.go("me_marks", "two")
    expect(page.get_by_role("banner")).to_have_count(1)
    expect(page.get_by_role("navigation", name="Page")).to_have_count(1)
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("complementary", name="two")).to_have_count(1)
    expect(page.locator(".panel header .badge")).to_be_visible()
    levels = page.locator("h1, h2, h3, h4").evaluate_all(
        "all => all.filter(each => each.checkVisibility()).map(each => Number(each.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_each_buttons_name_has_the_words_that_are_seen(site: Site) -> None:
    chain(site.gaia, "me_names", "exit 3")
    site.gaia.wait("me_names")
    for width in (1280, 390):
        site.page.set_viewport_size({"width": width, "height": 800})
        page = site.go("me_names")
        expect(page.locator(".node.step")).to_have_count(2)
        unlike = page.locator("button, a, [role=tab]").evaluate_all(
            """all => all.filter((each) => each.checkVisibility()).filter((each) => {
                const label = each.getAttribute("aria-label");
                const seen = each.innerText.trim();
                return label !== null && /\\w/.test(seen)
                    && !label.toLowerCase().includes(seen.toLowerCase());
            }).map((each) => each.outerHTML)"""
        )
        assert unlike == []


def test_the_keyboard_follows_what_is_opened_and_closed(site: Site) -> None:
    chain(site.gaia, "me_focus")
    site.gaia.wait("me_focus")
    page = site.go()
    page.get_by_role("link", name="me_focus").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator(".node.step")).to_have_count(2)
    site.node("two").press("Enter")
    expect(page.locator(".panel h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(site.node("two")).to_be_focused()
    page.get_by_role("link", name="All workflows").press("Enter")
    expect(page.get_by_role("link", name="me_focus")).to_be_focused()


def test_news_dont_move_the_keyboard(site: Site, gate: Fifo) -> None:
    chain(site.gaia, "me_still", held(gate))
    page = site.go("me_still", "one")
    link = page.locator(".legend li[data-state=complete] a")
    link.focus()
    site.gaia.merge("me_still", [step("three", "go-on", "k:three", "k:one")])
    expect(page.locator(".node.step")).to_have_count(3)
    expect(page.locator(".legend li[data-state=running]")).to_have_text("2 running")
    expect(link).to_be_focused()
    site.gaia.halt("me_still")  # one line at the gate may let both go on, or only one
