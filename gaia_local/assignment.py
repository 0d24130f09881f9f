"""A Task that is given away to be run, with what only this run of it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gaia_local.given import NOTHING
from gaia_local.model import Fingerprint, Task


@dataclass(frozen=True, slots=True)
class Assignment:
    """One run of a Task. The Task is kept as a record, and the rest forgotten when it ended."""

    task: Task
    rank: tuple[int, int] = (0, 0)
    """Its place among those that wait for a worker: the smallest goes first."""
    known: Mapping[str, Fingerprint] = field(
        default_factory=lambda: NOTHING,
        compare=False,
        repr=False,
    )
    """Input key → what is recorded of its file."""
    adopted: bool = False
    """An earlier engine began it: what it left is taken up instead of starting anew."""
