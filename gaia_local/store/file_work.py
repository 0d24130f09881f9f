"""Long work on files, as copies, digests and walks: whether to go on, and how far it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeAlias

from gaia_local import interrupts
from gaia_local.model.sizes import progress_text
from gaia_local.monotonic import monotonic

MOST_BYTES = 1 << 23
"""The most that is copied or read between two calls of `FileWork.advance`."""
ENTRIES = 64
"""The most entries of a tree that are looked at between two calls: a call for each would cost a
fifth of a walk.
"""
TELL_SECONDS = 1.0
"""From the begin of work, and between two times that it tells how far it is."""

Tell: TypeAlias = "Callable[[str], None]"


class Stopped(Exception):
    """The Task that this work was for is cancelled."""


class FileWork:
    """The work on files for one Task, or for one look at them, in the thread that does it.

    Whatever copies, reads or walks files is given one, and calls `advance` after every `MOST_BYTES`
    at most, and of `ENTRIES` of a tree. Invariant: once `check` raises, no more is done than up
    to the next of these calls, and its error leaves the work; nothing may turn it into another.
    In the main thread noted signals are delivered there, too.
    """

    __slots__ = ("_check", "_done", "_due", "_size", "_tell", "_what")

    def __init__(self, check: Callable[[], None] | None = None, tell: Tell | None = None) -> None:
        """`check` raises as soon as the work isn't wanted any more; without one, signals end it.

        `tell` gets a sentence as "reading input 'a': 12 of 60 GB", but not in the first second.
        """
        self._check, self._tell = check, tell
        self._what, self._done, self._due = "", 0, 0.0
        self._size: Callable[[], int | None] = lambda: None

    def begin(self, what: str, size: Callable[[], int | None]) -> None:
        """Begin with another file or tree: `what` as "reading input 'a'".

        `size`, the number of its bytes if that is known, is asked only if there is time to tell.
        """
        if self._tell is not None:
            self._what, self._size, self._done = what, size, 0
            if not self._due:
                self._due = monotonic() + TELL_SECONDS

    def advance(self, count: int = 0) -> None:
        """So many bytes more are done. Raises what `check` raises, or a handler of signals."""
        interrupts.check()
        if self._check is not None:
            self._check()
        if self._tell is None:
            return
        self._done += count
        if self._due and monotonic() >= self._due:
            self._tell(f"{self._what}: {progress_text(self._done, self._size())}")
            self._due = monotonic() + TELL_SECONDS

    def rest(self) -> None:
        """Nothing is done for a while: what follows begins anew."""
        self._due = 0.0


UNTOLD = FileWork()
"""Work that only signals stop. It has no state: all threads may use it."""


def file_size(path: str) -> int | None:
    """The size of a file; None for anything else."""
    try:
        return None if os.path.isdir(path) else os.stat(path).st_size
    except OSError:
        return None
