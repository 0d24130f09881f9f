"""Where the lines of logs begin: an index that is small, and grows with its log."""

from __future__ import annotations

import os
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from typing import NamedTuple

BLOCK_BYTES = 256 * 1024
"""The bytes of a log for each number in its index: 8 bytes in memory, so 32 kB for 1 GB."""
BYTES_AT_ONCE = 1024**3
"""The most bytes that one call indexes, which takes under a second; the next call goes on."""
INDICES_KEPT = 64
"""The number of logs whose indices are kept, the ones that were used last."""


class Extent(NamedTuple):
    """How much of a log is known."""

    size: int
    """Bytes of the log, so far."""
    known: int
    """Bytes whose lines are counted: all of them, or for a moment fewer, if it is very long."""
    lines: int
    """Lines among the known bytes; one whose end isn't written counts if it is the last one."""


class LineIndex:
    """The newlines in one file, to which others append.

    Invariant: `_before[i]` is the number of newlines before byte ``i * BLOCK_BYTES``, and all those
    bytes were in the file when they were counted. What follows the last such byte is counted anew
    in each call: it is less than a block, once the index is complete.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._before = array("Q", [0])

    def covers_no_more_than(self, size: int) -> bool:
        """Whether a file of `size` bytes can be the indexed one: it wasn't cut since."""
        return self._end() <= size

    def extend(self, file: int, at_once: int = BYTES_AT_ONCE) -> Extent:
        """Count what was appended, at most `at_once` bytes of it. `file` is a descriptor."""
        with self._lock:
            size = os.fstat(file).st_size
            stop = min(size, self._end() + at_once)
            while self._end() + BLOCK_BYTES <= stop:
                block = read_at(file, self._end(), BLOCK_BYTES)
                if len(block) < BLOCK_BYTES:  # it was cut meanwhile
                    break
                self._before.append(self._before[-1] + block.count(b"\n"))
            end, newlines = self._end(), self._before[-1]
        if size - end >= BLOCK_BYTES:
            return Extent(size, end, newlines)
        rest = read_at(file, end, size - end)
        known = end + len(rest)
        last = rest[-1:] or read_at(file, known - 1, 1) if known else b"\n"
        return Extent(known, known, newlines + rest.count(b"\n") + (last != b"\n"))

    def offset(self, file: int, line: int) -> int:
        """The byte at which a line begins that is known (lines are numbered from 1 on)."""
        newlines = line - 1
        if newlines == 0:
            return 0
        index = bisect_left(self._before, newlines) - 1
        start = index * BLOCK_BYTES
        block = read_at(file, start, BLOCK_BYTES)
        return start + len(block) - len(block.split(b"\n", newlines - self._before[index])[-1])

    def line(self, file: int, offset: int) -> int:
        """The number of the line that a known byte is in."""
        index = min(offset // BLOCK_BYTES, len(self._before) - 1)
        start = index * BLOCK_BYTES
        return 1 + self._before[index] + read_at(file, start, offset - start).count(b"\n")

    def _end(self) -> int:
        return (len(self._before) - 1) * BLOCK_BYTES


class LineIndices:
    """The indices of the logs that were looked at last. Any thread may use it."""

    def __init__(self, kept: int = INDICES_KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._indices: OrderedDict[tuple[str, int, int], LineIndex] = OrderedDict()

    def of(self, path: str, file: int) -> LineIndex:
        """The index of a file that is open; a new one if the file was replaced or cut."""
        status = os.fstat(file)
        key = (path, status.st_dev, status.st_ino)
        with self._lock:
            index = self._indices.pop(key, None)
            if index is None or not index.covers_no_more_than(status.st_size):
                index = LineIndex()
            self._indices[key] = index
            while len(self._indices) > self._kept:
                self._indices.popitem(last=False)
        return index


def read_at(file: int, offset: int, size: int) -> bytes:
    """Up to `size` bytes from a byte on; fewer only at the file's end."""
    parts = []
    while size > 0 and (part := os.pread(file, size, offset)):
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
