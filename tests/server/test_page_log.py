"""The log of a Step on the status page: all of it, quickly, and as text alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from support.builders import step
from support.gates import Fifo
from support.status_page import Site, address, held, talk

GIGABYTE = 10**9
LINE = "2026-11-28 step of a long simulation: nothing new\n"  # 50 bytes, so there are 20 million
SHOWN = ".log .row"


def ran(site: Site, name: str = "me_log", script: str = "echo hello") -> Path:
    """A workflow with one Step, which ran; answers the path of its log."""
    site.gaia.upload(name, {}, [talk("c", script)], [step("only", "c", "k:out")])
    site.gaia.wait(name, 30)
    return Path(str(site.gaia.attempt(name, "only")["log"]))


def shown(site: Site, content: bytes, name: str = "me_log") -> Page:
    """The page at a Step with this log."""
    ran(site, name).write_bytes(content)
    return opened(site, name)


def opened(site: Site, name: str = "me_log") -> Page:
    """The page at the Step, with its log in sight."""
    page = site.go(name, "only")
    page.locator(".log").scroll_into_view_if_needed()
    return page


def view(page: Page, what: dict[str, Any], name: str = "me_log") -> None:
    """Put a log alone on the page, and let it show something, as an address may ask for."""
    page.evaluate(
        """async ([name, what]) => {
          const { LogView } = await import("./log.js");
          window.log?.stop();
          window.log = new LogView(name, "only");
          document.getElementById("view").replaceChildren(window.log.element);
          window.log.show(what);
          window.log.start(null);
        }""",
        [name, what],
    )


def row(page: Page, number: int) -> Locator:
    return page.locator(SHOWN).filter(has=page.locator(f'[data-number="{number}"]'))


def long_log(path: Path) -> int:
    """Write 1 GB of lines with a rare one at the beginning, in the middle and at the end."""
    lines = GIGABYTE // len(LINE)
    half = lines // 2 - 2
    with path.open("wb") as log:
        for words in ("first needle\n", "middle needle\n"):
            log.write(words.encode())
            log.flush()
            subprocess.run(
                ["sh", "-c", f"yes '{LINE.strip()}' | head -c {half * len(LINE)}"],
                stdout=log,
                check=True,
            )
            log.seek(0, 2)
        log.write(b"last needle\n")
    return 2 * half + 3


def test_a_gigabyte_is_at_hand_whole(site: Site) -> None:
    path = ran(site)
    lines = long_log(path)
    page = opened(site)
    expect(row(page, lines)).to_have_text("last needle")
    before = memory(page)

    view(page, {"line": lines // 2})
    expect(row(page, lines // 2)).to_have_class("row linked")
    expect(row(page, lines // 2).locator(".text")).to_have_text(re.compile("long simulation"))
    expect(row(page, lines // 2)).to_be_in_viewport()

    search = page.get_by_placeholder("Search the log")
    search.fill("LAST needle")
    expect(page.locator(".matches .note")).to_have_text("1 of 1", timeout=90_000)
    expect(row(page, lines).locator("mark.now")).to_be_in_viewport()
    search.fill("needle")
    expect(page.locator(".matches .note")).to_have_text("1 of 3", timeout=90_000)
    search.press("Shift+Enter")
    expect(page.locator(".matches .note")).to_have_text("3 of 3")
    expect(row(page, lines).locator("mark.now")).to_be_in_viewport()
    search.fill("simulation")
    expect(page.locator(".matches .note")).to_have_text(f"1 of {lines - 3:,}", timeout=90_000)
    search.press("Shift+Enter")
    expect(row(page, lines - 1).locator("mark.now")).to_be_in_viewport()
    search.fill("")

    for line in (1, lines // 3, lines - 500):
        view(page, {"line": line})
        expect(row(page, line).locator(".text")).not_to_have_text("")
        assert frame_time(page) < 100
        assert page.locator(SHOWN).count() < 150
    assert memory(page) - before < 30_000_000
    assert site.fits()


def frame_time(page: Page) -> float:
    """Milliseconds that half of the frames take at least, while the log scrolls."""
    times: list[float] = page.evaluate(
        """async () => {
          const log = document.querySelector(".log");
          const next = () => new Promise(requestAnimationFrame);
          const times = [];
          let before = await next();
          for (let frame = 0; frame < 60; frame += 1) {
            log.scrollTop += 45;
            const now = await next();
            times.push(now - before);
            before = now;
          }
          return times.sort((one, other) => one - other);
        }"""
    )
    return times[len(times) // 2]


def memory(page: Page) -> int:
    """Bytes of the page's heap."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used: int = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return used


# -------------------------------------------------------------------------------------- scrolling


def numbered(lines: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(1, lines + 1))


def top(page: Page) -> int:
    """The number of the first line that is in sight whole."""
    number: int = page.evaluate(
        """() => {
          const top = document.querySelector(".log").getBoundingClientRect().top;
          return [...document.querySelectorAll(".log .number")]
            .filter((each) => each.getBoundingClientRect().top >= top - 1)
            .map((each) => Number(each.dataset.number))[0];
        }"""
    )
    return number


def test_the_scroll_bar_reaches_all_lines(site: Site) -> None:
    page = shown(site, numbered(1_000_000))
    log = page.locator(".log")
    expect(row(page, 1_000_000)).to_be_in_viewport()
    log.evaluate("each => { each.scrollTop = 0; }")
    expect(row(page, 1)).to_have_text("line 1")
    assert top(page) == 1
    log.evaluate("each => { each.scrollTop = (each.scrollHeight - each.clientHeight) / 2; }")
    expect(row(page, 500_000)).to_have_text("line 500000")
    log.evaluate("each => { each.scrollTop = each.scrollHeight; }")
    expect(row(page, 1_000_000)).to_be_in_viewport()
    expect(page.get_by_role("button", name="Go to the end")).to_be_hidden()


def settle(page: Page) -> None:
    """Wait until a movement that a key began has ended."""
    page.evaluate(
        """async () => {
          const log = document.querySelector(".log");
          let still = 0;
          for (let before = log.scrollTop; still < 15; before = log.scrollTop) {
            await new Promise(requestAnimationFrame);
            still = log.scrollTop === before ? still + 1 : 0;
          }
        }"""
    )


def test_the_keyboard_scrolls_past_no_line(site: Site) -> None:
    page = shown(site, numbered(1_000_000))
    expect(row(page, 1_000_000)).to_be_in_viewport()
    page.locator(".log").focus()
    page.keyboard.press("Home")
    expect(row(page, 1)).to_be_in_viewport()
    settle(page)
    for key, least, most in [("PageDown", 10, 18), ("ArrowDown", 1, 4), ("PageUp", -18, -10)] * 3:
        before = top(page)
        page.keyboard.press(key)
        settle(page)
        assert least <= top(page) - before <= most, key
    page.keyboard.press("End")
    expect(row(page, 1_000_000)).to_be_in_viewport()


def test_wrapped_lines_of_all_heights_scroll_pixel_by_pixel(site: Site) -> None:
    content = b"".join(b"%d %s\n" % (n, b"word " * (n * 7 % 300)) for n in range(1, 2001))
    page = shown(site, content)
    expect(row(page, 2000)).to_be_in_viewport()
    for line in (1, 700, 1980):
        view(page, {"line": line})
        expect(row(page, line)).to_be_in_viewport()
        moves: list[float] = page.evaluate(
            """async () => {
              const log = document.querySelector(".log");
              const next = () => new Promise(requestAnimationFrame);
              const moves = [];
              for (let frame = 0; frame < 150; frame += 1) {
                const end = log.scrollHeight - log.clientHeight - log.scrollTop < 40;
                const seen = [...log.querySelectorAll(".row")].find((each) =>
                  each.getBoundingClientRect().bottom > log.getBoundingClientRect().top + 80);
                const before = seen.getBoundingClientRect().top;
                log.scrollTop += 30;
                await next();
                await next();
                if (!end && seen.isConnected) moves.push(before - seen.getBoundingClientRect().top);
              }
              return moves;
            }"""
        )
        assert len(moves) > 20
        jumps = [(place, move) for place, move in enumerate(moves) if abs(move - 30) > 2]
        assert not jumps, f"from line {line}"


def test_a_log_is_followed_until_the_reader_scrolls_up(site: Site, gate: Fifo) -> None:
    script = "seq -f 'line %.0f' 1 300; " + held(gate) + "; seq -f 'line %.0f' 302 600"
    site.gaia.upload("me_log", {}, [talk("c", script)], [step("only", "c", "k:out")])
    page = opened(site)
    expect(row(page, 300)).to_be_in_viewport()
    to_end = page.get_by_role("button", name="Go to the end")
    expect(to_end).to_be_hidden()
    page.locator(".log").hover()
    page.mouse.wheel(0, -400)
    expect(to_end).to_be_visible()
    before = top(page)
    gate.open("on\n")
    site.gaia.wait("me_log", 30)
    expect(page.locator(".log .long")).to_have_css("height", re.compile(r"10\d\d\dpx|108\d\dpx"))
    assert top(page) == before
    to_end.click()
    expect(row(page, 600)).to_be_in_viewport()
    expect(to_end).to_be_hidden()


# ------------------------------------------------------------------------- attempts, lines, tools


def test_an_earlier_attempt_and_a_dropped_one_are_told_apart(site: Site) -> None:
    ran(site, script="date +%s%N")
    first = site.gaia.attempt("me_log", "only")
    site.gaia.expire("me_log", ["only"])
    site.gaia.wait("me_log", 30)
    Path(str(first["log"])).write_text("the first attempt\n")
    page = opened(site)
    view(page, {"task": first["task"], "line": 1})
    expect(row(page, 1).locator(".text")).to_have_text("the first attempt")
    note = page.locator(".log-view > .note")
    expect(note).to_contain_text("The log of an earlier attempt.")
    link = row(page, 1).get_by_label("Line 1")
    assert link.get_attribute("href") == address("me_log", "only") + f"?task={first['task']}&line=1"
    page.evaluate("window.log.show({})")
    expect(row(page, 1).locator(".text")).to_have_text(re.compile(r"\d{19}"))
    expect(note).to_be_hidden()
    site.gaia.drop_attempts(keep=1)
    site.expected.append("404")
    view(page, {"task": first["task"]})
    expect(note).to_contain_text("it has no attempt")
    expect(note).to_contain_text("keep more of them with keep_attempts")


def test_the_last_lines_are_told_without_colours(site: Site) -> None:
    page = shown(site, b"one\ntwo\n\x1b[31mthree\x1b[0m\n10%\r100%\n")
    told = page.evaluate("async () => (await import('./log.js')).lastLines('me_log', 'only', 2)")
    assert told == "three\n100%"


def test_a_search_goes_around_by_keyboard(site: Site) -> None:
    page = shown(site, numbered(300) + b"Line of another kind, and a line more\n")
    search, count = page.get_by_placeholder("Search the log"), page.locator(".matches .note")
    search.fill("line 29")
    expect(count).to_have_text("1 of 11")
    expect(row(page, 29).locator("mark.now")).to_have_text("line 29")
    search.press("Enter")
    expect(count).to_have_text("2 of 11")
    expect(row(page, 290).locator("mark.now")).to_be_in_viewport()
    for place in ("1", "11"):
        search.press("Shift+Enter")
        expect(count).to_have_text(f"{place} of 11")
    expect(row(page, 299).locator("mark.now")).to_be_in_viewport()
    search.fill("line")
    search.press("Enter")
    expect(count).to_have_text("1 of 302")
    page.get_by_role("button", name="Previous").click()
    expect(row(page, 301).locator("mark")).to_have_text(["Line", "line"])
    expect(row(page, 301).locator("mark.now")).to_have_text("line")
    page.get_by_role("button", name="Match case").click()
    expect(count).to_have_text("1 of 301")
    search.fill("nowhere")
    expect(count).to_have_text("No matches")
    search.press("Escape")
    expect(search).to_have_value("")
    expect(page.locator(".matches")).to_be_hidden()
    expect(page.locator(".panel")).to_be_visible()


def test_a_log_wraps_fills_the_window_and_is_downloaded(site: Site) -> None:
    content = b"word " * 200 + b"\n" + numbered(100)
    page = shown(site, content)
    log = page.locator(".log")
    page.locator(".log").evaluate("each => { each.scrollTop = 0; }")
    wrap = page.get_by_role("button", name="Wrap lines")
    expect(row(page, 1)).to_be_in_viewport()
    assert row(page, 1).evaluate("each => each.offsetHeight") > 100
    wrap.click()
    expect(wrap).to_have_attribute("aria-pressed", "false")
    assert row(page, 1).evaluate("each => each.offsetHeight") < 30
    assert log.evaluate("each => each.scrollWidth > each.clientWidth + 1000")
    assert site.fits()
    wide = page.get_by_role("button", name="Full width")
    wide.click()
    assert log.evaluate("each => each.clientWidth > 0.9 * innerWidth")
    assert log.evaluate("each => each.clientHeight > 0.8 * innerHeight")
    page.keyboard.press("Escape")
    expect(wide).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".panel")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the log").click()
    assert download.value.path().read_bytes() == content
    task = site.gaia.attempt("me_log", "only")["task"]
    assert download.value.suggested_filename == f"only-{task}.log"


def test_a_log_fits_a_narrow_window(site: Site) -> None:
    site.page.set_viewport_size({"width": 390, "height": 800})
    page = shown(site, numbered(300) + b"x" * 5000 + b"\n")
    expect(row(page, 301)).to_be_in_viewport()
    page.get_by_placeholder("Search the log").fill("line")
    expect(page.locator(".matches .note")).to_have_text("1 of 300")
    assert site.fits()
    page.get_by_role("button", name="Full width").click()
    assert site.fits()


# ---------------------------------------------------------------------------------- what is shown


def test_colours_are_those_of_a_terminal_and_readable_in_both_themes(site: Site) -> None:
    page = shown(
        site,
        b"\x1b[1;34mbold blue\x1b[0m \x1b[38;5;226myellow\x1b[0m \x1b[48;2;0;0;128mground\x1b[0m "
        b"\x1b[3;4mslanted\x1b[0m \x1b[31mred\nstill red\x1b[0m\n",
    )
    expect(row(page, 1)).to_have_text("bold blue yellow ground slanted red")
    blue, yellow, ground = (page.locator(".log .coloured").nth(number) for number in range(3))
    expect(blue).to_have_css("font-weight", "700")
    expect(ground).to_have_css("background-color", "rgb(0, 0, 128)")
    expect(page.locator(".log .italic.underline")).to_have_css("font-style", "italic")
    in_light = yellow.evaluate("each => getComputedStyle(each).color")
    page.emulate_media(color_scheme="dark")
    expect(yellow).to_have_css("color", "rgb(255, 255, 0)")
    assert in_light != "rgb(255, 255, 0)"
    expect(row(page, 2).locator(".coloured")).to_have_text("still red")


def test_a_hostile_log_changes_nothing_but_text(site: Site) -> None:
    colours = b"".join(b"\x1b[38;2;%d;%d;0mx" % (n % 256, n // 256) for n in range(600))
    content = (
        b"<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>\n"
        b"\x1b]8;;javascript:window.pwned=1\x1b\\click me\x1b]8;;\x1b\\\n"
        b"\x1b]0;taken over\x07\x1b]2;taken over\x07title\n"
        b"\x1b[2J\x1b[1;1H\x1b[?1049h\x1b[6nmoves\n"
        b"\x1b[31;1\x1b]52;c;aGk=\x07unfinished\n"
        b"a \xe2\x80\xaeturned\n"
        b"\xff\xfe\x00broken\n"
        + colours
        + b"\n"
        + b"y" * 10_000_000
        + b"\n"
        + b"\x1b]" * 5000
        + b"\n"
        + b"z" * 10_000_000
        + b"\rover\nlast\n"
    )
    page = shown(site, content)
    title = page.title()
    expect(row(page, 12)).to_have_text("last")
    texts = [row(page, number).locator(".text") for number in range(13)]
    expect(texts[1]).to_have_text(
        "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    )
    expect(texts[2]).to_have_text("click me")
    expect(texts[3]).to_have_text("title")
    expect(texts[4]).to_have_text("moves")
    expect(texts[5]).to_have_text("31;1unfinished")
    expect(texts[6]).to_have_text("a \ufffdturned")
    expect(texts[7]).to_have_text("\ufffd\ufffdbroken")
    assert len(texts[8].inner_text().strip()) == 600
    expect(texts[9].locator(".more")).to_have_text("… 10 MB more")
    assert len(texts[9].inner_text()) < 11_000
    expect(texts[11]).to_have_text("over … 10 MB more")
    assert page.locator(".log *").count() < 1000
    assert page.locator(".log a:not(.number), .log script, .log img").count() == 0
    assert page.evaluate("window.pwned") is None
    assert page.title() == title
