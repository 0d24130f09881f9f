"""Programs that leave a line in a file outside of any root each time they run."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaia_local import Gaia
from support.builders import command


class Counter:
    """Makes Commands whose runs are counted."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "runs"
        self.path.touch()

    def command(self, name: str, script: str, *inputs: str, **outputs: str) -> dict[str, Any]:
        """As `builders.command`; each run adds `name` to the file."""
        return command(name, f"echo {name} >> '{self.path}'; {script}", *inputs, **outputs)

    @property
    def runs(self) -> dict[str, int]:
        """Name → how often it ran."""
        return dict(collections.Counter(self.path.read_text().split()))


def put(gaia: Gaia, workflow: str, files: Mapping[str, str]) -> None:
    """The user writes files into the store."""
    for key, text in files.items():
        path = gaia.path(workflow, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def ran(
    gaia: Gaia,
    workflow: str,
    commands: list[Any],
    steps: list[Any],
    files: Mapping[str, str] | None = None,
) -> None:
    """Put files, upload, wait; the workflow must be complete at the end."""
    put(gaia, workflow, files or {})
    gaia.upload(workflow, {}, commands, steps)
    completed(gaia, workflow)


def completed(gaia: Gaia, workflow: str) -> None:
    """Wait, and fail if it isn't complete then."""
    state = gaia.wait(workflow)["state"]
    assert state == "complete", gaia.failures(workflow) or state


def reused_steps(gaia: Gaia, workflow: str) -> dict[str, str]:
    """Step → "workflow/Step" whose results it has now."""
    tasks = gaia.status(workflow, debug=True)["status"]["tasks"]
    return {
        name: f"{task['reused']['workflow']}/{task['reused']['step']}"
        for name, task in tasks.items()
        if "reused" in task
    }
