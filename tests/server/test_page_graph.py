"""The status page's picture of a workflow in a real browser: groups, sight, keyboard, large graphs.

The view is mounted by itself, with answers made by hand.
"""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Locator, Page, expect

from support import graph_answers as answers
from support.status_page import HOSTILE, Site

MOUNT = """async (text) => {
    const { graph, news } = JSON.parse(text);
    const { GraphView } = await import("./graph.js");
    const calls = window.calls = [];
    const view = window.view = new GraphView(graph.workflow, {
        open: (step) => calls.push(["open", step]),
        rerun: (steps) => calls.push(["rerun", steps]),
    });
    document.body.className = "one";
    const tools = document.createElement("div");
    tools.className = "tools";
    tools.append(view.tools);
    const stage = document.createElement("div");
    stage.className = "stage";
    stage.append(tools, view.element);
    const work = document.createElement("div");
    work.className = "work";
    work.append(stage);
    document.querySelector("main").replaceChildren(work);
    window.tell = (given, query = {}) => {
        const steps = new Map(given.news);
        view.show({ name: graph.workflow, entry: null, about: null, graph: given.graph, steps },
            query);
    };
    window.given = { graph, news };
    tell(given);
}"""
WHOLE = """() => {
    const frame = document.querySelector(".canvas").getBoundingClientRect();
    return [...document.querySelectorAll(".node")].every((node) => {
        const box = node.getBoundingClientRect();
        return box.left >= frame.left - 1 && box.right <= frame.right + 6
            && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 6;
    });
}"""


def mounted(site: Site, graph: answers.Answer, phase: str = "running") -> Page:
    """The page with the view of a graph, drawn."""
    page = site.go()
    # As text, since values of many parts take the driver long.
    page.evaluate(MOUNT, json.dumps({"graph": graph, "news": answers.news(graph, phase)}))
    drawn(page)
    return page


def drawn(page: Page) -> None:
    expect(page.locator(".canvas")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator("svg.graph .node").first).to_be_attached()


def choose(page: Page, label: str) -> None:
    page.get_by_label("Group by").select_option(label)
    drawn(page)


def box(locator: Locator) -> dict[str, float]:
    found = locator.bounding_box()
    assert found is not None
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def shape(page: Page, label: str) -> Locator:
    """All that is drawn around the button with this label."""
    return page.locator(".node", has=page.get_by_role("button", name=label))


def calls(page: Page) -> Any:
    return page.evaluate("window.calls")


def test_a_workflow_of_277_steps_opens_grouped_whole_and_readable(site: Site) -> None:
    page = mounted(site, answers.whole_cell(), "failed")
    expect(page.locator(".node.group.closed")).to_have_count(4)
    expect(page.locator(".node.step")).to_have_count(3)
    assert page.evaluate(WHOLE)
    expect(page.locator(".minimap")).to_be_hidden()
    group = site.node("Group analysis-*-*, 128 Steps: 1 error, 1 running, 84 waiting, 42 complete")
    expect(shape(page, "Group analysis-*-*, 128 Steps")).to_contain_text("in all · median")
    group.click()
    drawn(page)
    expect(page.locator(".node.group.closed")).to_have_count(3 + 16)
    expect(page.locator(".node.group.open")).to_have_count(1)
    site.node("Group analysis-*-* of seed 5, 8 Steps").click()
    expect(page.locator(".node.tile")).to_have_count(8)


def test_the_reader_chooses_the_grouping_and_opens_one_level_at_a_time(site: Site) -> None:
    page = mounted(site, answers.whole_cell(), "failed")
    select = page.get_by_label("Group by")
    assert select.locator("option").all_inner_texts() == ["name", "none"]
    choose(page, "none")
    expect(page.locator(".node.step")).to_have_count(277)
    expect(page.locator(".minimap")).to_be_visible()
    failed = page.locator(".node[data-state='error']")
    expect(failed).to_be_in_viewport()
    page.get_by_role("button", name="Fit").click()
    page.wait_for_function(WHOLE)
    expect(page.locator(".minimap")).to_be_hidden()
    choose(page, "name")
    expect(page.locator(".node.group.closed")).to_have_count(4)


def test_fit_shows_all_and_the_minimap_leads_elsewhere(site: Site) -> None:
    page = mounted(site, answers.broad(1200), "failed")
    choose(page, "none")
    assert page.locator("svg.graph .node").count() < 600
    page.get_by_role("button", name="Fit").click()
    page.wait_for_function("() => document.querySelector('.minimap').hidden")
    page.get_by_role("button", name="Zoom in").click(click_count=12)
    minimap = page.locator(".minimap")
    expect(minimap).to_be_visible()
    frame = page.locator(".minimap .frame")
    before = box(frame)
    minimap.click(position={"x": 7, "y": 12})
    page.wait_for_function(
        "y => document.querySelector('.minimap .frame').getBoundingClientRect().y < y - 5",
        arg=before["y"],
    )


def test_a_group_of_10000_steps_is_painted_and_every_step_is_reached(site: Site) -> None:
    graph = answers.one_group(10_000)
    page = mounted(site, graph, "failed")
    site.node("Command simulate, 10000 Steps").click()
    drawn(page)
    expect(page.locator(".node.group.open")).to_have_count(1)
    assert page.locator("svg.graph *").count() < 500
    painted = """() => {
        const canvas = document.querySelector(".painted");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return data.some((value, index) => index % 4 === 3 && value > 0);
    }"""
    page.wait_for_function(painted)
    page.evaluate("view.select('simulate-07777')")
    node = site.node("simulate-07777, waiting, Command simulate")
    expect(node).to_be_in_viewport()
    expect(node).to_have_attribute("aria-current", "true")
    # A click on what is painted is a click on the Step.
    at = box(node)
    page.mouse.click(at["x"] + at["width"] * 1.9, at["y"] + at["height"] / 2)
    assert calls(page) == [["open", "simulate-07778"]]
    page.keyboard.press("ArrowRight")
    expect(page.locator(".touch:focus")).to_have_attribute(
        "aria-label", "simulate-07779, waiting, Command simulate"
    )
    # All of them change at once.
    news = json.dumps(answers.news(graph, "complete"))
    page.evaluate("text => tell({ ...given, news: JSON.parse(text) })", news)
    expect(page.locator(".node:focus-within")).to_have_attribute("data-state", "complete")
    expect(site.node("Command simulate, 10000 Steps: 10000 complete")).to_be_visible()


def test_what_a_pan_passes_over_is_not_drawn_anew_each_time(site: Site) -> None:
    page = mounted(site, answers.one_group(500))
    site.node("Command simulate, 500 Steps").click()
    drawn(page)
    page.wait_for_timeout(100)
    moved = page.evaluate("""async () => {
        const scene = document.querySelector(".scene");
        const seen = new Set();
        for (let frame = 0; frame < 20; frame += 1) {
            document.querySelector("svg.graph").dispatchEvent(
                new WheelEvent("wheel", { deltaX: 5, bubbles: true, cancelable: true }));
            await new Promise(requestAnimationFrame);
            seen.add(scene.getAttribute("transform"));
        }
        return [seen.size, document.querySelector(".layer").style.transform];
    }""")
    assert moved == [1, "translate(-100px, 0px)"]


def test_the_steps_of_a_group_run_again_by_its_button_and_by_keyboard(site: Site) -> None:
    page = mounted(site, answers.broad(40), "complete")
    page.get_by_role("button", name="Run these 19 Steps again").first.click()
    names = [f"simulate-{number:05}" for number in range(19)]
    assert calls(page) == [["rerun", names]]
    assert page.locator(".node.group.open").count() == 0
    site.node("Command simulate, 19 Steps").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".again:focus")).to_have_attribute("aria-label", "Run these 19 Steps again")
    page.keyboard.press("Enter")
    assert calls(page) == [["rerun", names], ["rerun", names]]


def test_boxes_name_what_differs_and_tell_the_whole_name(site: Site) -> None:
    names = [f"simulation_control_{number}_done" for number in range(3)]
    graph = answers.graph([(name, "c") for name in names], [], labels=["0", "1", "2"])
    page = mounted(site, graph)
    label = "simulation_control_1_done, running, Command c"
    expect(shape(page, label).locator(".name")).to_have_text("1")
    node = site.node(label)
    expect(node.locator("title")).to_have_text("simulation_control_1_done")


def test_an_edges_keys_are_shown_when_it_is_pointed_at_and_by_keyboard(site: Site) -> None:
    page = mounted(site, answers.few(), "complete")
    caption = page.locator(".caption")
    line = page.evaluate("""() => {
        const path = document.querySelector(".edge-touch");
        const at = path.getPointAtLength(path.getTotalLength() / 2)
            .matrixTransform(path.getScreenCTM());
        return [at.x, at.y];
    }""")
    page.mouse.move(*line)
    expect(caption).to_have_text("fetch → clean: k:fetch")
    page.mouse.move(2, 2)
    expect(caption).to_be_hidden()
    site.node("fetch, complete").focus()
    page.keyboard.press("ArrowDown")
    told = "clean reads k:fetch from fetch; makes k:clean for split"
    expect(caption).to_have_text(told)
    expect(page.locator(".touch:focus")).to_have_attribute("aria-description", told)


def test_composites_have_a_frame_and_a_chain_folds(site: Site) -> None:
    page = mounted(site, answers.composites())
    expect(page.locator(".node.group.open")).to_have_count(2)
    expect(page.locator(".node.step")).to_have_count(8)
    frame, inner = box(page.locator(".node.frame").first), box(site.node("left:sort"))
    assert frame["x"] < inner["x"]
    assert inner["x"] + inner["width"] < frame["x"] + frame["width"]
    page = mounted(site, answers.chain(40))
    expect(site.node("Group 40 in a row")).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".node.step")).to_have_count(40)
    assert page.evaluate(WHOLE)
    site.node("Group 40 in a row").click()
    expect(page.locator(".node.step")).to_have_count(0)


def test_a_filter_leaves_the_wanted_steps_bright(site: Site) -> None:
    page = mounted(site, answers.few(), "failed")
    page.evaluate("tell(given, { state: 'failed' })")
    expect(page.locator(".node.step:not(.dim)")).to_have_attribute("data-state", "error")
    page.evaluate("tell(given)")
    expect(page.locator(".node.dim")).to_have_count(0)


def test_a_drawing_that_fails_is_told_and_the_next_one_is_drawn(site: Site) -> None:
    site.expected += ["of undefined", "Cannot read"]
    page = mounted(site, answers.few())
    page.evaluate("""() => {
        const edges = [{ from: "nobody", to: "fetch", keys: [] }];
        tell({ ...given, graph: { ...given.graph, version: "2", edges } });
    }""")
    expect(page.get_by_role("alert").filter(has_text="The graph can't be drawn")).to_be_visible()
    page.evaluate("tell({ ...given, graph: { ...given.graph, version: '3' } })")
    expect(page.get_by_text("The graph can't be drawn")).to_be_hidden()
    expect(page.locator(".node.step")).to_have_count(12)


def test_a_layout_that_takes_too_long_is_a_simple_one(site: Site) -> None:
    page = site.go()
    laid = page.evaluate("""async () => {
        const { layout } = await import("./layout.js");
        const nodes = [..."abcd"].map((id) => ({ id, width: 100, height: 50 }));
        const edges = [{ from: "a", to: "b" }, { from: "a", to: "c" }];
        const task = { nodes, edges, room: { width: 900, height: 600 } };
        const late = await layout(task, 0);
        return [late.simple, (await layout(task, 60_000)).simple, Object.keys(late.nodes)];
    }""")
    assert laid == [True, False, ["a", "b", "c", "d"]]


def test_no_name_in_a_graph_is_taken_for_html(site: Site) -> None:
    steps = [(HOSTILE, HOSTILE), (HOSTILE + "2", HOSTILE), ("\u202eturned", "c")]
    graph = answers.graph(steps, [(HOSTILE, HOSTILE + "2")])
    graph["groupings"] = [answers.grouping(HOSTILE, [answers.group(HOSTILE, [0, 1])])]
    page = mounted(site, graph, "complete")
    expect(site.node(f"{HOSTILE}, complete").first).to_be_visible()
    page.get_by_label("Group by").select_option(index=0)
    expect(site.node(f"Group {HOSTILE}, 2 Steps: 2 complete")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.pwned") is None
    assert "\u202e" not in page.content()
