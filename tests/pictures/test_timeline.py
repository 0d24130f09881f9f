"""Timelines: the API's answers, and the pictures made from them."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest

from gaia_local.errors import InvalidInput
from gaia_local.model.durations import duration
from gaia_local.model.usage import Usage
from gaia_local.pictures.timeline import arrange, html, svg
from gaia_local.pictures.timeline.lanes import moment
from gaia_local.pictures.words import clean
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
    assert arranged.summary.startswith("4 attempts by 2 workers in 2 min, from ")


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


def test_what_an_attempt_took_is_told_at_its_bar_and_in_the_table() -> None:
    arranged = arrange(told(attempt("a", T0, T0 + 2.1, usage=USAGE.wire())), now=T0)
    (bar,) = arranged.lanes[0].bars
    assert bar.facts[3:] == (
        "took 2.1 s, on worker 1",
        *TOLD,
        f"started {moment(T0)}, after 0 ms in the queue",
        "because: new",
    )
    page = html(arranged)
    assert f'data-facts="{escape(chr(10).join(bar.facts))}"' in page
    assert f"<td>{escape('; '.join(bar.facts[1:]))}</td>" in page
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
        assert "w: what ran when" in html(arrangement)


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
    assert arranged.summary.startswith("4 attempts by 2 workers, 1 reused, in 2 min, from ")
    alone = arrange(told(REUSED, REUSED), now=T0)
    assert alone.summary.startswith("2 reused in 10 ms, from ")
    assert alone.lanes[0].about == "2 Steps"


def test_what_was_reused_has_a_look_of_its_own() -> None:
    arranged = arrange(told(*MIXED["attempts"], REUSED), now=T0 + 120)
    page, drawn = html(arranged), svg(arranged)
    assert re.search(r'class="bar reused"', page)
    assert '<th scope=row>f</th><td class="reused">' in page
    assert ".bar.reused{border-style:dashed}" in page
    assert "reused from workflow &#x27;v&#x27;, Step &#x27;&lt;s&gt;&#x27;" in page
    assert ".gaia-timeline .reused .box{stroke-dasharray:" in drawn
    assert '<g><g class="reused">' in drawn


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
        attempt(name, T0 + n, T0 + n + 1, reason=name, command=name)
        for n, name in enumerate(HOSTILE)
    ]
    page = html(arrange(told(*attempts, workflow=HOSTILE[0]), now=T0))
    assert page.count("<script>") == 1
    assert "<b>" not in page
    assert not re.search(r"\b(src|href)=|url\(|@import|https?://", page)
    script = page.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{digest}&#x27;" in page
    drawn = ET.fromstring(svg(arrange(told(*attempts, workflow=HOSTILE[0]), now=T0)))
    tips = [title.text or "" for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    for name in HOSTILE:
        assert any(clean(name) in tip for tip in tips)


def test_failed_and_cancelled_attempts_are_marked_however_short() -> None:
    attempts = [attempt(f"s{n}", T0 + n, T0 + n + 1) for n in range(2000)]
    attempts += [attempt("bad", T0 + 7, T0 + 7.1, state="error", worker=2)]
    attempts += [attempt("cut", T0 + 9, T0 + 9.1, state="cancelled", worker=2)]
    arranged = arrange(told(*attempts), now=T0)
    drawn = ET.fromstring(svg(arranged))
    discs = [
        group.attrib["class"]
        for group in drawn.iter()
        if group.find("{http://www.w3.org/2000/svg}circle[@class='disc']") is not None
    ]
    # Once each in the legend.
    assert sorted(discs) == [
        "cancelled",
        "cancelled",
        "complete",
        "error",
        "error",
    ]
    page = html(arranged)
    assert re.search(r'class="bar error mark"', page)
    assert re.search(r'class="bar cancelled mark"', page)


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a headless browser; skips if there is no Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser.new_page(viewport={"width": 1000, "height": 600})
        finally:
            browser.close()


def test_the_timeline_is_usable_by_pointer_and_keyboard(page: Any, tmp_path: Path) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    file = tmp_path / "w.html"
    file.write_text(html(arrange(MIXED, now=T0 + 120)), encoding="utf-8")
    page.goto(file.as_uri())
    told_there = page.locator("#details")
    page.locator(".bar.error").hover()
    assert "error, exit code 3" in told_there.inner_text()
    page.keyboard.press("Tab")  # to the zoom
    page.keyboard.press("Tab")
    assert told_there.inner_text().startswith("a")
    page.keyboard.press("ArrowRight")
    assert told_there.inner_text().startswith("c")
    page.keyboard.press("ArrowDown")
    assert told_there.inner_text().startswith("d")
    before = page.locator(".bar.error").bounding_box()["width"]
    assert page.locator(".tick.l1:visible").count() == 0
    page.locator("#zoom").fill("3")
    assert page.locator(".bar.error").bounding_box()["width"] == pytest.approx(8 * before, rel=0.1)
    assert page.locator(".tick.l1:visible").count() > 10
    page.locator("summary").click()
    assert page.locator("tbody tr").count() == 5
    assert "never started" in page.locator("tbody tr").last.inner_text()
    assert problems == []
    assert requests == [file.as_uri()]
