"""How far a workflow is, shown while it runs. Starts no thread: it draws between two waits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gaia_local.output import counts_line, open_console

if TYPE_CHECKING:
    from rich.console import Console

    from gaia_local import Gaia

LIVE_ROUND = 0.1
"""Seconds between two drawings on a terminal."""
PLAIN_ROUND = 1.0
PLAIN_PAUSE = 10.0
"""Seconds between two lines where the output is no terminal, so that logs stay short."""

Show = Callable[[Mapping[str, Any]], None]


def follow(gaia: Gaia, workflow: str) -> dict[str, Any]:
    """Wait until the workflow is quiet, showing on stderr how far it is; answers its status."""
    console = open_console(error=True)
    live = console.is_terminal and not console.is_dumb_terminal
    with _bar(console) if live else _lines(console, workflow) as show:
        while True:
            show(gaia.progress(workflow))
            try:
                return gaia.wait(workflow, timeout=LIVE_ROUND if live else PLAIN_ROUND)
            except TimeoutError:
                continue


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[Show]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(bar_width=24), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=1)

        def show(counts: Mapping[str, Any]) -> None:
            progress.update(
                task, total=counts["steps"], completed=counts["done"], description=counts_line(counts), refresh=True
            )

        yield show


@contextlib.contextmanager
def _lines(console: Console, workflow: str) -> Iterator[Show]:
    shown, at = "", time.monotonic()

    def show(counts: Mapping[str, Any]) -> None:
        nonlocal shown, at
        line, now = counts_line(counts), time.monotonic()
        if line != shown and now - at >= PLAIN_PAUSE:
            console.print(f"{workflow}: {line}", markup=False)
            shown, at = line, now

    yield show
