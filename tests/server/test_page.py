"""The status page in a real browser, over a real server: its contents, and its reader's actions."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    Locator,
    Page,
    expect,
)
from starlette.types import Receive, Scope, Send

from gaia_local import Gaia
from gaia_local.model.answer_types import LiveUsage, WorkflowDetails
from gaia_local.model.usage import Usage
from gaia_local.server import Server
from gaia_local.server.stream import EventStream
from support.builders import command, step
from support.colours import contrast, luminance
from support.explaining import last_run
from support.fixtures import MakeGaia, WaitUntil
from support.gates import Fifo
from support.status_page import HOSTILE, Site, address, chain, held, place, sweep, talk

ASSETS = Path(__file__).parents[2] / "gaia_local" / "server" / "page"

# ------------------------------------------------------------------------------------- its contents


def test_the_list_shows_each_workflow_as_it_comes_runs_and_goes(site: Site, gate: Fifo) -> None:
    page = site.go()
    expect(page.locator(".empty").first).to_contain_text("gaia-local upload")
    chain(site.gaia, "me_first", held(gate))
    row = page.locator(".workflows li", has_text="me_first")
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("1 of 2 done, 1 running")
    gate.open("go\n")
    expect(row).to_contain_text("complete")
    expect(row).to_contain_text("2 of 2 done")
    chain(site.gaia, "me_second")
    expect(page.locator(".workflows .name")).to_have_text(["me_second", "me_first"])
    site.gaia.wait("me_second")
    site.gaia.delete("me_first")
    expect(page.locator(".workflows .name")).to_have_text(["me_second"])
    chain(site.gaia, "me_first", held(gate))
    expect(row).to_contain_text("2 of 2 Steps were in the store already, nothing ran")


def test_what_was_reused_is_told_and_leads_to_where_it_ran(
    browser: Browser, make_gaia: MakeGaia
) -> None:
    gaia = make_gaia(reuse=True)
    chain(gaia, "me_first")
    gaia.wait("me_first")
    chain(gaia, "me_second")
    gaia.wait("me_second")
    with Server(gaia, port=0) as server:
        page = browser.new_page()
        page.goto(server.link)
        row = page.locator(".workflows li", has_text="me_second")
        expect(row).to_contain_text("2 of 2 done, 2 reused, 0 ran")
        expect(page.locator(".workflows li", has_text="me_first")).not_to_contain_text("reused")
        page.get_by_role("link", name="me_second").click()
        expect(page.locator(".legend")).to_have_text("2 complete2 of them reused")
        page.get_by_role("button", name="two, complete").click()
        facts = page.locator(".facts")
        expect(facts).to_contain_text("Reused fromtwo of me_first")
        expect(facts).to_contain_text("Becausenew")
        facts.get_by_role("link", name="two").click()
        expect(page.get_by_role("heading", name="me_first")).to_be_visible()
        expect(facts).to_contain_text("Ran becausenew")
        expect(facts).not_to_contain_text("Reused")
        page.close()


def test_a_workflow_is_found_among_many(site: Site) -> None:
    for number in range(9):
        site.gaia.upload(f"me_{number}", {}, [talk("c", "true")], [])
    page = site.go()
    page.get_by_role("searchbox").fill("_7")
    expect(page.locator(".workflows li:visible .name")).to_have_text(["me_7"])
    page.get_by_role("searchbox").fill("nothing")
    expect(page.get_by_text("No workflow has this in its name.")).to_be_visible()


def test_a_step_turns_from_running_to_complete_without_a_reload(site: Site, gate: Fifo) -> None:
    chain(site.gaia, "me_live", held(gate, "echo first"))
    page = site.go("me_live")
    page.evaluate("window.same = true")
    expect(site.node("two, running, Command go-on")).to_be_visible()
    expect(page.locator(".standing .badge")).to_have_text("running")
    site.node("two, running").click()
    expect(page.locator(".log")).to_have_text("first\n")
    gate.open("second\n")
    expect(page.locator(".log")).to_have_text("first\nthen second\n")
    expect(site.node("two, complete, Command go-on")).to_be_visible()
    expect(page.locator(".standing .badge")).to_have_text("complete")
    expect(page.locator(".legend")).to_have_text("2 complete")
    expect(page.locator("#announcer")).to_have_text("Workflow: complete.")
    assert page.evaluate("window.same") is True


def shown_facts(page: Page) -> dict[str, str]:
    """The facts in a Step's panel that the reader sees."""
    facts = page.locator(".facts > div:visible")
    return dict(
        zip(
            facts.locator("dt").all_inner_texts(),
            facts.locator("dd").all_inner_texts(),
            strict=True,
        )
    )


def test_a_running_step_shows_what_it_has_taken_so_far_and_then_what_it_took(
    site: Site, gate: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    details, explain = site.gaia.details, site.gaia.explain
    live: dict[str, LiveUsage] = {}

    def with_live(workflow: str) -> WorkflowDetails:
        return {**details(workflow), "usage": live}

    def with_usage(workflow: str, name: str) -> Any:
        told = explain(workflow, name)
        assert "last" in told
        if told["last"] is not None:
            told["last"]["usage"] = Usage(0.3, 1.7, None, 2.9, 0.3, 310 << 20, 10**7, 5).wire()
        return told

    monkeypatch.setattr(site.gaia, "details", with_live)
    monkeypatch.setattr(site.gaia, "explain", with_usage)
    chain(site.gaia, "me_live", held(gate))
    page = site.go("me_live", "two")
    expect(page.locator(".panel header .badge")).to_have_text("running")
    assert not {"CPU time", "Memory", "Phases"} & shown_facts(page).keys()
    live["two"] = {"cpu": 61.2, "memory": None}
    cpu = page.locator(".facts > div:visible", has_text="CPU time").locator("dd")
    expect(cpu).to_have_text("1 min 1 s so far")
    assert "Memory" not in shown_facts(page)
    live["two"] = {"cpu": 62.0, "memory": 4 << 30}
    expect(cpu).to_have_text("1 min 2 s so far")
    assert shown_facts(page)["Memory"] == "at most 4 GB so far"
    gate.open("on\n")
    expect(cpu).to_have_text("3.2 s")
    facts = shown_facts(page)
    assert facts["Phases"] == "0.30 s copying inputs, 1.7 s running"
    assert facts["Memory"] == "at most 310 MB"
    assert facts["Data"] == "read 10 MB, wrote 5 bytes"


def test_sizes_are_in_round_numbers(site: Site) -> None:
    page = site.go()

    def told(what: str, number: int) -> str:
        script = "async ([what, number]) => (await import('./words.js'))[what](number)"
        return str(page.evaluate(script, [what, number]))

    assert told("bytes", 0) == "0 bytes"
    assert told("bytes", 999) == "999 bytes"
    assert told("bytes", 12_540_000) == "12.5 MB"
    assert told("memory", 310 << 20) == "310 MB"
    assert told("memory", (1 << 30) - 1) == "1024 MB"
    assert told("memory", 39 << 30) == "39 GB"
    assert told("memory", 5 << 50) == "5120 TB"


def test_steps_that_are_merged_join_the_graph(site: Site) -> None:
    chain(site.gaia, "me_grows")
    page = site.go("me_grows")
    expect(page.locator(".node.step")).to_have_count(2)
    expect(page.locator(".edge")).to_have_count(1)
    site.gaia.merge("me_grows", [step("three", "go-on", "k:three", "k:one")])
    expect(page.locator(".node.step")).to_have_count(3)
    expect(page.locator(".edge")).to_have_count(2)
    expect(site.node("three, complete")).to_be_visible()


def test_a_click_on_a_failed_step_shows_its_log_and_its_record(site: Site) -> None:
    chain(site.gaia, "me_fails", "echo 'it went wrong' >&2; exit 3")
    site.gaia.wait("me_fails")
    page = site.go("me_fails")
    expect(page.locator(".notice.bad")).to_have_text("1 Step failed: two")
    site.node("two, error, Command go-on").click()
    panel = page.locator(".panel")
    expect(panel.locator(".log")).to_have_text("it went wrong\n")
    expect(panel.locator(".body > .failure:visible p")).to_have_text("exit code 3")
    expect(panel.locator("header .badge")).to_have_text("error")
    facts = dict(
        zip(
            panel.locator(".facts dt").all_inner_texts(),
            panel.locator(".facts dd").all_inner_texts(),
            strict=True,
        )
    )
    assert facts["Exit code"] == "3"
    assert facts["Ran because"] == "new"
    assert facts["Now"] == "it failed; run starts it again"
    assert re.fullmatch(r"\d{1,2} \w{3,4} \d{4}, \d\d:\d\d:\d\d", facts["Started"])
    assert re.fullmatch(r"[\d.]+ m?s", facts["Took"])
    assert panel.locator(".tokens code").all_inner_texts()[:2] == ["sh", "-c"]
    expect(panel.locator(".keys").first).to_contain_text("k:two")
    expect(panel.locator(".keys").last).to_contain_text("k:one")
    panel.get_by_role("link", name="one", exact=True).click()
    expect(panel.locator("h2")).to_have_text("one")
    expect(panel.locator(".log")).to_have_text("begun\n")


def test_an_input_that_no_step_makes_is_named(site: Site) -> None:
    site.gaia.upload(
        "me_waits", {}, [talk("c", "true", "a")], [step("only", "c", "k:out", "k:missing")]
    )
    page = site.go("me_waits")
    expect(page.locator(".notice")).to_have_text("Waits for an input that no Step makes: k:missing")
    site.node("only, waiting").click()
    expect(page.locator(".keys").last).to_contain_text("not there yet")
    expect(page.locator(".keys").last).to_contain_text("no Step makes it")
    expect(page.locator(".log-view > .note")).to_have_text("It wrote nothing.")


def test_a_step_that_runs_again_shows_its_new_log(site: Site, wait_until: WaitUntil) -> None:
    site.gaia.upload("me_again", {}, [talk("c", "date +%s.%N")], [step("only", "c", "k:out")])
    page = site.go("me_again", "only")
    log = page.locator(".log")
    expect(log).to_have_text(re.compile(r"\d+\.\d+\n"))
    before = log.inner_text().strip()
    site.gaia.expire("me_again", ["only"])
    expect(log).not_to_have_text(before)
    wait_until(lambda: site.gaia.logs("me_again", "only").strip() == log.inner_text().strip())


# -------------------------------------------------------------------------------------- its actions


def test_run_starts_what_can_run(site: Site) -> None:
    site.gaia.upload("me_run", {}, [talk("c", "true", "a")], [step("only", "c", "k:out", "k:in")])
    page = site.go("me_run")
    expect(page.locator(".standing .badge")).to_have_text("incomplete")
    place(site.gaia, "me_run", "k:in")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(site.node("only, complete")).to_be_visible()
    expect(page.locator(".standing .badge")).to_have_text("complete")
    expect(page.locator(".said")).to_have_text("It runs whatever is left to run.")
    assert site.gaia.progress("me_run")["state"] == "complete"


def test_halt_stops_what_runs(site: Site, gate: Fifo) -> None:
    chain(site.gaia, "me_halt", held(gate))
    page = site.go("me_halt")
    expect(site.node("two, running")).to_be_visible()
    expect(page.get_by_role("button", name="Run", exact=True)).to_have_attribute(
        "aria-disabled", "true"
    )
    page.get_by_role("button", name="Halt").click()
    expect(page.locator(".standing .badge")).to_have_text("halted")
    expect(site.node("two, ready")).to_be_visible()
    assert site.gaia.progress("me_halt")["state"] == "halted"


def test_expire_runs_a_step_and_what_depends_on_it_again(site: Site, wait_until: WaitUntil) -> None:
    chain(site.gaia, "me_expire")
    site.gaia.wait("me_expire")
    page = site.go("me_expire")
    site.node("one, complete").click()
    expect(page.locator(".again .note")).to_have_text("So does the one Step that depends on it.")
    page.locator(".panel").get_by_role("button", name="Run again").click()
    dialog = page.get_by_role("dialog", name="Run again?")
    expect(dialog).to_contain_text("2 Steps run, 1 of them because")
    dialog.get_by_role("button", name="Run again").click()
    expect(page.locator(".said")).to_have_text("one runs again.")
    wait_until(lambda: starts(site.gaia, "me_expire") == ["one", "two", "one", "two"])
    expect(page.locator(".facts")).to_contain_text(
        last_run(site.gaia, "me_expire", "one")["reason"]
    )


def test_expiring_all_asks_first(site: Site, wait_until: WaitUntil) -> None:
    chain(site.gaia, "me_all")
    site.gaia.wait("me_all")
    page = site.go("me_all")
    expect(page.locator(".node.step")).to_have_count(2)
    page.get_by_role("button", name="Run all again").click()
    dialog = page.get_by_role("dialog", name="Run all again?")
    expect(dialog).to_contain_text("2 Steps run: one and two.")
    dialog.get_by_role("button", name="Leave as it is").click()
    expect(dialog).to_be_hidden()
    assert starts(site.gaia, "me_all") == ["one", "two"]
    page.get_by_role("button", name="Run all again").click()
    dialog.get_by_role("button", name="Run all again").click()
    wait_until(lambda: starts(site.gaia, "me_all") == ["one", "two", "one", "two"])


def starts(gaia: Gaia, workflow: str) -> list[str]:
    return [event["task"] for event in gaia.events(workflow) if event["event"] == "step-start"]


def test_a_refused_call_is_shown_in_the_page(site: Site) -> None:
    site.expected += ["status of 503"]
    chain(site.gaia, "me_refused")
    site.gaia.wait("me_refused")
    page = site.go("me_refused")
    expect(page.locator(".node.step")).to_have_count(2)
    site.gaia.close()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".problem")).to_contain_text("Run failed: this Gaia was closed")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".problem")).to_be_hidden()


def test_a_workflow_that_nobody_has_or_that_goes_is_said_so(site: Site) -> None:
    site.expected += ["status of 404"]
    chain(site.gaia, "me_here")
    site.gaia.wait("me_here")
    site.page.goto(site.server.url + address("me_her"))
    expect(site.page.locator(".workflow > .empty")).to_contain_text("; did you mean 'me_here'?")
    page = site.go("me_here")
    expect(page.locator(".node.step")).to_have_count(2)
    site.gaia.delete("me_here")
    expect(page.locator(".workflow > .empty")).to_have_text("This workflow was deleted.")


# --------------------------------------------------------------------------------------- many Steps


def test_many_steps_are_grouped_by_command_and_a_group_opens_and_closes(site: Site) -> None:
    sweep(site.gaia, "me_sweep")
    page = site.go("me_sweep")
    expect(page.locator(".node.group.closed")).to_have_count(3)
    expect(page.locator(".node.step")).to_have_count(1)
    expect(page.locator(".node.tile")).to_have_count(0)
    group = site.node("Command simulate, 150 Steps: 150 waiting")
    expect(group).to_have_attribute("aria-expanded", "false")
    group.click()
    expect(group).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".node.tile")).to_have_count(150)
    site.node("simulate-149, waiting, Command simulate").click()
    expect(page.locator(".panel h2")).to_have_text("simulate-149")
    group.click()
    expect(page.locator(".node.tile")).to_have_count(0)
    expect(page.locator(".node.group.closed")).to_have_count(3)


def test_a_link_to_a_step_in_a_group_opens_the_group(site: Site) -> None:
    sweep(site.gaia, "me_deep")
    page = site.go("me_deep", "analyse-007")
    expect(site.node("analyse-007, waiting")).to_be_in_viewport()
    expect(site.node("analyse-007, waiting")).to_have_attribute("aria-current", "true")
    expect(page.locator(".node.group.open")).to_have_count(1)


def test_grouping_is_the_readers_choice(site: Site) -> None:
    sweep(site.gaia, "me_choice")
    page = site.go("me_choice")
    choice = page.get_by_label("Group by")
    expect(choice.locator("option:checked")).to_have_text("Command")
    expect(page.locator(".node.group")).to_have_count(3)
    choice.select_option("none")
    expect(page.locator(".node.step")).to_have_count(300)
    expect(page.locator(".node.group")).to_have_count(0)
    chain(site.gaia, "me_few")
    site.go("me_few")
    expect(page.locator(".node.step")).to_have_count(2)
    # A Command with one Step makes no group.
    expect(choice.locator("option")).to_have_text(["none"])
    expect(page.locator(".node.group")).to_have_count(0)


def test_a_step_is_found_by_a_part_of_its_name(site: Site) -> None:
    sweep(site.gaia, "me_find")
    page = site.go("me_find")
    expect(page.locator(".node.group")).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("ana 12")
    options = page.get_by_role("listbox", name="Steps").get_by_role("option")
    expect(options.first).to_have_text("analyse-012")
    assert options.all_inner_texts() == [
        "analyse-012",
        "analyse-112",
        *(f"analyse-{number}" for number in range(120, 130)),
    ]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_have_text("analyse-112")


# --------------------------------------------------------------------------- keyboard and addresses


def focused(page: Page) -> str:
    return str(
        page.evaluate(
            "document.activeElement.getAttribute('aria-label')"
            " ?? document.activeElement.labels?.[0]?.firstChild.textContent.trim()"
            " ?? document.activeElement.textContent"
        )
    )


def test_the_page_is_usable_by_keyboard(site: Site) -> None:
    commands = [talk("c", "true"), talk("d", "true", "a")]
    steps = [
        step("left", "c", "k:left"),
        step("right", "c", "k:right"),
        step("below", "d", "k:below", "k:left"),
    ]
    site.gaia.upload("me_keys", {}, commands, steps)
    site.gaia.wait("me_keys")
    page = site.go()
    expect(page.get_by_role("link", name="me_keys")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focused(page) == "me_keys, complete, 3 of 3 done"
    page.keyboard.press("Enter")
    expect(page.locator(".node.step")).to_have_count(3)
    assert focused(page) == "me_keys"
    reached = []
    for _ in range(11):
        page.keyboard.press("Tab")
        reached.append(focused(page))
    assert reached[:5] == ["Run", "Halt", "Run all again…", "3 complete", "Graph"]
    assert reached[5:7] == ["Find a Step", "Group by"]
    assert reached[7:] == ["Zoom out", "Zoom in", "Fit: show all", "left, complete, Command c"]
    for key, label in [
        ("ArrowRight", "right"),
        ("ArrowLeft", "left"),
        ("ArrowDown", "below"),
        ("ArrowUp", "left"),
        ("End", "below"),
    ]:
        page.keyboard.press(key)
        assert focused(page).startswith(f"{label}, "), key
    outlined = page.locator(".node .touch:focus")
    assert outlined.evaluate("each => getComputedStyle(each).strokeWidth") == "3px"
    page.keyboard.press("Enter")
    expect(page.locator(".panel h2")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_have_count(0)
    expect(site.node("below, complete")).to_be_focused()


def test_a_group_opens_and_is_walked_through_by_keyboard(site: Site) -> None:
    sweep(site.gaia, "me_walk")
    page = site.go("me_walk")
    group = site.node("Command simulate, 150 Steps")
    group.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".node.tile")).to_have_count(150)
    expect(group).to_be_focused()
    page.keyboard.press("ArrowDown")
    first = focused(page)
    assert first.startswith("simulate-0")
    page.keyboard.press("ArrowRight")
    assert int(focused(page)[9:12]) == int(first[9:12]) + 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    expect(group).to_be_focused()
    page.keyboard.press(" ")
    expect(page.locator(".node.tile")).to_have_count(0)


def test_addresses_lead_into_it_and_back_leads_out(site: Site) -> None:
    chain(site.gaia, "me_back")
    page = site.go()
    page.get_by_role("link", name="me_back").click()
    site.node("one").click()
    expect(page.locator(".panel h2")).to_have_text("one")
    assert page.url.endswith("#/me_back/one")
    page.go_back()
    expect(page.locator(".panel")).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("heading", name="Workflows")).to_be_visible()
    expect(page.get_by_role("link", name="me_back")).to_be_focused()
    page.go_forward()
    page.go_forward()
    expect(page.locator(".panel h2")).to_have_text("one")


def test_the_picture_is_moved_and_made_larger(site: Site) -> None:
    chain(site.gaia, "me_zoom")
    page = site.go("me_zoom")
    node = site.node("one")
    before = box(node)
    page.get_by_role("button", name="Zoom in").click()
    larger = box(node)
    assert larger["width"] == pytest.approx(before["width"] * 1.25, rel=0.01)
    page.mouse.move(larger["x"] + 50, larger["y"] + 20)
    page.mouse.down()
    page.mouse.move(larger["x"] + 110, larger["y"] + 50, steps=4)
    page.mouse.up()
    moved = box(node)
    assert [moved["x"] - larger["x"], moved["y"] - larger["y"]] == pytest.approx([60, 30], abs=2)
    page.mouse.wheel(0, 100)
    page.wait_for_function(
        "before => document.querySelector('.node').getBoundingClientRect().y < before - 90",
        arg=moved["y"],
    )
    assert page.locator(".panel").count() == 0, "a drag is no click"
    page.get_by_role("button", name="Fit").click()
    assert box(node) == before


def box(locator: Locator) -> dict[str, float]:
    found = locator.bounding_box()
    assert found is not None
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


# --------------------------------------------------------------------- light, dark, narrow, hostile


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_readable_in_light_and_dark(site: Site, scheme: Any) -> None:
    site.page.emulate_media(color_scheme=scheme)
    page = site.go()
    colours = page.evaluate("""() => {
        const probe = document.body.appendChild(document.createElement("i"));
        const resolve = (name) => {
            probe.style.color = `var(--${name})`;
            return getComputedStyle(probe).color;
        };
        const names = [
            "text", "muted", "accent", "complete", "running", "queued", "error", "exception",
            "held", "waiting",
        ];
        const grounds = ["ground", "surface"];
        const tints = ["complete", "running", "error", "exception", "held"];
        const all = [...names, ...grounds, ...tints.map((each) => `${each}-tint`)];
        const found = Object.fromEntries(all.map((name) => [name, resolve(name)]));
        probe.remove();
        return {names, grounds, tints, found};
    }""")
    found = colours["found"]
    assert (luminance(found["ground"]) < 0.1) is (scheme == "dark")
    for ground in colours["grounds"]:
        for name in colours["names"]:
            assert contrast(found[name], found[ground]) >= 4.5, f"{name} on {ground}"
    for name in colours["tints"]:
        assert contrast(found[name], found[f"{name}-tint"]) >= 4.5, f"{name} on its tint"


def test_each_state_has_a_sign_of_its_own(site: Site) -> None:
    page = site.go()
    states = [
        "initialized",
        "waiting",
        "ready",
        "queued",
        "running",
        "complete",
        "error",
        "exception",
        "halted",
        "incomplete",
    ]
    signs = page.evaluate(
        """async (states) => {
            const { glyph } = await import("./glyphs.js");
            return states.map((state) => glyph(state).innerHTML);
        }""",
        states,
    )
    assert len(set(signs)) == len(states)


def test_in_a_narrow_window_the_panel_covers_the_rest(site: Site) -> None:
    chain(site.gaia, "me_" + "narrow" * 13)
    site.page.set_viewport_size({"width": 420, "height": 800})
    page = site.go("me_" + "narrow" * 13)
    expect(page.locator(".node.step")).to_have_count(2)
    assert site.fits()
    site.node("one").click()
    panel = page.locator(".panel")
    expect(panel.locator("h2")).to_have_text("one")
    assert box(panel)["width"] == 420
    expect(page.locator(".about")).to_have_attribute("inert", "")
    assert site.fits()
    panel.get_by_role("button", name="Close").click()
    expect(page.locator(".about")).not_to_have_attribute("inert", "")
    expect(site.node("one")).to_be_focused()


def test_no_name_is_taken_for_html(site: Site) -> None:
    workflow = HOSTILE.replace("/", "|")
    long = "long-" * 16
    script = "echo '<img src=x onerror=\"window.pwned=2\">'; echo > /out/x"
    commands = [command(HOSTILE, script), talk(long, "true", "a")]
    steps = [
        step(HOSTILE, HOSTILE, "k:first"),
        step(long, long, "k:" + "x" * 80, "k:first"),
        step("__proto__", HOSTILE, "k:proto"),
    ]
    site.gaia.upload(workflow, {"owner": HOSTILE}, commands, steps)
    site.gaia.wait(workflow)
    page = site.go()
    row = page.locator(".workflows li")
    expect(row.locator(".name")).to_have_text(workflow)
    expect(row.locator(".owner")).to_have_text(f"owner {HOSTILE}")
    row.locator(".name").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(workflow)
    for name in (HOSTILE, long, "__proto__"):
        site.node(f"{name}, complete").click()
        expect(page.locator(".panel h2")).to_have_text(name)
        assert site.fits()
    page.goto(site.server.url + address(workflow, HOSTILE))
    expect(page.locator(".panel h2")).to_have_text(HOSTILE)
    expect(page.locator(".log")).to_have_text('<img src=x onerror="window.pwned=2">\n')
    page.get_by_label("Group by").select_option("Command")
    expect(site.node(f"Command {HOSTILE}, 2 Steps: 2 complete")).to_be_visible()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.pwned") is None


def test_a_log_of_megabytes_is_shown_at_its_end(site: Site) -> None:
    program = (
        'BEGIN { for (i = 0; i < 90000; i++) print "line " i " of a log that goes on and on"; '
        'print "the end" }'
    )
    site.gaia.upload("me_long", {}, [talk("c", f"awk '{program}'")], [step("only", "c", "k:out")])
    site.gaia.wait("me_long")
    assert len(site.gaia.logs("me_long", "only")) > 3_000_000
    page = site.go("me_long", "only")
    log = page.locator(".log")
    expect(log).to_contain_text("line 89999 of a log that goes on and on\nthe end\n")
    page.wait_for_function(
        "() => { const log = document.querySelector('.log'); "
        "return log.scrollTop + log.clientHeight > log.scrollHeight - 30; }"
    )
    log.evaluate("each => { each.scrollTop = 0; }")
    page.get_by_role("button", name="Go to the end").click()
    expect(page.get_by_role("button", name="Go to the end")).to_be_hidden()
    page.get_by_role("button", name="Full width").click()
    assert box(log)["height"] > 400
    assert site.fits()


def test_a_log_reads_as_in_a_terminal(site: Site) -> None:
    script = (
        r"printf '\033[31mred\033[0m and \033]0;title\007plain\n10%%\r50%%\r100%%\nwindows\r\nhalf'"
    )
    site.gaia.upload("me_colours", {}, [talk("c", script)], [step("only", "c", "k:out")])
    site.gaia.wait("me_colours")
    page = site.go("me_colours", "only")
    expect(page.locator(".log")).to_have_text("red and plain\n100%\nwindows\nhalf")


def test_bidirectional_controls_are_replaced_in_the_page(site: Site) -> None:
    page, turned = site.page, "a \u202eb\u2066c"
    chatty = talk("talk", f"printf '%s' '{turned}'")
    site.gaia.upload("me_turned", {}, [chatty], [step("talk", "talk", "d:x")])
    site.gaia.wait("me_turned", 30)
    page.goto(site.server.url + address("me_turned", "talk"))
    expect(page.locator(".log")).to_have_text("a \ufffdb\ufffdc")
    content = page.content()
    assert "\u202e" not in content
    assert "a \ufffdb" in content


# ------------------------------------------------------------------------------- server and library


def test_a_lost_connection_is_shown_and_mends_by_itself(site: Site) -> None:
    site.expected += [
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED_ENCODING",
        "ERR_CONNECTION_RESET",
        "ERR_EMPTY_RESPONSE",
    ]
    chain(site.gaia, "me_lost")
    site.gaia.wait("me_lost")
    page = site.go("me_lost")
    expect(page.locator(".node.step")).to_have_count(2)
    port = int(site.server.url.rstrip("/").rpartition(":")[2])
    site.server.close()
    expect(
        page.get_by_role("alert").filter(has_text="The connection to the server was lost")
    ).to_be_visible()
    expect(page.locator(".link")).to_have_text("Not connected")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".problem")).to_contain_text("Run failed: the server can't be reached")
    site.gaia.merge("me_lost", [step("three", "go-on", "k:three", "k:one")])
    with Server(site.gaia, port=port):
        expect(page.locator(".link")).to_have_text("Live")
        expect(page.locator("#lost")).to_be_hidden()
        expect(page.locator(".node.step")).to_have_count(3)
        page.goto("about:blank")


def test_a_server_whose_root_has_gone_says_so_in_the_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.expected += ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]
    chain(site.gaia, "me_gone")
    site.gaia.wait("me_gone")
    page = site.go("me_gone")
    expect(page.locator(".node.step")).to_have_count(2)
    monkeypatch.setattr(Gaia, "lost", lambda _: "root /r was removed")
    site.server.close()
    expect(page.get_by_text("root /r was removed")).to_be_visible()
    expect(page.locator("#lost")).to_be_hidden()
    page.goto("about:blank")


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[EventStream]:
    """The streams that clients of any server hold now."""
    held: list[EventStream] = []
    serve = EventStream.__call__

    async def counted(self: EventStream, scope: Scope, receive: Receive, send: Send) -> None:
        held.append(self)
        try:
            await serve(self, scope, receive, send)
        finally:
            held.remove(self)

    monkeypatch.setattr(EventStream, "__call__", counted)
    return held


def test_a_hidden_page_lets_go_of_its_connection_and_catches_up_when_it_is_seen(
    site: Site, streams: list[EventStream], wait_until: WaitUntil
) -> None:
    chain(site.gaia, "me_hidden")
    site.gaia.wait("me_hidden")
    page = site.go("me_hidden")
    expect(page.locator(".node.step")).to_have_count(2)
    turn = """away => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => away });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    assert len(streams) == 1
    page.evaluate(turn, True)
    wait_until(lambda: not streams)
    site.gaia.merge("me_hidden", [step("three", "go-on", "k:three", "k:one")])
    site.gaia.wait("me_hidden")
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator(".node.step")).to_have_count(2)
    page.evaluate(turn, False)
    expect(page.locator(".node.step")).to_have_count(3)
    expect(page.locator(".link")).to_have_text("Live")


@pytest.mark.parametrize("where", [(), ("me_locked",)])
def test_a_server_that_wants_a_token_by_now_is_said_so(site: Site, where: tuple[str, ...]) -> None:
    site.expected += ["ERR_", "status of 401"]
    chain(site.gaia, "me_locked")
    page = site.go(*where)
    if where:
        expect(page.locator(".node.step").first).to_be_visible()  # the layout's code was loaded
    port = int(site.server.url.rstrip("/").rpartition(":")[2])
    site.server.close()
    with Server(site.gaia, port=port, token="open-sesame"):
        refusal = page.locator(".empty:visible")
        expect(refusal).to_contain_text("the token is missing or wrong")
        expect(refusal).to_contain_text("Open this page by the link that holds the token.")
        page.goto("about:blank")


def test_the_page_works_behind_a_token(browser: Browser, make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    chain(gaia, "me_token")
    gaia.wait("me_token")
    with Server(gaia, port=0, token="open-sesame") as server, browser.new_context() as context:
        page = context.new_page()
        page.goto(server.url)
        expect(page.locator("body")).to_contain_text("the token is missing or wrong")
        page.goto(f"{server.url}?token=open-sesame")
        assert page.url == server.url
        page.get_by_role("link", name="me_token").click()
        expect(page.locator(".node.step")).to_have_count(2)
        page.get_by_role("button", name="Run all again").click()
        page.get_by_role("dialog").get_by_role("button", name="Run all again").click()
        expect(page.locator(".said")).to_have_text("All Steps run again.")


def test_the_vendored_library_is_the_one_that_its_readme_names() -> None:
    told = (ASSETS / "vendor" / "README.md").read_text(encoding="utf-8")
    (library,) = (ASSETS / "vendor").glob("*.js")
    assert f"`{library.name}`" in told
    assert hashlib.sha256(library.read_bytes()).hexdigest() in told
    assert library.name in (ASSETS / "layout-worker.js").read_text(encoding="utf-8")
    assert (
        "Permission is hereby granted"
        in (ASSETS / "vendor" / f"{library.name.removesuffix('.esm.js')}.LICENSE").read_text()
    )


def test_the_page_holds_no_code_or_style_in_its_markup() -> None:
    markup = (ASSETS / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?:", markup)
    assert re.findall(r"<script([^>]*)>(.*?)</script>", markup, flags=re.DOTALL) == [
        (' type="module" src="start.js"', "")
    ]
    for path in [*ASSETS.glob("*.js"), *ASSETS.glob("*.css")]:
        found = re.search(
            r"innerHTML|outerHTML|insertAdjacent|eval\(|new Function|@import|url\(\s*['\"]?http",
            path.read_text(encoding="utf-8"),
        )
        assert not found, f"{path.name}: {found}"
