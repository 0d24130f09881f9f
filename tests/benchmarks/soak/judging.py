"""Judges whether figures that were read again and again stay flat."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEAST = 12
"""Fewer values than these say nothing."""


@dataclass(frozen=True)
class Verdict:
    """How one figure developed, after the warm-up."""

    what: str
    first: float
    """The median of the first sixth."""
    last: float
    """The median of the last sixth."""
    slope: float
    """The median slope, an hour."""
    hours: float
    """How long it was watched after the warm-up."""
    allowed: float
    """It may rise by so much in that time."""

    @property
    def grows(self) -> bool:
        """Whether it rises by more than that, from one end to the other or all the while."""
        return self.last - self.first > self.allowed or self.slope * self.hours > self.allowed

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.first:.4g} at first, {self.last:.4g} at last, {self.slope:+.3g} an"
            f" hour; it may rise by {self.allowed:g}: {'IT GROWS' if self.grows else 'flat'}"
        )


def judge(what: str, minutes: Sequence[float], values: Sequence[float], allowed: float) -> Verdict:
    """The verdict on a figure's `values` at certain `minutes`; the first sixth is the warm-up.

    Raises `ValueError` if there are fewer than `LEAST` values.
    """
    if len(values) < LEAST:
        raise ValueError(f"{what}: there are {len(values)} values; give at least {LEAST}")
    warm = len(values) // 6
    later = list(zip(minutes, values, strict=True))[warm:]
    sixth = max(1, len(later) // 6)
    slopes = [
        (after - before) / (end - begin) * 60
        for (begin, before), (end, after) in itertools.combinations(later, 2)
    ]
    return Verdict(
        what,
        statistics.median(value for _, value in later[:sixth]),
        statistics.median(value for _, value in later[-sixth:]),
        statistics.median(slopes),
        (later[-1][0] - later[0][0]) / 60,
        allowed,
    )
