"""Timelines: the API's answers, and the pictures made from them."""

from __future__ import annotations

import base64
import datetime
import hashlib
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect

from gaia_local.errors import InvalidInput
from gaia_local.model.durations import duration
from gaia_local.model.usage import Usage
from gaia_local.pictures.timeline import arrange, html, svg
from gaia_local.pictures.timeline.lanes import moment
from gaia_local.pictures.timeline.packing import packed
from gaia_local.pictures.timeline.page import ENTRY, modules
from gaia_local.pictures.words import clean, width
from support import chromium
from support.builders import step
from support.fixtures import MakeGaia, WaitUntil

SLEEP: dict[str, Any] = {
    "name": "hold",
    "image": "busybox",
    "command": [
        "sh",
        "-c",
        "while [ ! -e '{{gate}}' ]; do sleep 0.02; done; test '{{end}}' = well && : > /out/held",
    ],
    "vars": {"end": "well"},
    "outputs": {"held": "/out/held"},
}


SVG = "{http://www.w3.org/2000/svg}"


def held(name: str, gate: Path, end: str = "well") -> dict[str, Any]:
    variables = {"gate": str(gate), "end": end}
    return step(name, "hold", outputs={"held": f"b:{name}"}, vars=variables)


# --------------------------------------------------------------------------------------- the record


def test_attempts_tell_what_ran_when_and_where(
    make_gaia: MakeGaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    gaia = make_gaia()
    gate = tmp_path / "gate"
    gaia.upload("w", {}, [SLEEP], [held("a", gate), held("b", gate, end="badly"), held("c", gate)])
    wait_until(lambda: gaia.progress("w")["running"] == 2)
    told = gaia.timeline("w")
    assert told["workflow"] == "w"
    first, second, third = told["attempts"]
    assert [attempt["step"] for attempt in (first, second, third)] == ["a", "b", "c"]
    assert [attempt["state"] for attempt in (first, second, third)] == [
        "running",
        "running",
        "queued",
    ]
    assert {first["worker"], second["worker"]} == {1, 2}
    assert (third["worker"], third["started"], third["ended"]) == (None, None, None)
    assert first["started"] is not None
    assert first["queued"] <= first["started"]
    gate.touch()
    gaia.wait("w")
    first, second, third = gaia.timeline("w")["attempts"]
    assert [attempt["state"] for attempt in (first, second, third)] == [
        "complete",
        "error",
        "complete",
    ]
    assert (second["exit_code"], second["message"], second["reason"]) == (1, "exit code 1", "new")
    for attempt in (first, second, third):
        assert attempt["started"] is not None
        assert attempt["ended"] is not None
        assert attempt["queued"] <= attempt["started"] <= attempt["ended"]
    assert third["worker"] in (1, 2)
    assert {attempt["command"] for attempt in (first, second, third)} == {"hold"}


def test_attempts_that_were_stopped_and_tried_again(
    make_gaia: MakeGaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    gaia = make_gaia(workers=1)
    gate = tmp_path / "gate"
    gaia.upload("w", {}, [SLEEP], [held("a", gate), held("b", gate)])
    wait_until(lambda: gaia.progress("w")["running"] == 1)
    gaia.halt("w")
    gate.touch()
    gaia.run("w")
    gaia.wait("w")
    attempts = gaia.timeline("w")["attempts"]
    assert [(attempt["step"], attempt["state"]) for attempt in attempts] == [
        ("a", "cancelled"),
        ("b", "cancelled"),
        ("a", "complete"),
        ("b", "complete"),
    ]
    assert attempts[0]["started"] is not None
    assert attempts[1]["started"] is None
    assert len({attempt["task"] for attempt in attempts}) == 4


# ----------------------------------------------------------------------------------------- arranged


def attempt(step: str, started: float | None, ended: float | None, **facts: Any) -> dict[str, Any]:
    """One attempt as `Gaia.timeline` tells it."""
    told = {
        "step": step,
        "command": "c",
        "task": step,
        "state": "complete",
        "reason": "new",
        "worker": 1,
        "exit_code": 0,
    }
    return {**told, "queued": T0, "started": started, "ended": ended, "message": None, **facts}


def told(*attempts: dict[str, Any], workflow: str = "w") -> dict[str, Any]:
    return {"workflow": workflow, "attempts": list(attempts)}


T0 = 1_790_000_000.0
MIXED = told(
    attempt("a", T0, T0 + 60),
    attempt("b", T0 + 1, T0 + 20, worker=2, state="error", exit_code=3, message="exit code 3"),
    attempt(
        "c",
        T0 + 60,
        None,
        state="running",
        exit_code=None,
        command=None,
        reason="input changed: b:x",
    ),
    attempt("d", T0 + 20, T0 + 21, worker=2, state="cancelled", exit_code=None, message="halted"),
    attempt("e", None, None, state="queued", worker=None, exit_code=None),
)


def test_lanes_are_workers_and_bars_lie_in_proportion() -> None:
    arranged = arrange(MIXED, now=T0 + 120)
    assert [lane.name for lane in arranged.lanes] == ["worker 1", "worker 2"]
    assert [[bar.step for bar in lane.bars] for lane in arranged.lanes] == [["a", "c"], ["b", "d"]]
    first, second = arranged.lanes[0].bars
    assert (first.left, first.width) == pytest.approx((0, 0.5))
    assert (second.left, second.width) == pytest.approx((0.5, 0.5))
    assert [lane.busy for lane in arranged.lanes] == pytest.approx([1.0, 20 / 120])
    assert arranged.counts == {"complete": 1, "error": 1, "running": 1, "cancelled": 1, "queued": 1}
    assert arranged.idle == (("e", "queued", "new"),)
    assert arranged.summary.startswith("5 attempts (1 not started) by 2 workers in 2 min, from ")


def test_a_bar_tells_its_facts() -> None:
    (first, running), (failed, cancelled) = (
        lane.bars for lane in arrange(MIXED, now=T0 + 120).lanes
    )
    assert first.facts[:3] == ("a", "Command c", "complete, exit code 0")
    assert first.facts[3] == "took 1 min, on worker 1"
    assert "error, exit code 3" in failed.facts
    assert "took 19.0 s, on worker 2" in failed.facts
    assert failed.facts[-2].endswith("after 1.0 s in the queue")
    assert ("cancelled" in cancelled.facts, "halted" in cancelled.facts) == (True, True)
    assert running.facts == (
        "c",
        "running",
        "took 1 min so far, on worker 1",
        f"started {moment(T0 + 60)}, after 1 min in the queue",
        "because: input changed: b:x",
    )


USAGE = Usage(0.3, 1.7, 0.1, 2.9, 0.3, 310 << 20, 10_000_000, 5_000, 70, 60)
TOLD = (
    "0.30 s copying inputs, 1.7 s running, 0.10 s storing",
    "3.2 s CPU, 310 MB of memory",
    "read 10 MB, wrote 5 kB, received 70 bytes, sent 60 bytes",
)


def test_what_an_attempt_took_is_told_at_its_bar() -> None:
    arranged = arrange(told(attempt("a", T0, T0 + 2.1, usage=USAGE.wire())), now=T0)
    (bar,) = arranged.lanes[0].bars
    assert bar.facts[3:] == (
        "took 2.1 s, on worker 1",
        *TOLD,
        f"started {moment(T0)}, after 0 ms in the queue",
        "because: new",
    )
    assert "\n".join(TOLD) in svg(arranged)


@pytest.mark.parametrize("usage", [None, Usage().wire()])
def test_what_nobody_measured_is_not_told(usage: Any) -> None:
    (bar,) = arrange(told(attempt("a", T0, T0 + 1, usage=usage)), now=T0).lanes[0].bars
    assert bar.facts == arrange(told(attempt("a", T0, T0 + 1)), now=T0).lanes[0].bars[0].facts


def test_attempts_that_overlap_on_one_worker_have_rows() -> None:
    arranged = arrange(
        told(
            attempt("a", T0, T0 + 10), attempt("b", T0 + 5, T0 + 15), attempt("c", T0 + 10, T0 + 12)
        ),
        now=T0 + 20,
    )
    (lane,) = arranged.lanes
    assert [(bar.step, bar.row) for bar in lane.bars] == [("a", 0), ("b", 1), ("c", 0)]
    assert lane.rows == 2


def test_long_idle_times_are_cut() -> None:
    days = 3 * 86400.0
    arranged = arrange(
        told(attempt("a", T0, T0 + 10), attempt("b", T0 + days, T0 + days + 10)), now=T0
    )
    (lane,) = arranged.lanes
    first, second = lane.bars
    assert first.width == pytest.approx(second.width)
    assert first.width > 0.48
    assert second.left + second.width == pytest.approx(1)
    (gap,) = arranged.gaps
    assert gap.text == "2 d 23 h idle"
    assert first.width < gap.at < second.left
    assert "in 20.0 s" in arranged.summary
    assert not arrange(told(attempt("a", T0, T0 + 10), attempt("b", T0 + 11, T0 + 20)), now=T0).gaps


@pytest.mark.parametrize("length", [0.004, 0.3, 7, 95, 1800, 86400 * 3, 86400 * 400])
def test_marks_of_time_are_few_round_and_in_order(length: float) -> None:
    arranged = arrange(told(attempt("a", T0 + 0.123, T0 + 0.123 + length)), now=T0)
    coarse = [tick for tick in arranged.ticks if tick.level == 0]
    assert 2 <= len(coarse) <= 10
    assert [tick.at for tick in coarse] == sorted(tick.at for tick in coarse)
    assert len({tick.text for tick in coarse}) == len(coarse)
    assert all(0 <= tick.at <= 1 for tick in arranged.ticks)
    assert len(arranged.ticks) < 400


def test_marks_are_at_the_times_that_they_tell() -> None:
    start = datetime.datetime(2026, 11, 22, 14, 13, 20).timestamp()
    arranged = arrange(told(attempt("a", start, start + 40)), now=start)
    assert [(tick.text, round(tick.at, 4)) for tick in arranged.ticks if tick.level == 0][:2] == [
        ("14:13:20", 0.0),
        ("14:13:25", 0.125),
    ]


def test_an_attempt_without_a_length_and_none_at_all() -> None:
    arranged = arrange(told(attempt("a", T0, T0)), now=T0)
    assert arranged.lanes[0].bars[0].width == 0
    empty = arrange(told(), now=T0)
    assert (empty.lanes, empty.ticks, empty.summary) == ((), (), "nothing has started yet")
    for arrangement in (arranged, empty):
        ET.fromstring(svg(arrangement))
    assert "w: what ran when" in html(told(), T0)


def test_an_old_record_without_workers() -> None:
    arranged = arrange(
        told(attempt("a", T0, T0 + 1, worker=None), attempt("b", T0, T0 + 1)), now=T0
    )
    assert [lane.name for lane in arranged.lanes] == ["worker 1", "no worker known"]


FROM = {"workflow": "v", "step": "<s>", "task": "f00d"}
REUSED = attempt("f", T0 + 30, T0 + 30.01, worker=None, reused=FROM)


def test_what_was_reused_lies_on_no_workers_lane() -> None:
    arranged = arrange(told(*MIXED["attempts"], REUSED), now=T0 + 120)
    assert [lane.name for lane in arranged.lanes] == ["worker 1", "worker 2", "reused"]
    assert [lane.about for lane in arranged.lanes] == ["100% busy", "17% busy", "1 Step"]
    (bar,) = arranged.lanes[2].bars
    assert (bar.state, bar.marked) == ("reused", False)
    assert bar.facts == (
        "f",
        "Command c",
        "reused from workflow 'v', Step '<s>'",
        "took 10 ms",
        f"started {moment(T0 + 30)}, after 30.0 s in the queue",
        "because: new",
    )
    assert arranged.counts["reused"] == 1
    assert arranged.counts["complete"] == 1
    assert arranged.summary.startswith(
        "6 attempts (1 reused, 1 not started) by 2 workers in 2 min, from "
    )
    alone = arrange(told(REUSED, REUSED), now=T0)
    assert alone.summary.startswith("2 attempts (2 reused) in 10 ms, from ")
    assert alone.lanes[0].about == "2 Steps"


def test_what_was_reused_has_a_look_of_its_own() -> None:
    drawn = svg(arrange(told(*MIXED["attempts"], REUSED), now=T0 + 120))
    assert ".gaia-timeline .reused .box{fill:none}" in drawn
    lone = svg(arrange(told({**REUSED, "ended": T0 + 60}), now=T0 + 120))
    assert '<g class="c0 reused"><rect class="box"' in lone


def test_each_command_has_one_colour_which_the_legend_names() -> None:
    attempts = [attempt(f"s{n}", T0 + n, T0 + n + 1, command=f"c{n % 3}") for n in range(9)]
    arranged = arrange(told(*attempts), now=T0)
    assert arranged.commands == ("c0", "c1", "c2")
    assert [bar.command for bar in arranged.lanes[0].bars] == [0, 1, 2] * 3
    drawn = svg(arranged)
    for number in range(3):
        assert drawn.count(f'<g class="c{number}"><rect class="box"') == 4  # one in the legend
    fills = re.findall(r"\.c\d \.box\{fill:(#[0-9a-f]{6})", drawn)
    assert len(fills) == len(set(fills)) == 6  # of three Commands, by day and by night


def test_words_of_idle_times_do_not_overlap() -> None:
    far = 40 * 86400.0
    attempts = [attempt(f"s{n}", T0 + n * far, T0 + n * far + 1 + n % 4) for n in range(40)]
    arranged = arrange(told(*attempts), now=T0)
    drawn = ET.fromstring(svg(arranged))
    shown = [text for text in drawn.iter(f"{SVG}text") if text.get("class") == "muted idle"]
    assert len(arranged.gaps) == 39
    assert 5 <= len(shown) < 39
    spans = []
    for text in shown:
        half = width(text.text or "", 11) / 2
        spans.append((float(text.attrib["x"]) - half, float(text.attrib["x"]) + half))
    assert all(one[1] < other[0] for one, other in itertools.pairwise(spans))
    told_anyhow = [gap.find(f"{SVG}title") for gap in drawn.iter(f"{SVG}path")]
    assert sum(title is not None for title in told_anyhow) == 39


def test_narrow_bars_side_by_side_are_one_in_a_picture() -> None:
    attempts = [attempt(f"s{n:05}", T0 + n, T0 + n + 1) for n in range(20_000)]
    drawn = svg(arrange(told(*attempts), now=T0))
    assert len(drawn) < 20_000
    assert "20000 attempts, from s00000" in drawn


def test_all_counts_of_attempts_agree() -> None:
    answer = told(*MIXED["attempts"], REUSED)
    arranged = arrange(answer, now=T0 + 120)
    bars = sum(len(lane.bars) for lane in arranged.lanes)
    number = len(answer["attempts"])
    assert sum(arranged.counts.values()) == bars + len(arranged.idle) == number
    assert arranged.summary.startswith(f"{number} attempts ")
    assert len(packed("w", answer["attempts"], T0)["attempts"]) == number


@pytest.mark.parametrize(
    "given",
    [
        {},
        told(attempt("a", T0, T0, reused={"workflow": "v"})),
        None,
        {"workflow": "w", "attempts": [{}]},
        told(attempt("a", "soon", None)),  # type: ignore[arg-type]
        told(attempt("a", 1e300, None)),
        told(attempt("a", T0, T0, usage="much")),
        told(attempt("a", T0, T0, usage={"memory": 1})),
        told(attempt("a", T0, T0, usage={**Usage().wire(), "memory": "<b>"})),
        told(attempt("a", T0, T0, usage={**Usage().wire(), "running": float("nan")})),
    ],
)
def test_an_invalid_timeline_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInput, match=r"Gaia\.timeline"):
        arrange(given, now=T0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0042, "4 ms"),
        (0.35, "0.35 s"),
        (9.96, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7530, "2 h 5 min"),
        (86400 * 3 + 4 * 3600 + 59, "3 d 4 h"),
        (-1, "0 ms"),
    ],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# -------------------------------------------------------------------------------------- as pictures


HOSTILE = ['"><script>alert(1)</script>', "a&lt;b", "</style><b>", "'x' \\ \u2028", "日本" * 40]


def test_a_file_needs_no_other_and_is_no_place_for_code() -> None:
    attempts = [
        attempt(name, T0 + n, T0 + n + 1, reason=name, command=name, message=name)
        for n, name in enumerate(HOSTILE)
    ]
    answer = told(*attempts, workflow=HOSTILE[0])
    page = html(answer, T0)
    assert page.count("<script") == page.count("</script>") == 3
    assert "<b>" not in page
    assert page.count("<style>") == page.count("</style>") == 1
    outside = re.sub(r"(?s)<script.*?</script>|<style>.*?</style>", "", page)
    assert not re.search(r"\b(src|href)=|url\(|@import|https?://", outside)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    for kind, tag in (("importmap", "script"), ("module", "script"), (None, "style")):
        opening = f'<{tag} type="{kind}">' if kind else f"<{tag}>"
        content = page.split(opening)[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"&#x27;sha256-{digest}&#x27;" in policy[1]
    drawn = ET.fromstring(svg(arrange(answer, now=T0)))
    tips = [title.text or "" for title in drawn.iter(f"{SVG}title")]
    for name in HOSTILE:
        assert any(clean(name) in tip for tip in tips)


def test_a_files_modules_have_all_that_they_import() -> None:
    found = modules()
    assert ENTRY in found
    for address in found.values():
        source = unquote(address.partition(",")[2])
        imported = re.findall(r'from "([^"]+)"', source)
        assert set(imported) <= found.keys()
    assert "api.js" not in found, "a file asks no server"


def test_a_file_is_small() -> None:
    attempts = []
    for n in range(20_000):
        usage = Usage(n / 7, n / 3, n / 9, n / 4, n / 80, n << 14, n * 999, n * 77, 70, 60).wire()
        name = f"simulation_Var{n % 7:03}_Seed{n // 500:03}_Gen{n % 500:03}_analysis"
        start = T0 + n * 3.3337
        attempts.append(
            attempt(name, start, start + 2.7183, queued=start - 1.4142, worker=n % 16, usage=usage)
        )
    assert len(html(told(*attempts), T0).encode()) < 3_000_000


def test_failed_and_cancelled_attempts_are_marked_however_short() -> None:
    attempts = [attempt(f"s{n}", T0 + n, T0 + n + 1) for n in range(2000)]
    attempts += [attempt("bad", T0 + 7, T0 + 7.1, state="error", worker=2)]
    attempts += [attempt("cut", T0 + 9, T0 + 9.1, state="cancelled", worker=2)]
    arranged = arrange(told(*attempts), now=T0)
    drawn = ET.fromstring(svg(arranged))
    framed = [
        group.attrib["class"]
        for group in drawn.iter(f"{SVG}g")
        if group.find(f"{SVG}rect[@class='frame']") is not None
    ]
    assert sorted(framed) == ["cancelled", "error failed"]
    signs = [group for group in drawn.iter(f"{SVG}g") if group.find(f"{SVG}path") is not None]
    # Once each in the legend.
    assert sorted(group.attrib["class"] for group in signs) == [
        "cancelled",
        "cancelled",
        "complete",
        "error",
        "error",
    ]


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a headless browser; skips if there is no Chromium."""
    program = chromium.installed()
    if program is None:
        pytest.skip("Chromium is not installed")
    with chromium.launched(program) as browser:
        yield browser.new_page(viewport={"width": 1000, "height": 600})


def test_the_timeline_is_usable_by_pointer_and_keyboard(page: Any, tmp_path: Path) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    file = tmp_path / "w.html"
    file.write_text(html(MIXED, T0 + 120), encoding="utf-8")
    page.goto(file.as_uri())
    told_there, chart = page.locator(".told"), page.get_by_role("listbox")
    expect(page.locator(".summary")).to_contain_text("5 attempts (1 not started) by 2 workers")
    page.get_by_role("searchbox").focus()
    for _ in range(4):
        page.keyboard.press("Tab")  # past the buttons of the zoom
    expect(chart).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(told_there).to_contain_text("aCommand c")
    expect(page.get_by_role("option")).to_contain_text("a; Command c; complete, exit code 0")
    page.keyboard.press("ArrowRight")
    expect(told_there).to_contain_text("took 1 min so far")
    page.keyboard.press("ArrowDown")
    expect(told_there).to_contain_text("dCommand c")
    box = chart.bounding_box()
    wide = box["width"] - 108
    page.mouse.move(box["x"] + 108 + wide * 10 / 120, box["y"] + 28 + 32 + 10)
    expect(told_there).to_contain_text("error, exit code 3")
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Zoom in").click()
    page.mouse.move(box["x"] + 108 + wide * 10 / 120, box["y"] + 28 + 32 + 10)
    expect(told_there).to_contain_text("Point at a bar")
    page.get_by_role("button", name="Fit").click()
    page.locator("summary", has_text="All 5 attempts").click()
    expect(page.locator(".attempts tbody tr")).to_have_count(5)
    expect(page.locator(".attempts tbody tr").last).to_contain_text("not started")
    page.get_by_role("searchbox").fill("b")
    expect(page.locator(".attempts tbody tr")).to_have_count(1)
    page.locator("summary", has_text="Commands").click()
    expect(page.locator(".commands tbody tr").first).to_contain_text("c41")
    assert problems == []
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]


def test_names_are_text_in_a_file(page: Any, tmp_path: Path) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    hostile = [
        *HOSTILE,
        "<!--<script>",
        "turned \u202egnp.exe",
        "</script><script>alert(2)</script>",
    ]
    attempts = [
        attempt(name, T0 + n, T0 + n + 1, reason=name, command=name, message=name)
        for n, name in enumerate(hostile)
    ]
    file = tmp_path / "w.html"
    file.write_text(html(told(*attempts, workflow=hostile[-1]), T0), encoding="utf-8")
    page.goto(file.as_uri())
    expect(page.locator("h1")).to_have_text(hostile[-1])
    page.locator("summary", has_text="as a table").click()
    rows = page.locator(".attempts tbody th")
    expect(rows).to_have_count(len(hostile))
    assert rows.all_text_contents() == [clean(name) for name in hostile]
    assert "\u202e" not in page.locator("body").inner_text()
    assert page.locator("script").count() <= 1
    assert problems == []
