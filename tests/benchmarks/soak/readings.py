"""Readings of a process and its supervisors, from Linux's /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

MEGABYTE = 1e6
_GONE = (FileNotFoundError, ProcessLookupError)
"""What is raised if a process ends while it is looked at."""


@dataclass(frozen=True)
class Reading:
    """The figures of one moment; memory is in megabytes."""

    rss: float
    """Resident memory of the server."""
    pss: float
    """Of that, memory shared with other processes in part."""
    uss: float
    """Of that, memory of its own alone."""
    descriptors: float
    threads: float
    children: float
    """All processes below it: supervisors, and programs of Steps."""
    supervisors: float
    supervisors_uss: float
    """Memory of all supervisors' own."""
    supervisors_descriptors: float
    """Of all supervisors."""


def read(pid: int) -> Reading:
    """A reading of the server `pid`. Raises `FileNotFoundError` if there is no such process."""
    rss, pss, uss = _memory(pid)
    below = list(descendants(pid))
    supervisors = [child for child in below if "supervisor" in _command_line(child)]
    held = [found for child in supervisors if (found := _held(child)) is not None]
    return Reading(
        rss,
        pss,
        uss,
        _descriptors(pid),
        len(os.listdir(f"/proc/{pid}/task")),
        len(below),
        len(held),
        sum(memory for memory, _ in held),
        sum(count for _, count in held),
    )


def least(readings: Sequence[Reading]) -> Reading:
    """The least of each figure: what is there at rest. A leak raises it, a busy moment doesn't."""
    return Reading(
        *(min(getattr(reading, field.name) for reading in readings) for field in fields(Reading))
    )


def descendants(pid: int) -> Iterator[int]:
    """All processes below one, zombies too."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(*_GONE):
            for word in file.read_text().split():
                yield int(word)
                yield from descendants(int(word))


def cpu_seconds(pid: int) -> float:
    """CPU time of a process alone, in seconds."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def size(path: Path) -> float:
    """The size of a file, or of all files in a directory, in megabytes; 0.0 if it isn't there."""
    if not path.is_dir():
        return path.stat().st_size / MEGABYTE if path.exists() else 0.0
    total = 0
    for found in path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += found.stat().st_size
    return total / MEGABYTE


def _memory(pid: int) -> tuple[float, float, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (x.partition(":") for x in lines)
    }
    own = found["Private_Clean"] + found["Private_Dirty"]
    return found["Rss"] / MEGABYTE, found["Pss"] / MEGABYTE, own / MEGABYTE


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _held(pid: int) -> tuple[float, int] | None:
    """A process's own memory and its descriptors; None if it ended."""
    with contextlib.suppress(*_GONE):
        return _memory(pid)[2], _descriptors(pid)
    return None


def _command_line(pid: int) -> str:
    with contextlib.suppress(*_GONE):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""
