"""Steps that run until the test lets them go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Waiting:
    """Makes such Steps; each also holds a lock, so that it fails where two runs of it are under way at one time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def go(self) -> None:
        """Let all of them go on, now and from here on."""
        (self._folder / "go").touch()

    def steps(self, count: int) -> tuple[list[Any], list[Any]]:
        """Command and Steps ``wait-0`` …; each makes ``d:<number>``, which holds ``$WHO`` of whoever ran it."""
        wait = f"while ! test -e {self._folder}/go; do sleep 0.05; done"
        script = f"echo begun {{{{n}}}}; {wait}; echo gone on; echo {{{{n}}}} $WHO > /out/x"
        command = {
            "name": "wait",
            "image": "busybox",
            "command": ["flock", "-n", "-E", "99", f"{self._folder}/lock-{{{{n}}}}", "sh", "-c", script],
            "outputs": {"x": "/out/x"},
            "vars": {"n": 0},
        }
        steps = [
            {"name": f"wait-{number}", "command": "wait", "outputs": {"x": f"d:{number}"}, "vars": {"n": number}}
            for number in range(count)
        ]
        return [command], steps
