"""Gates: Steps wait at them until the test opens them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Fifo:
    """A named pipe: a Step reads from it before it goes on, or reports its progress through it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path

    @property
    def hold(self) -> str:
        """Shell code that waits for the gate to open, and prints the text given then."""
        return f"cat '{self.path}'"

    def open(self, text: str = "") -> None:
        """Let the Step go on; blocks until it is there."""
        self.path.write_text(text)

    def read(self) -> str:
        """The text from a program; blocks until there is one."""
        return self.path.read_text()


class FileGate:
    """A file that Steps wait for, and that stays once the gate is open."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder

    def hold(self, folder: str | Path) -> str:
        """Shell code that waits for the gate to open; a program finds it at `folder`."""
        return f"while ! test -e {folder}/go; do sleep 0.05; done"

    def open(self) -> None:
        """Let all of them go on, now and from here on."""
        (self.folder / "go").touch()


class WaitingSteps(FileGate):
    """Makes Steps that wait at the gate, and that fail if two runs of one overlap."""

    def steps(self, count: int) -> tuple[list[Any], list[Any]]:
        """Command and Steps ``wait-0`` … making ``d:<number>``, with ``$WHO`` of their engine."""
        script = (
            f"echo begun {{{{n}}}}; {self.hold(self.folder)}; "
            "echo gone on; echo {{n}} $WHO > /out/x"
        )
        command = {
            "name": "wait",
            "image": "busybox",
            "command": [
                "flock",
                "-n",
                "-E",
                "99",
                f"{self.folder}/lock-{{{{n}}}}",
                "sh",
                "-c",
                script,
            ],
            "outputs": {"x": "/out/x"},
            "vars": {"n": 0},
        }
        steps = [
            {
                "name": f"wait-{number}",
                "command": "wait",
                "outputs": {"x": f"d:{number}"},
                "vars": {"n": number},
            }
            for number in range(count)
        ]
        return [command], steps
