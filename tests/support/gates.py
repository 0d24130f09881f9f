"""What holds Steps up until the test lets them go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Fifo:
    """A named pipe: a Step reads from it before it goes on, or says through it how far it is."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path

    @property
    def hold(self) -> str:
        """Shell code that waits for the gate to open, and prints what is said then."""
        return f"cat '{self.path}'"

    def open(self, text: str = "") -> None:
        """Let the Step go on; blocks until it is there."""
        self.path.write_text(text)

    def read(self) -> str:
        """What a program says; blocks until it does."""
        return self.path.read_text()


class FileGate:
    """A file that Steps wait for, which stays where it is once the gate is open."""

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
    """Makes Steps that wait at the gate; each holds a lock, so that it fails where two runs of it
    overlap.
    """

    def steps(self, count: int) -> tuple[list[Any], list[Any]]:
        """Command and Steps ``wait-0`` …; each makes ``d:<number>``, which holds ``$WHO`` of
        whoever ran it.
        """
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
