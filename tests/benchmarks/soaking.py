"""An hour of use, after which a server must be as small as before.

``python -m benchmarks.soaking --minutes 60 --seed 1`` from the directory of the tests (Linux only).
Three workflows are edited every second, and halted, run, expired and merged at random, while
`gaia-local serve` has two pages open. Prints a line of figures every half a minute, then a verdict
on each. The exit status is 1 if a figure grows, an output isn't what a run from scratch makes, or
something is left over.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak import pages, readings
from benchmarks.soak.judging import LEAST, judge
from benchmarks.soak.pages import PageReading, Pages
from benchmarks.soak.readings import Reading
from benchmarks.soak.user import PASSING, User
from gaia_local.config import Config
from gaia_local.doctor.leftovers import find
from gaia_local.monotonic import monotonic
from support import chromium

TOKEN = "soak"
TURN_SECONDS = 1.0
CHECK_TURNS = 600
"""So often all is let come to its end, and compared with a run from scratch."""
JUDGED_MINUTES = 10.0
"""In less time the verdict is about the start of the server."""
END_SECONDS = 30.0
"""A server that lives so long after SIGTERM hangs."""
SAID = "runtime 'process': images are ignored"
"""The server's only warning."""
ALLOWED = {
    "rss": 3.0,
    "uss": 3.0,
    "descriptors": 0.5,
    "threads": 0.5,
    "supervisors": 0.5,
    "supervisors_uss": 1.0,
    "supervisors_descriptors": 0.5,
}
"""Figure of a `Reading` → how much it may rise, in its unit."""
PAGE_ALLOWED = {"heap": 1.0, "nodes": 300.0, "listeners": 50.0}
"""The same of a `PageReading`."""


@dataclass
class Line:
    """The figures that are printed together."""

    minute: float
    reading: Reading
    """The least of each figure since the last line."""
    page: PageReading | None
    database: float
    """The size of the state file and its journal, in megabytes."""
    logs: float
    """The size of all logs, in megabytes."""
    steps: tuple[int, int]
    """The number of attempts at Steps that began so far, and of those that failed."""
    cpu: float
    """CPU seconds of the server so far."""

    HEADER = (
        "minute | RSS, PSS, USS MB | descriptors, threads, children | supervisors: number, USS MB,"
        " descriptors | page: heap MB, nodes, listeners | gaia.db, logs MB | Steps, failed |"
        " CPU s"
    )

    def __str__(self) -> str:
        now, page = self.reading, self.page
        began, failed = self.steps
        shown = "-" if page is None else f"{page.heap:.2f} {page.nodes} {page.listeners}"
        return (
            f"{self.minute:6.1f} | {now.rss:.1f} {now.pss:.1f} {now.uss:.1f} |"
            f" {now.descriptors:g} {now.threads:g} {now.children:g} | {now.supervisors:g}"
            f" {now.supervisors_uss:.1f} {now.supervisors_descriptors:g} | {shown} |"
            f" {self.database:.1f} {self.logs:.1f} | {began} {failed} | {self.cpu:.1f}"
        )


@dataclass
class Soak:
    """One run: what is printed, and what is wrong."""

    root: Path
    server: subprocess.Popen[str]
    user: User
    pages: Pages
    lines: list[Line] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self, minutes: float, every: float) -> None:
        """Turn after turn, and a line every so many seconds."""
        print(Line.HEADER, flush=True)
        began = monotonic()
        taken: list[Reading] = []
        turn = 0
        due = began + every
        while monotonic() < began + minutes * 60:
            turn += 1
            self.user.turn()
            self.pages.turn()
            taken.append(readings.read(self.server.pid))
            if turn % CHECK_TURNS == 0:
                self.settle()
            if monotonic() >= due:
                self._print((monotonic() - began) / 60, taken)
                taken = []
                due += every
            time.sleep(max(0.0, began + turn * TURN_SECONDS - monotonic()))

    def settle(self) -> None:
        """Let all come to its end, and compare."""
        began = monotonic()
        found = self.user.settle()
        self.pages.check()
        self.problems += found
        print(
            f"all ended within {monotonic() - began:.1f} s;"
            f" {len(found)} differences from a run from scratch",
            flush=True,
        )

    def _print(self, minute: float, taken: list[Reading]) -> None:
        line = Line(
            minute,
            readings.least(taken),
            self.pages.read(),
            sum(readings.size(path) for path in self.root.glob("gaia.db*")),
            readings.size(self.root / "logs"),
            attempts(self.root),
            readings.cpu_seconds(self.server.pid),
        )
        self.lines.append(line)
        print(line, flush=True)

    def judge(self) -> None:
        """Print the verdicts; a figure that grows is a problem."""
        minutes = [line.minute for line in self.lines]
        if len(minutes) < LEAST or minutes[-1] < JUDGED_MINUTES:
            print(f"not judged: that takes {JUDGED_MINUTES:g} minutes and {LEAST} lines")
            return
        series = {
            name: ([getattr(line.reading, name) for line in self.lines], allowed)
            for name, allowed in ALLOWED.items()
        }
        seen = [line.page for line in self.lines if line.page is not None]
        if len(seen) == len(minutes):
            series |= {
                f"page's {name}": ([getattr(page, name) for page in seen], allowed)
                for name, allowed in PAGE_ALLOWED.items()
            }
        for name, (values, allowed) in series.items():
            verdict = judge(name, minutes, values, allowed)
            print(verdict)
            if verdict.grows:
                self.problems.append(str(verdict))


def attempts(root: Path) -> tuple[int, int]:
    """How many attempts at Steps of the three workflows began, and how many of them failed."""
    with contextlib.closing(sqlite3.connect(f"file:{root}/gaia.db?mode=ro", uri=True)) as rows:
        count = (
            "select count(*), coalesce(sum(state = 'error'), 0) from tasks"
            " where started is not null and workflow != ?"
        )
        began, failed = rows.execute(count, (PASSING,)).fetchone()
    return int(began), int(failed)


@contextlib.contextmanager
def serving(root: Path, errors: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`gaia-local serve` as a process, and its URL; killed at the end if it still runs."""
    command = [sys.executable, "-m", "gaia_local", "--root", str(root), "--runtime", "process"]
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [*command, "--workers", "2", "serve", "--port", "0"],
            env={**os.environ, "GAIA_LOCAL_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        said = server.stdout.readline()
        try:
            if "http://" not in said:
                raise RuntimeError(f"the server said {said!r}, and {errors.read_text()!r}")
            yield server, said.split()[-1]
        except BaseException:
            print(f"the server's exit status: {server.poll()}; its stderr: {errors.read_text()}")
            raise
        finally:
            if server.poll() is None:
                server.kill()


def end(root: Path, server: subprocess.Popen[str], errors: Path) -> list[str]:
    """End the server; what is wrong with its end, and what it left."""
    below = list(readings.descendants(server.pid))
    server.send_signal(signal.SIGTERM)
    try:
        status = server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        return [f"the server still lives {END_SECONDS:g} s after SIGTERM"]
    problems = [] if status == 143 else [f"the server's exit status is {status}; 143 is right"]
    said = [line for line in errors.read_text().splitlines() if SAID not in line]
    problems += [f"the server wrote to stderr: {line}" for line in said[-50:]]
    problems += [f"the process {pid} is left" for pid in below if Path(f"/proc/{pid}").exists()]
    left = find(Config.parse({"root": str(root), "runtime": "process"}))
    problems += [f"it left {each}" for each in left if Path(each.root) == root]
    return problems


def soak(minutes: float, every: float, seed: int, folder: Path, browser: str | None) -> list[str]:
    """Run it in a directory; all that is wrong."""
    root, errors = folder / "root", folder / "errors"
    dice = random.Random(seed)
    with serving(root, errors) as (server, url):
        with contextlib.closing(User(url, TOKEN, root, dice)) as user:
            user.begin()
            names = [workflow.name for workflow in user.workflows]
            with pages.opened(url, TOKEN, names, random.Random(seed), browser) as opened:
                run = Soak(root, server, user, opened)
                run.run(minutes, every)
                run.settle()
                run.judge()
                problems = [*run.problems, *opened.problems]
        problems += end(root, server, errors)
    print(f"{dict(user.calls)}; seed {seed}, load {os.getloadavg()[0]:.1f}")
    return problems


def main() -> int:
    """Print the figures, then all that is wrong; the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two lines")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--streams", action="store_true", help="no browser: read streams of events")
    given = parser.parse_args()
    logging.getLogger("gaia_local").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the server and the pages end with it
    browser = None if given.streams else chromium.installed()
    print(f"pages: {browser or 'streams'}")
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        problems = soak(given.minutes, given.every, given.seed, Path(folder), browser)
    for problem in problems:
        print(f"WRONG: {problem}")
    print("all is right" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
