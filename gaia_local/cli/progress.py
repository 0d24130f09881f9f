"""Shows a workflow's progress while it runs. Starts no thread: it draws between two waits."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaia_local import interrupts
from gaia_local.cli.output import attempt_line
from gaia_local.cli.printing import draws_live, last_written, print_line
from gaia_local.model.durations import duration
from gaia_local.monotonic import monotonic
from gaia_local.pictures.sentences import counts_line, failure_line, lasting_line
from gaia_local.pictures.usage import live as live_text
from gaia_local.terminal_text import escaped, without_colours

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from gaia_local import Gaia
    from gaia_local.model.answer_types import Failure, LiveUsage, StatusAnswer, TimelineAttempt

LIVE_REFRESH_SECONDS = 0.1
"""Seconds between two drawings on a terminal."""
WATCH_REFRESH_SECONDS = 0.25
"""The same for `watch`, which shows running Steps with their logs."""
PLAIN_CHECK_SECONDS = 1.0
PLAIN_LINE_SECONDS = 10.0
"""Seconds between two lines if the output isn't a terminal, so that logs stay short."""
ATTEMPTS_REFRESH_SECONDS = 2.0
"""Seconds after which all attempts are read again, even if no count changed."""
REFRESH_SHARE = 5
"""Reading all attempts may take at most one part in so many of the time."""
LOG_LINES = 4
"""The most lines that are shown of a running Step's log."""
LOG_BYTES = 8192
FAILURES = 3
"""The number of failures shown while others run, the latest ones."""

Show = Callable[[Mapping[str, Any]], None]


def follow(gaia: Gaia, workflow: str) -> StatusAnswer:
    """Wait until the workflow is quiet, with its progress on stderr; return its status."""
    live = draws_live(sys.stderr)
    with _bar() if live else _lines(workflow) as show:
        while True:
            show(gaia.progress(workflow))
            try:
                return gaia.wait(
                    workflow, timeout=LIVE_REFRESH_SECONDS if live else PLAIN_CHECK_SECONDS
                )
            except TimeoutError:
                continue


def watch(gaia: Gaia, workflow: str) -> StatusAnswer:
    """Show running Steps on stdout until the workflow is quiet, and return its status.

    Another process may run the workflow.
    """
    live = draws_live(sys.stdout)
    view = WatchView(gaia, workflow)
    with _table() if live else _attempt_lines() as show:
        while True:
            view.refresh()
            show(view)
            answer = _status_if_quiet(gaia, workflow)
            if answer is not None:
                view.refresh(everything=True)
                show(view)
                return answer


class WatchView:
    """The data that `watch` shows of a workflow."""

    def __init__(self, gaia: Gaia, workflow: str) -> None:
        self.workflow = workflow
        self.counts: Mapping[str, Any] = {}
        """See `Gaia.progress`; without its `usage`, which changes where nothing happens."""
        self.usage: Mapping[str, LiveUsage] = {}
        """What running Steps have taken so far."""
        self.attempts: list[TimelineAttempt] = []
        """See `Gaia.timeline`."""
        self.failures: list[Failure] = []
        """See `Gaia.failures`."""
        self._gaia = gaia
        self._last_counts: Mapping[str, Any] = {}
        self._refreshed_at = self._refresh_took = 0.0
        self._logs: dict[str, Path | None] = {}

    def refresh(self, everything: bool = False) -> None:
        """Ask again; for the attempts only after a change or some time, unless `everything`."""
        progress = self._gaia.progress(self.workflow)
        self.usage = progress.get("usage", {})
        self.counts = {key: value for key, value in progress.items() if key != "usage"}
        began = monotonic()
        due = (
            self.counts != self._last_counts
            or began - self._refreshed_at > ATTEMPTS_REFRESH_SECONDS
        )
        if (
            everything
            or not self._refreshed_at
            or (due and began - self._refreshed_at > REFRESH_SHARE * self._refresh_took)
        ):
            self._last_counts = self.counts
            self.attempts = self._gaia.timeline(self.workflow)["attempts"]
            self.failures = self._gaia.failures(self.workflow)
            self._refreshed_at = monotonic()
            self._refresh_took = self._refreshed_at - began

    @property
    def running(self) -> list[TimelineAttempt]:
        """The attempts that run, the first to start first."""
        return sorted(
            (attempt for attempt in self.attempts if attempt["state"] == "running"),
            key=lambda attempt: attempt["started"] or 0.0,
        )

    def tail(self, attempt: TimelineAttempt, lines: int) -> list[str]:
        """The last lines of a running attempt's log."""
        task = attempt["task"]
        if task not in self._logs:
            found = self._gaia.attempt(self.workflow, attempt["step"])
            self._logs[task] = (
                Path(found["log"]) if found["task"] == task and found["log"] else None
            )
        log = self._logs[task]
        return [] if log is None else _tail(log, lines)


def _tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log, within its last `LOG_BYTES`."""
    try:
        with log.open("rb") as reader:
            reader.seek(max(0, reader.seek(0, os.SEEK_END) - LOG_BYTES))
            text = reader.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.rstrip("\n").split("\n")[-lines:] if text else []


def _status_if_quiet(gaia: Gaia, workflow: str) -> StatusAnswer | None:
    """The status of a workflow that is quiet now or within a round."""
    began = monotonic()
    try:
        answer = gaia.wait(workflow, timeout=WATCH_REFRESH_SECONDS)
    except TimeoutError:
        return None
    if answer["state"] != "running":
        return answer
    # Another process runs it and can't be asked, so `wait` returned at once.
    time.sleep(max(0.0, WATCH_REFRESH_SECONDS - (monotonic() - began)))
    interrupts.check()
    return None


@contextlib.contextmanager
def _bar() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(bar_width=24), text, TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=1)

        def show(counts: Mapping[str, Any]) -> None:
            progress.update(
                task,
                total=counts["steps"],
                completed=counts["done"],
                description=counts_line(counts),
                refresh=True,
            )

        yield show


@contextlib.contextmanager
def _lines(workflow: str) -> Iterator[Show]:
    shown, at = "", monotonic()

    def show(counts: Mapping[str, Any]) -> None:
        nonlocal shown, at
        # What is used changes all the time; that alone is worth no line.
        line, now = lasting_line(counts), monotonic()
        if line != shown and now - at >= PLAIN_LINE_SECONDS:
            print_line(f"{workflow}: {counts_line(counts)}", error=True)
            shown, at = line, now

    yield show


@contextlib.contextmanager
def _table() -> Iterator[Callable[[WatchView], None]]:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, emoji=False)

    with Live(
        console=console, auto_refresh=False, transient=True, vertical_overflow="crop"
    ) as live:

        def show(view: WatchView) -> None:
            live.update(_screen(view, console.height), refresh=True)

        yield show


def _screen(view: WatchView, height: int) -> RenderableType:
    """Numbers, running Steps with the ends of their logs, latest failures, in `height` lines."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    counts, running, now = view.counts, view.running, time.time()
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(escaped(view.workflow), "bold"),
        ProgressBar(total=max(1, counts["steps"]), completed=counts["done"], width=24),
        counts_line(counts),
    )
    failed = _latest_failures(view)
    room = max(1, height - 5 - len(failed))
    shown = running[: room if len(running) <= room else room - 1]
    lines = min(LOG_LINES, max(1, room // max(1, len(shown))))
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column(no_wrap=True, justify="right", min_width=9)
    if view.usage:
        table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=5)
    for attempt in shown:
        tail = view.tail(attempt, lines)
        log = Text("\n", "dim", no_wrap=True, overflow="ellipsis").join(map(_log_text, tail))
        used = [live_text(view.usage.get(attempt["step"]))] if view.usage else []
        table.add_row(
            Text(escaped(f"▶ {attempt['step']}"), "blue"),
            duration(now - (attempt["started"] or now)),
            *used,
            log,
        )
    parts: list[RenderableType] = [head, Text(), table]
    if len(running) > len(shown):
        parts.append(Text(f"… and {len(running) - len(shown)} more run", "dim"))
    for failure in failed:
        line = escaped(f"✗ {failure_line(failure)}")
        parts.append(Text(line, "red", no_wrap=True, overflow="ellipsis"))
    if counts["failed"] > len(failed):
        parts.append(Text(f"… and {counts['failed'] - len(failed)} more failed", "dim"))
    return Group(*parts)


def _log_text(line: str) -> Text:
    from rich.text import Text

    return Text(without_colours(last_written(line)))


def _latest_failures(view: WatchView) -> list[Failure]:
    ended = {attempt["step"]: attempt["ended"] or 0.0 for attempt in view.attempts}
    return sorted(view.failures, key=lambda failure: ended.get(failure["step"], 0.0))[-FAILURES:]


@contextlib.contextmanager
def _attempt_lines() -> Iterator[Callable[[WatchView], None]]:
    known: dict[str, str] | None = None

    def show(view: WatchView) -> None:
        nonlocal known
        if known is None:  # attempts that ended before aren't reported
            known = {
                attempt["task"]: attempt["state"]
                for attempt in view.attempts
                if attempt["state"] != "running"
            }
            print_line(f"{view.workflow}: {view.counts['state']}, {counts_line(view.counts)}")
        for attempt in view.attempts:
            if attempt["state"] not in (known.get(attempt["task"]), "queued"):
                known[attempt["task"]] = attempt["state"]
                print_line(attempt_line(attempt))

    yield show
