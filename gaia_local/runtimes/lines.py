"""Keeps lines whole where several streams are written into one file."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_LINE = 1 << 16
"""Bytes of a line that are held; a longer one is written in parts."""


class LineWriter:
    """Passes one stream on in whole lines. Not thread-safe.

    A line ends with LF, or, as those of progress bars, with CR.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._held = bytearray()

    def write(self, data: bytes) -> None:
        """Pass on all lines that are complete, and hold the rest."""
        held, searched = self._held, len(self._held)
        held += data
        end = held.rfind(b"\n", searched) + 1
        if not end:  # a CR at the very end may be the first half of a line's CR LF
            end = held.rfind(b"\r", max(0, searched - 1), len(held) - 1) + 1
        if len(held) - end > LONGEST_LINE:
            end = len(held)
        if end:
            self._write(bytes(held[:end]))
            del held[:end]

    def finish(self) -> None:
        """Pass on the rest."""
        if self._held:
            self._write(bytes(self._held))
            self._held.clear()
