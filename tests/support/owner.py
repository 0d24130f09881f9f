"""A process that owns roots, for tests of calls from other processes.

It reads orders line by line, as JSON, and answers each with a line: ``{"own": config}`` opens a
root, ``{"leave": root}`` closes it and stops its Steps. At the end of its input it closes all and
ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from gaia_local import Gaia


class Owner:
    """The test's end of such a process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def own(self, config: dict[str, Any]) -> None:
        """Have a root owned."""
        assert self._tell({"own": config}) == "owned"

    def leave(self, root: Path) -> None:
        """Have a root closed."""
        assert self._tell({"leave": str(root)}) == "left"

    def kill(self) -> None:
        """End it without a chance to close anything."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        """End it. Idempotent."""
        with self._process:  # closes its input, which ends it
            pass

    def _tell(self, what: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        return self._process.stdout.readline().strip()


def main() -> None:
    """Do as told."""
    owned: dict[str, Gaia] = {}
    for line in sys.stdin:
        told = json.loads(line)
        if "own" in told:
            gaia = owned[told["own"]["root"]] = Gaia(told["own"])
            gaia.own()
            sys.stdout.write("owned\n")
        else:
            owned.pop(told["leave"]).close(wait=False)
            sys.stdout.write("left\n")
        sys.stdout.flush()
    for gaia in owned.values():
        gaia.close(wait=False)


if __name__ == "__main__":
    main()
