"""What running Steps have taken so far, on the lines and the table that are shown meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gaia_local.cli import progress
from gaia_local.cli.progress import PLAIN_LINE_SECONDS, WatchView
from gaia_local.pictures.sentences import counts_line, lasting_line

COUNTS = {"state": "running", "steps": 3, "done": 1, "running": 2, "failed": 0, "waiting": 0}
USAGE = {"a": {"memory": 310 << 20, "cpu": 3.2}, "b": {"memory": None, "cpu": 0.5}}


class Running:
    """A `Gaia` with a workflow of two running Steps; counts the reads of all attempts."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.reads = 0

    def progress(self, workflow: str) -> dict[str, Any]:
        return {**COUNTS, "usage": self.usage} if self.usage else dict(COUNTS)

    def timeline(self, workflow: str) -> dict[str, Any]:
        self.reads += 1
        facts = {"state": "running", "reason": "new", "started": 1.0, "ended": None}
        return {"attempts": [{"step": step, "task": step, **facts} for step in ("a", "b", "[c]")]}

    def failures(self, workflow: str) -> list[Any]:
        return []

    def attempt(self, workflow: str, step: str) -> dict[str, Any]:
        return {"task": step, "state": "running", "log": None}


def test_a_line_of_counts_ends_with_what_is_used() -> None:
    line = "1 of 3 Steps done, 2 running"
    told = "Step 'a' has taken 3.2 s CPU and 310 MB so far (1 more runs)"
    assert counts_line({**COUNTS, "usage": USAGE}) == f"{line}; {told}"
    assert counts_line({**COUNTS, "usage": {}}) == counts_line(COUNTS) == line
    assert lasting_line({**COUNTS, "usage": USAGE}) == line
    doing = "Step 'b' is reading input 'k': 1 of 2 GB"
    assert counts_line({**COUNTS, "usage": USAGE, "doing": [doing]}) == f"{line}; {doing}; {told}"


def test_lines_of_a_log_come_for_changes_not_for_what_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    with progress._lines("w") as show:
        for cpu in range(5):
            now += PLAIN_LINE_SECONDS
            show({**COUNTS, "usage": {"a": {"memory": 5, "cpu": float(cpu)}}})
    assert capsys.readouterr().err.splitlines() == [
        "w: 1 of 3 Steps done, 2 running; Step 'a' has taken 0 ms CPU and 5 bytes so far"
    ]


def test_what_is_used_lets_no_attempts_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "monotonic", lambda: 7.0)
    gaia: Any = Running()
    view = WatchView(gaia, "w")
    for cpu in range(5):
        gaia.usage = {"a": {"memory": 5, "cpu": float(cpu)}}
        view.refresh()
    assert gaia.reads == 1
    assert view.usage["a"]["cpu"] == 4.0


def screen(gaia: Any) -> list[str]:
    view = WatchView(gaia, "w")
    view.refresh()
    console = Console(width=100, height=30, file=None)
    with console.capture() as seen:
        console.print(progress._screen(view, 30))
    return seen.get().splitlines()


def test_a_table_of_running_steps_has_a_column_for_what_they_use(tmp_path: Path) -> None:
    gaia = Running()
    before = screen(gaia)
    assert "CPU" not in "".join(before)
    gaia.usage = USAGE
    head, _, first, second, third, *_ = screen(gaia)
    assert "310 MB" not in head
    assert first.startswith("▶ a") and first.rstrip().endswith("3.2 s CPU, 310 MB")
    assert second.startswith("▶ b") and second.rstrip().endswith("0.50 s CPU")
    assert third.startswith("▶ [c]") and "CPU" not in third
