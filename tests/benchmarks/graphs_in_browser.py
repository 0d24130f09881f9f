"""Graphs of large workflows on the status page: from the call of the page until they are drawn.

As a program, ``python -m benchmarks.graphs_in_browser ARGUMENTS`` is the server. ARGUMENTS are
JSON: the root, the shape, and its number of Steps. It prints the address of its page once all Steps
are complete. At each line on standard input it expires all of them and halts the workflow, or, the
next time, makes them complete once more; and prints a line. It ends with its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import Failed, Finding, Missing, Row, Setting, clean_environment
from benchmarks.ours import INSTANT, NAME, finish, opened
from benchmarks.soak.readings import cpu_seconds, descendants
from support import chromium
from support.graph_answers import one_group
from support.graphs import cells, sweeps

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SECONDS = 120
"""After so long, what is waited for has failed."""
FRAMES = 180
FRAME_MOST = 0.017
"""Seconds: 60 frames a second."""
SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "cells": lambda _: cells(),
    "sweeps": sweeps,
    "group": lambda count: one_group(count - 1),
}
_DRAWN = """() => document.querySelector("svg.graph .node") !== null
    && document.querySelector(".canvas[aria-busy]") === null"""
_PAINTED = """() => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(done)))"""
_OPEN = """() => document.querySelector(".node.group [aria-expanded]")
    .dispatchEvent(new MouseEvent("click", { bubbles: true }))"""
# The seconds between each two frames, sorted, while the wheel turns back and forth.
_PAN = """async (frames) => {
    const svg = document.querySelector("svg.graph");
    const next = () => new Promise(requestAnimationFrame);
    const gaps = [];
    let before = await next();
    for (let frame = 0; frame < frames; frame += 1) {
        const deltaX = frame % 60 < 30 ? 14 : -14, deltaY = frame % 90 < 45 ? 9 : -9;
        svg.dispatchEvent(new WheelEvent("wheel",
            { deltaX, deltaY, bubbles: true, cancelable: true }));
        const now = await next();
        gaps.push((now - before) / 1000);
        before = now;
    }
    return gaps.sort((one, other) => one - other);
}"""
# Few may be complete after an order to expire all, if they ran before the halt.
_CHANGED = """([count, complete]) => {
    const label = document.querySelector(".node.group [aria-expanded]").getAttribute("aria-label");
    const told = Number((/([0-9,]+) complete/.exec(label)?.[1] ?? "0").replaceAll(",", ""));
    return complete ? told === count : told <= count / 2;
}"""


@dataclass(frozen=True)
class Cost:
    """The seconds that something took."""

    wall: float
    cpu: float
    """Of all processes of the browser."""
    main: float
    """CPU time of the page's main thread."""


def graphs(setting: Setting) -> Iterator[Finding]:
    """Graphs on the status page in Chromium: opened, panned, and all states changed at once."""
    program = chromium.installed()
    if program is None:
        yield Missing("the graphs of the status page", "needs chromium")
        return
    large, most = setting.count(5_000, least=20), setting.count(10_000, least=20)
    with chromium.launched(program) as browser:
        for what, shape, count, target in (
            ("277 Steps, a Command for each", "cells", 277, 2.0),
            (f"{large:,} Steps in groups", "sweeps", large, 3.0),
        ):
            with _serving(setting, shape, count) as server:
                costs = [_opening(browser, server.url) for _ in range(setting.few(5))]
            yield from _rows(f"the page's graph of {what}, until it's drawn", costs, target)
        with _serving(setting, "group", most) as server:
            yield from _one_group(browser, server, most - 1, setting.few(5))


def _opening(browser: Browser, url: str) -> Cost:
    """Open the page in a browser that has nothing of it."""
    with _blank(browser) as page:
        return _measured(page, lambda: _go(page, url))


def _one_group(browser: Browser, server: _Server, count: int, rounds: int) -> Iterator[Finding]:
    """Of a group with so many Steps: opened, panned, and changed."""
    opening, panning, changing = list[Cost](), list[Cost](), list[Cost]()
    medians, worse = list[float](), list[float]()
    with _blank(browser) as page:
        _go(page, server.url)
        opening.append(_measured(page, lambda: _open_group(page)))
        for _ in range(rounds):
            gaps: list[float] = []
            panning.append(_measured(page, lambda: gaps.extend(page.evaluate(_PAN, FRAMES))))  # noqa: B023
            medians.append(gaps[len(gaps) // 2])
            worse.append(gaps[len(gaps) * 95 // 100])
        for number in range(min(rounds, 3)):
            if number > 0:
                _change(page, server, count, complete=True)
                server.await_change()
            changing.append(_measured(page, lambda: _change(page, server, count, complete=False)))
            server.await_change()
    yield from _rows(f"a group of {count:,} Steps, opened until it's drawn", opening)
    yield Row(f"… panned: a frame, median of {FRAMES}", "ms", medians, most=FRAME_MOST)
    yield Row("… the frame that 5 % take longer than", "ms", worse)
    yield Row("… CPU time of a frame, main thread", "ms", [cost.main / FRAMES for cost in panning])
    yield Row("… CPU time of a frame, browser", "ms", [cost.cpu / FRAMES for cost in panning])
    yield from _rows(f"all {count:,} expired, from the order until it's drawn", changing)


def _rows(what: str, costs: Sequence[Cost], most: float | None = None) -> Iterator[Row]:
    yield Row(what, "s", [cost.wall for cost in costs], most=most)
    yield Row(f"… CPU time of the browser ({what})", "s", [cost.cpu for cost in costs])
    yield Row(f"… CPU time of its main thread ({what})", "s", [cost.main for cost in costs])


# ------------------------------------------------------------------------------------- the browser


@contextlib.contextmanager
def _blank(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own, so that nothing is cached."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    context.set_default_timeout(1000 * SECONDS)
    try:
        yield context.new_page()
    finally:
        context.close()


def _go(page: Page, url: str) -> None:
    page.goto(f"{url}#/{NAME}")
    _await(page, _DRAWN)


def _open_group(page: Page) -> None:
    page.evaluate(_OPEN)
    page.wait_for_selector(".node.group.open", state="attached")
    _await(page, _DRAWN)


def _change(page: Page, server: _Server, count: int, *, complete: bool) -> None:
    server.change()
    _await(page, _CHANGED, [count, complete])


def _await(page: Page, shown: str, given: object = None) -> None:
    """Wait until a condition holds, and for the frame that paints it."""
    page.wait_for_function(shown, arg=given)
    page.evaluate(_PAINTED)


def _measured(page: Page, act: Callable[[], None]) -> Cost:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def main() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    main_before, cpu_before, began = main(), _browser_cpu(), time.perf_counter()
    act()
    wall = time.perf_counter() - began
    cost = Cost(wall, _browser_cpu() - cpu_before, main() - main_before)
    devtools.detach()
    return cost


def _browser_cpu() -> float:
    """CPU seconds so far of the browser's processes that live, all of them below this one."""
    seconds = 0.0
    for pid in descendants(os.getpid()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if "chromium" in Path(f"/proc/{pid}/comm").read_text():
                seconds += cpu_seconds(pid)
    return seconds


# -------------------------------------------------------------------------------------- the server


class _Server:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._line()

    def change(self) -> None:
        """Give the order to change all states."""
        assert self._process.stdin is not None
        self._process.stdin.write("change\n")

    def await_change(self) -> None:
        """Wait until the server has done it."""
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise Failed(f"the server ended with exit code {self._process.wait(SECONDS)}")
        return line


@contextlib.contextmanager
def _serving(setting: Setting, shape: str, count: int) -> Iterator[_Server]:
    with (
        setting.place() as root,
        subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.graphs_in_browser"),
                json.dumps([root, shape, count]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=clean_environment(),
        ) as process,
    ):
        try:
            yield _Server(process)
        finally:
            process.kill()


def workflow(graph: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Commands and Steps whose graph is that one; a Command's Steps have as many inputs each."""
    makers: dict[str, list[str]] = {step["step"]: [] for step in graph["steps"]}
    for edge in graph["edges"]:
        makers[edge["to"]].append(edge["from"])
    commands: dict[str, dict[str, Any]] = {}
    steps = []
    for step in graph["steps"]:
        inputs = makers[step["step"]]
        commands[step["command"]] = {
            "name": step["command"],
            "image": "busybox",
            "command": ["true"],
            "inputs": {f"i{place}": f"/in/{place}" for place in range(len(inputs))},
            "outputs": {"x": "/out/x"},
        }
        steps.append(
            {
                "name": step["step"],
                "command": step["command"],
                "inputs": {f"i{place}": _key(maker) for place, maker in enumerate(inputs)},
                "outputs": {"x": _key(step["step"])},
            }
        )
    return list(commands.values()), steps


def _key(step: str) -> str:
    return f"d:{step}"


def main(root: str, shape: str, count: int) -> None:
    """The server; see the module."""
    from gaia_local.server import Server

    commands, steps = workflow(SHAPES[shape](count))
    names = [step["name"] for step in steps]
    with opened(root, INSTANT) as gaia, Server(gaia, port=0, no_token=True) as server:
        gaia.upload(NAME, {}, commands, steps)
        finish(gaia)
        print(server.url, flush=True)
        complete = True
        for _ in sys.stdin:
            if complete:
                gaia.expire(NAME, names)
                gaia.halt(NAME)
            else:
                gaia.run(NAME)
                finish(gaia)
            complete = not complete
            print("changed", flush=True)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
