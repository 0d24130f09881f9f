"""Measures a process with all below it, while they live, from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_TIMES, _THREADS, _PAGES = slice(11, 15), 17, 21
"""Places in a process's facts: three less than the manual's, proc_pid_stat(5), has them."""


def measurable() -> bool:
    """Whether this system tells of the children of a process."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def measured(tops: list[int]) -> tuple[int, float]:
    """The resident memory in bytes, and the CPU seconds, of these processes and all below them.

    Pages that several of them share count for each. Children that a process has waited for count
    with their CPU time; those that end meanwhile may be missing.
    """
    pages = ticks = 0
    left = list(tops)
    while left:
        pid = left.pop()
        facts = _facts(pid)
        if facts is not None:
            pages += int(facts[_PAGES])
            ticks += sum(map(int, facts[_TIMES]))
            left += children(pid, int(facts[_THREADS]))
    return pages * _PAGE, ticks / _TICKS


def children(pid: int, threads: int = 1) -> Iterator[int]:
    """The children of a process with so many threads."""
    try:
        tasks = [str(pid)] if threads == 1 else os.listdir(f"/proc/{pid}/task")
        for task in tasks:
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                yield from map(int, file.read().split())
    except OSError:  # it has ended meanwhile
        return


def io_of(pid: int) -> tuple[int, int] | None:
    """The bytes that a process has read and written, with the children that it waited for.

    It may have ended, if nobody has waited for it. None if nobody knows, or others may not know.
    """
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            words = file.read().split(None, 4)
    except OSError:
        return None
    return int(words[1]), int(words[3])


def _facts(pid: int) -> list[bytes] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None
