"""Counts a workflow's operations, instead of timing: ``python -m benchmarks.counting ARGUMENTS``.

ARGUMENTS are JSON. Prints, for each size, the number of operations of each kind from the upload to
the end. A small workflow goes first, so that one-time operations of a process (imports,
connections) aren't counted; threads are, and should be none. Counted are SQL by its first word;
file-system calls; flushes; inspections of files (a `realpath` is one); programs; threads.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks.ours import opened
from benchmarks.workflows import SHAPES

CALLS = {
    "open": "open",
    "os.mkdir": "mkdir",
    "os.rename": "rename",
    "os.link": "rename",
    "os.remove": "remove",
    "os.rmdir": "rmdir",
    "os.listdir": "list",
    "os.scandir": "list",
    "subprocess.Popen": "program",
    "os.posix_spawn": "program",
    "socket.sendmsg": "program",  # an order to a supervisor
    "_thread.start_new_thread": "thread",
    "_thread.start_joinable_thread": "thread",
}
"""Audit event → the word for it in the counts."""
LOOKS = {
    "stat": "look",
    "lstat": "look",
    "access": "look",
    "readlink": "look",
    "fsync": "flush",
    "fdatasync": "flush",
    "sync": "flush",
}
"""Functions of `os` without an audit event → the word for them in the counts."""
LONG = 3600.0
"""Seconds for delays whose effect depends on the machine's speed, so that they never end here."""


class Counting:
    """The operations, one word for each. Appending is atomic: threads need no lock."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._inside = threading.local()

    def begin(self) -> None:
        """From now on, count."""

        def told(event: str, args: tuple[Any, ...]) -> None:
            # Reads of /proc depend on other programs.
            if event in CALLS and not (event == "open" and str(args[0]).startswith("/proc/")):
                self.done.append(CALLS[event])

        sys.addaudithook(told)
        for name, word in LOOKS.items():
            setattr(os, name, self._counted(getattr(os, name), word))
        os.path.realpath = self._alone(os.path.realpath, "look")
        connect = sqlite3.connect

        def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **kwargs)
            connection.set_trace_callback(
                lambda sql: self.done.append(f"sql {sql.split(None, 1)[0].lower()}")
            )
            return connection

        sqlite3.connect = traced  # type: ignore[assignment]

    def _counted(self, function: Callable[..., Any], word: str) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if not getattr(self._inside, "alone", False):
                self.done.append(word)
            return function(*args, **kwargs)

        return counted

    def _alone(self, function: Callable[..., Any], word: str) -> Callable[..., Any]:
        """Count a function once, without the calls in it: these depend on a directory's depth."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._inside, "alone", False):
                return function(*args, **kwargs)
            self.done.append(word)
            self._inside.alone = True
            try:
                return function(*args, **kwargs)
            finally:
                self._inside.alone = False

        return counted


def main(root: str, shape: str, sizes: list[int]) -> None:
    """Count, and print a line of JSON: for each size, word → count."""
    from gaia_local.engine import decision_loop, scheduler
    from gaia_local.runtimes.process import runtime

    # Slow machines would write separately, fast ones together with a Task's end.
    setattr(decision_loop, "WRITE_DELAY_SECONDS", LONG)  # noqa: B010 mypy knows them as constants
    setattr(decision_loop, "FLUSH_DELAY_SECONDS", LONG)  # noqa: B010
    # They look once more at all files of an upload that took them long.
    setattr(scheduler, "STALE_AFTER_SECONDS", LONG)  # noqa: B010
    setattr(runtime, "FIRST_SECONDS", LONG)  # noqa: B010
    counting = Counting()
    counting.begin()
    counts = []
    with opened(root, "process") as gaia:
        for number, size in enumerate((10, *sizes)):
            name = f"w{number}"
            commands, steps = SHAPES[shape](size, "busybox")
            counting.done.clear()
            gaia.upload(name, {}, commands, steps)
            if gaia.wait(name)["state"] != "complete":
                raise RuntimeError(f"the workflow failed: {gaia.failures(name)[:3]}")
            counts.append(Counter(counting.done))
            gaia.delete(name)
    print(json.dumps(counts[1:]))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
