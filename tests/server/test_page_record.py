"""The status page's record of Steps: the table, the attempts, the definition, and its orders."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from gaia_local import Gaia
from support.builders import COPY, command, step
from support.fixtures import WaitUntil
from support.gates import Fifo
from support.record_views import mount
from support.status_page import HOSTILE, Site, held, place, talk

WIDE = {"width": 1280, "height": 800}


def sizes(gaia: Gaia, name: str = "w") -> None:
    """Steps in several states, of three Commands."""
    commands = [talk("make", "true"), COPY, command("fail", "echo no; exit 3", "a")]
    steps = [
        *(step(f"s{number}", "make", f"k:{number}") for number in (10, 9, 1)),
        step("copied", "copy", "k:copied", "k:1"),
        step("bad", "fail", "k:bad", "k:9"),
        step("late", "copy", "k:late", "k:bad"),
    ]
    gaia.upload(name, {}, commands, steps)
    gaia.wait(name)


def names(page: Page) -> list[str]:
    return page.locator(".rows tbody .step").all_inner_texts()


def table(site: Site, name: str = "w", **query: str) -> Page:
    page = mount(site, name, "table.js", "TableView")
    show(page, query)
    return page


def show(page: Page, query: dict[str, str] | None = None) -> None:
    page.evaluate("async (query) => window.view.show(await window.slice(), query)", query or {})


def row(page: Page, name: str) -> Locator:
    link = page.get_by_role("link", name=name, exact=True)
    return page.locator(".rows tbody tr").filter(has=link)


def acts(page: Page) -> Any:
    return page.evaluate("window.acts")


# ---------------------------------------------------------------------------------------- the table


def test_the_table_has_a_row_for_each_step_in_natural_order(site: Site) -> None:
    sizes(site.gaia)
    page = table(site)
    expect(page.locator(".rows tbody .step")).to_have_count(6)
    assert names(page) == ["bad", "copied", "late", "s1", "s9", "s10"]
    bad = row(page, "bad")
    expect(bad.locator(".state")).to_have_text("error")
    expect(bad.locator(".reason")).to_have_text("exit code 3")
    expect(bad.locator(".elapsed")).to_have_text(re.compile(r"^\d[\d.]* m?s$"))
    expect(row(page, "late").locator(".reason")).to_have_text("waits for k:bad")
    assert page.get_by_role("link", name="bad").get_attribute("href") == "#/w/bad?view=table"


def test_a_click_on_a_heading_sorts_and_another_turns_the_order(site: Site) -> None:
    sizes(site.gaia)
    page = table(site)
    expect(page.locator(".rows tbody .step")).to_have_count(6)
    heading = page.get_by_role("columnheader", name="Name")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    heading.get_by_role("button").click()
    assert names(page) == ["s10", "s9", "s1", "late", "copied", "bad"]
    expect(heading).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="State").click()
    assert names(page)[0] == "bad"
    page.get_by_role("button", name="Duration").press("Enter")
    assert names(page)[-1] == "late"  # which never ran


def test_rows_are_filtered_by_state_command_and_text(site: Site) -> None:
    sizes(site.gaia)
    page = table(site, state="failed")
    expect(page.locator(".rows tbody .step")).to_have_text(["bad"])
    expect(page.get_by_text("1 of 6 Steps")).to_be_visible()
    page.get_by_label("State").select_option("waiting")
    assert acts(page) == [["open", None, {"state": "waiting", "view": "table"}]]
    show(page, {"state": "waiting", "view": "table"})
    expect(page.locator(".rows tbody .step")).to_have_text(["late"])
    assert page.get_by_role("link", name="late").get_attribute("href") == (
        "#/w/late?state=waiting&view=table"
    )
    show(page)
    page.get_by_label("Command").select_option("make")
    expect(page.locator(".rows tbody .step")).to_have_text(["s1", "s9", "s10"])
    page.get_by_label("Name or reason").fill("S1")
    expect(page.locator(".rows tbody .step")).to_have_text(["s1", "s10"])


def test_news_change_a_row_at_once(site: Site, gate: Fifo) -> None:
    site.gaia.upload("w", {}, [talk("c", held(gate))], [step("s", "c", "k:s")])
    page = table(site)
    only = row(page, "s")
    expect(only.locator(".state")).to_have_text("running")
    expect(only.locator(".elapsed")).to_have_text(re.compile(r"^\d+(\.0)? m?s$"))
    page.evaluate(
        """async () => {
          const slice = await window.slice("1");
          const { task } = slice.steps.get("s");
          slice.steps.set("s", { state: "error", task, started: 100, ended: 107 });
          window.view.show(slice, {});
        }"""
    )
    expect(only.locator(".state")).to_have_text("error")
    gate.open("on\n")
    site.gaia.wait("w")
    show(page)
    expect(only.locator(".state")).to_have_text("complete")
    expect(only.locator(".reason")).to_have_text("new")


def test_several_rows_are_chosen_and_run_again(site: Site) -> None:
    sizes(site.gaia)
    page = table(site)
    again = page.get_by_role("button", name="again")
    expect(again).to_have_attribute("aria-disabled", "true")
    again.click(force=True)
    page.get_by_label("Choose copied").check()
    page.get_by_label("Choose s1", exact=True).click(modifiers=["Shift"])
    expect(again).to_have_text("Run 3 again")
    again.click()
    assert acts(page) == [["rerun", ["copied", "late", "s1"]]]
    page.get_by_label("Name or reason").fill("s1")  # what isn't shown isn't run
    expect(again).to_have_text("Run again")
    again.click()
    assert acts(page)[-1] == ["rerun", ["s1"]]
    page.get_by_label("Choose all that are shown").check()
    again.click()
    assert acts(page)[-1] == ["rerun", ["s1", "s10"]]


def test_the_keyboard_goes_from_row_to_row(site: Site) -> None:
    sizes(site.gaia)
    page = table(site)
    page.get_by_role("link", name="bad").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="copied")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("link", name="s10")).to_be_focused()
    page.get_by_label("Choose s9").focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Choose s1", exact=True)).to_be_focused()
    expect(page.get_by_label("Choose s9")).to_be_checked()


def test_what_is_shown_is_saved_as_csv_without_formulas(site: Site, tmp_path: Path) -> None:
    odd = '=1+1,"x" ä'
    site.gaia.upload("w", {}, [talk("c", "true")], [step(odd, "c", "k:a"), step("b", "c", "k:b")])
    site.gaia.wait("w")
    site.expected.append("blob:")
    page = table(site)
    page.get_by_label("Name or reason").fill("1+1")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "w-steps.csv"
    download.value.save_as(tmp_path / "saved.csv")
    text = (tmp_path / "saved.csv").read_bytes().decode()
    (saved,) = csv.DictReader(io.StringIO(text, newline=""))
    assert saved["step"] == f"'{odd}"
    assert (saved["state"], saved["reason"], saved["attempts"]) == ("complete", "new", "1")


def test_hostile_names_are_text_in_the_table(site: Site) -> None:
    site.gaia.upload("w", {}, [talk("c", "true")], [step(HOSTILE, "c", "k:a")])
    site.gaia.wait("w")
    page = table(site)
    expect(page.locator(".rows tbody .step")).to_have_text([HOSTILE])
    assert page.evaluate("window.pwned") is None


MANY = """
async () => {
  const rows = Array.from({ length: 10000 }, (_, i) => ({
    step: `step-${i}`, command: `c${i % 5}`, state: i % 9 ? "complete" : "running", reason: "new",
    task: `t${i}`, started: 1e9 + i, ended: i % 9 ? 1e9 + i + 5 : null, elapsed: i % 9 ? 5 : null,
    duration: 5, cpu: 1, memory: 1e6 + i, attempts: 1 }));
  const real = window.fetch;
  window.fetch = async (where, ...rest) => (String(where).endsWith("/table")
    ? new Response(JSON.stringify({ steps: rows })) : real(where, ...rest));
}
"""


def test_of_10_000_rows_only_those_that_come_into_sight_are_made(site: Site) -> None:
    sizes(site.gaia)
    page = mount(site, "w", "table.js", "TableView")
    page.evaluate(MANY)
    show(page)
    expect(page.get_by_text("10000 Steps")).to_be_visible()
    assert page.locator(".rows tbody tr").count() < 100
    moved = page.evaluate(
        """async () => {
          const rows = document.querySelector(".rows");
          const bodies = [...rows.querySelectorAll("tbody")];
          const seen = [];
          const watch = new MutationObserver((changes) => seen.push(...changes));
          for (const body of bodies) watch.observe(body, { childList: true });
          const most = [];
          for (let i = 0; i < 60; i += 1) {
            rows.scrollTop += 400;
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            seen.push(...watch.takeRecords());
            most.push(seen.splice(0).flatMap((change) => [...change.addedNodes]).length);
          }
          return Math.max(...most);
        }"""
    )
    assert moved <= 40  # of a frame, whatever the number of rows is
    first = page.locator(".rows tbody .step").first
    expect(first).to_contain_text("step-7")  # 24,000 pixels further down
    page.locator(".rows tbody a").nth(12).focus()
    page.keyboard.press("End")
    expect(page.get_by_role("link", name="step-9999")).to_be_focused()


@pytest.mark.parametrize("width", [390, 640])
def test_the_table_fits_into_narrow_windows(site: Site, width: int) -> None:
    sizes(site.gaia)
    site.page.set_viewport_size({"width": width, "height": 800})
    page = table(site)
    expect(page.locator(".rows tbody .step")).to_have_count(6)
    assert site.fits()


# ------------------------------------------------------------------------------------- the attempts


def attempts(site: Site, step_name: str, name: str = "w") -> Page:
    page = mount(site, name, "attempts.js", "AttemptsView", step_name)
    page.evaluate("window.view.refresh()")
    return page


def test_attempts_are_listed_newest_first_and_lead_to_their_logs(site: Site) -> None:
    sizes(site.gaia)
    site.gaia.run("w")
    site.gaia.wait("w")
    page = attempts(site, "bad")
    items = page.locator(".attempts > li")
    expect(items).to_have_count(2)
    expect(items.first).to_contain_text("2: error, exit 3")
    expect(items.first).to_contain_text("retry after error")
    expect(items.last).to_contain_text("1: error, exit 3")
    page.get_by_role("button", name="Log of attempt 1").click()
    task = site.gaia.attempts("w", "bad")["attempts"][1]["task"]
    assert acts(page) == [["show", task]]
    expect(page.locator(".differences")).to_contain_text(
        "Inputs, command line and image are the same."
    )


def test_what_changed_between_two_attempts_is_told(site: Site) -> None:
    gaia = site.gaia
    place(gaia, "w", "k:own")
    gaia.upload("w", {}, [COPY], [step("s", "copy", "k:s", "k:own")])
    gaia.wait("w")
    gaia.path("w", "k:own").write_text("changed\n")
    gaia.run("w")
    gaia.wait("w")
    gaia.command("w", [{**COPY, "command": ["sh", "-c", "exit 4", "more"]}])
    gaia.wait("w")
    page = attempts(site, "s")
    told = page.locator(".differences")
    expect(told).to_contain_text("complete → error, exit 4")
    expect(told.locator("li.removed")).to_have_text(["cat /in/a > /out/x"])
    expect(told.locator("li.added")).to_have_text(["exit 4", "more"])
    expect(told).not_to_contain_text("k:own")
    page.get_by_label("The later attempt").select_option(label="2 (complete)")
    page.get_by_label("The earlier attempt").select_option(label="1 (complete)")
    expect(told.locator("li.changed")).to_contain_text("k:own changed")
    expect(told.locator("ins")).to_have_count(0)


def test_hostile_tokens_are_text_in_the_attempts(site: Site) -> None:
    hostile = {**talk("c", "true"), "command": ["sh", "-c", "echo > /out/x", HOSTILE]}
    site.gaia.upload("w", {}, [talk("c", "true")], [step("s", "c", "k:s")])
    site.gaia.wait("w")
    site.gaia.command("w", [hostile])
    site.gaia.wait("w")
    page = attempts(site, "s")
    expect(page.locator(".differences li.added").last).to_have_text(HOSTILE)
    assert page.evaluate("window.pwned") is None


# ----------------------------------------------------------------------------------- the definition


def test_definitions_are_found_shown_and_copied(site: Site) -> None:
    shout = {**talk("shout", "echo {{word}}"), "vars": {"word": "x"}}
    given = step("many", "shout", "k:{{word}}", vars={"word": ["a", HOSTILE]})
    site.gaia.upload("w", {}, [shout, COPY], [given, step("other", "copy", "k:o", "k:none")])
    site.gaia.wait("w")
    page = mount(site, "w", "definition.js", "DefinitionView")
    show(page)
    summaries = page.locator(".definitions > details > summary")
    expect(summaries).to_have_text(["shout", "copy", "many", "other"])
    page.get_by_label("Find a Command or Step").fill("many-a")
    expect(summaries).to_have_text(["many"])
    summaries.first.press("Enter")
    expect(page.locator(".block pre")).to_contain_text('"outputs": {"x": "k:{{word}}"}')
    expect(page.get_by_role("heading", name="It became 2 Steps")).to_be_visible()
    page.locator(".became summary", has_text="many-img").press("Enter")
    became = page.locator(".became details[open]")
    expect(became.locator(".tokens li").last).to_have_text(f"echo {HOSTILE}; echo shout > /out/x")
    expect(became).to_contain_text(f"k:{HOSTILE} at /out/x")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the definition of many").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert page.evaluate("JSON.parse", copied) == given
    page.get_by_label("Find a Command or Step").fill("nothing")
    expect(page.get_by_text("No Command and no Step has this in its name.")).to_be_visible()
    assert page.evaluate("window.pwned") is None


# --------------------------------------------------------------------------------------- the orders


def orders(site: Site, name: str = "w") -> Page:
    """The orders, and a button that gives them, which has the keyboard."""
    page = mount(site, name, "orders.js", "Orders")
    page.evaluate(
        """async () => {
          window.view.know(await window.slice());
          const button = document.createElement("button");
          button.textContent = "order";
          document.getElementById("view").append(button);
          button.focus();
        }"""
    )
    return page


def give(page: Page, order: str) -> None:
    page.evaluate(f"void window.view.{order}")


def ran(gaia: Gaia, name: str = "w") -> dict[str, int]:
    gaia.wait(name)
    return {row["step"]: row["attempts"] for row in gaia.table(name)["steps"]}


def test_what_runs_alone_and_shortly_runs_at_once(site: Site) -> None:
    sizes(site.gaia)
    page = orders(site)
    give(page, "rerun(['copied'])")
    expect(page.locator("#announcer")).to_have_text("copied runs again.")
    assert ran(site.gaia)["copied"] == 2
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_step_that_never_ran_is_run(site: Site) -> None:
    sizes(site.gaia)
    page = orders(site)
    give(page, "rerun(['late'])")
    expect(page.locator("#announcer")).to_have_text("late runs.")


def test_where_more_would_run_the_reader_is_asked_first(site: Site) -> None:
    sizes(site.gaia)
    before = ran(site.gaia)
    page = orders(site)
    give(page, "rerun(['s1'])")
    dialog = page.get_by_role("dialog", name="Run again?")
    expect(dialog).to_contain_text("2 Steps run, 1 of them because")
    expect(dialog).to_contain_text("2 of them are complete now.")
    expect(dialog).to_contain_text("The last time that took")
    expect(dialog.get_by_role("button", name="Leave as it is")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="order")).to_be_focused()
    assert ran(site.gaia) == before
    give(page, "rerun(['s1'])")
    dialog.get_by_role("button", name="Leave as it is").click()
    assert ran(site.gaia) == before
    give(page, "rerun(['s1'])")
    dialog.get_by_role("button", name="Run again").click()
    expect(page.locator("#announcer")).to_have_text("s1 runs again.")
    assert ran(site.gaia) == {**before, "s1": 2, "copied": 2}


def test_only_failed_steps_and_what_waits_for_them_are_retried(site: Site) -> None:
    sizes(site.gaia)
    before = ran(site.gaia)
    page = orders(site)
    give(page, "retryFailed()")
    dialog = page.get_by_role("dialog", name="Retry failed?")
    expect(dialog).to_contain_text("2 Steps run, 1 of them because")
    expect(dialog).to_contain_text("None of them is complete now.")
    dialog.get_by_role("button", name="Retry failed").click()
    expect(page.locator("#announcer")).to_have_text("The failed Step runs again.")
    assert ran(site.gaia) == {**before, "bad": before["bad"] + 1}


def test_running_all_again_always_asks(site: Site) -> None:
    site.gaia.upload("w", {}, [talk("c", "true")], [step("s", "c", "k:s")])
    site.gaia.wait("w")
    page = orders(site)
    give(page, "expireAll()")
    dialog = page.get_by_role("dialog", name="Run all again?")
    expect(dialog).to_contain_text("1 Step runs: s.")
    dialog.get_by_role("button", name="Run all again").click()
    expect(page.locator("#announcer")).to_have_text("All Steps run again.")
    assert ran(site.gaia) == {"s": 2}


def test_a_run_of_what_is_left_is_not_asked_about(site: Site) -> None:
    sizes(site.gaia)
    page = orders(site)
    give(page, "run()")
    expect(page.locator("#announcer")).to_have_text("It runs whatever is left to run.")
    assert ran(site.gaia)["bad"] == 2


def test_a_halt_asks_if_a_step_has_run_for_long(
    site: Site, gate: Fifo, wait_until: WaitUntil
) -> None:
    site.gaia.upload("w", {}, [talk("c", held(gate))], [step("s", "c", "k:s")])
    page = orders(site)
    wait_until(lambda: site.gaia.progress("w")["running"] == 1)
    page.evaluate(
        """async () => {
          const slice = await window.slice();
          slice.steps.get("s").started -= 7200;
          window.view.know(slice);
        }"""
    )
    give(page, "halt()")
    dialog = page.get_by_role("dialog", name="Halt?")
    expect(dialog).to_contain_text("s has run for 2 h")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert site.gaia.progress("w")["state"] == "running"
    page.evaluate("async () => window.view.know(await window.slice())")
    give(page, "halt()")
    expect(page.locator("#announcer")).to_have_text("Halted.")
    assert site.gaia.progress("w")["state"] == "halted"


def test_a_refused_order_is_told(site: Site) -> None:
    sizes(site.gaia)
    site.expected.append("400")
    page = orders(site)
    give(page, "rerun(['nobody'])")
    expect(page.locator("#announcer")).to_contain_text("Run again failed: ")
    expect(page.locator("#announcer")).to_contain_text("'nobody'")
