"""Timelines of many attempts: their sizes as files, and the time until a browser shows one."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measuring import Finding, Missing, Row, Setting
from gaia_local.model.usage import Usage
from gaia_local.pictures.timeline import arrange, html, svg
from support import chromium

START = 1_790_000_000.0
WORKERS, COMMANDS = 16, 8
_PAINTED = """async () => {
    while (document.querySelector("canvas") === null)
        await new Promise((done) => setTimeout(done, 5));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def timelines(setting: Setting) -> Iterator[Finding]:
    """A timeline of 20,000 attempts: made, opened from a file, and drawn as SVG."""
    count = setting.count(20_000, least=100)
    answer, now = _attempts(count)
    made: list[float] = []
    pages: list[str] = []
    for _ in range(setting.few(3)):
        began = time.perf_counter()
        pages = [html(answer, now)]
        made.append(time.perf_counter() - began)
    size = len(pages[0].encode())
    yield Row(f"size of an HTML timeline of {count:,} attempts", "MB", [float(size)], most=3e6)
    yield Row(f"time to make an HTML timeline of {count:,} attempts", "s", made)
    drawn = float(len(svg(arrange(answer, now)).encode()))
    yield Row(f"size of an SVG timeline of {count:,} attempts", "MB", [drawn], most=3e6)
    what = f"time to open an HTML timeline of {count:,} attempts"
    program = chromium.installed()
    if program is None:
        yield Missing(what, "needs chromium")
        return
    with setting.place() as folder:
        file = Path(folder) / "timeline.html"
        file.write_text(pages[0], encoding="utf-8")
        yield Row(what, "s", _opened(program, file, setting.few(5)), most=1.0)


def _opened(program: str, file: Path, rounds: int) -> list[float]:
    """The seconds from the order to open the file until its bars are painted."""
    found = []
    with chromium.launched(program) as browser:
        for _ in range(rounds):
            page = browser.new_page()
            began = time.perf_counter()
            page.goto(file.as_uri())
            page.evaluate(_PAINTED)
            found.append(time.perf_counter() - began)
            page.close()
    return found


def _attempts(count: int) -> tuple[dict[str, Any], float]:
    """An answer of `Gaia.timeline`, and the time when the last attempt ended."""
    chance = random.Random(7)
    free = [START] * WORKERS
    attempts = []
    for number in range(count):
        worker = min(range(WORKERS), key=free.__getitem__)
        started = free[worker] + 0.1 * chance.random()
        seconds = chance.lognormvariate(1, 0.9)
        free[worker] = started + seconds
        state = "error" if chance.random() < 0.02 else "complete"
        memory, files = chance.randrange(3 << 30), chance.randrange(10**9)
        parts = (0.1 * seconds, 0.8 * seconds, 0.1 * seconds, 0.7 * seconds, 0.03 * seconds)
        attempts.append(
            {
                "step": f"simulation_Seed{number % 50:03}_Gen{number // 50:03}_analysis",
                "command": f"command-{chance.randrange(COMMANDS)}",
                "task": f"{number:032x}",
                "state": state,
                "reason": "new",
                "worker": worker + 1,
                "queued": started - 3,
                "started": started,
                "ended": free[worker],
                "exit_code": 0 if state == "complete" else 1,
                "message": None if state == "complete" else "exit code 1",
                "usage": Usage(*parts, memory, files, files // 9, 70, 60).wire(),
            }
        )
    return {"workflow": "many", "attempts": attempts}, max(free)
