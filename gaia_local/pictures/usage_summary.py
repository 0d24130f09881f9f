"""What the attempts at each Command or Step took, beside what its resources ask for."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gaia_local.model.resources import NONE, Resources
from gaia_local.model.sizes import memory_text
from gaia_local.pictures.usage import cpu_seconds

By: TypeAlias = Literal["command", "step"]
"""The things that there is a summary for."""

MUCH_LESS, CLOSE = 0.5, 0.9
"""A suggestion is made if less than the one share of what is asked for was used, or more than the
other.
"""
ENOUGH_SECONDS = 1.0
"""A shorter time of running, in all, says nothing on the number of CPUs."""
_FAILED = ("error", "exception")
_NUMBERS = (
    "complete",
    "failed",
    "measured",
    "running_seconds_median",
    "running_seconds_max",
    "cpu_seconds_median",
    "cpu_seconds_max",
    "memory_bytes_median",
    "memory_bytes_max",
    "written_bytes_median",
    "written_bytes_max",
    "asks_cpus",
    "asks_memory_bytes",
    "asks_gpus",
)


@dataclass(frozen=True)
class Spread:
    """The median and the maximum of some measurements; None: there are none."""

    median: float | None
    most: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of these measurements."""
        return cls(statistics.median(values), max(values)) if values else cls(None, None)


@dataclass(frozen=True)
class UsageSummary:
    """The attempts at one Command or Step. Times are in seconds, `memory` and `written` in bytes.

    The measurements are those of complete attempts; `measured` of these have any.
    """

    name: str
    complete: int
    failed: int
    measured: int
    running: Spread
    cpu: Spread
    memory: Spread
    written: Spread
    asks: Resources
    """At present; earlier attempts may have run with other ones."""
    suggestions: tuple[str, ...]

    def row(self, by: By) -> dict[str, Any]:
        """As plain numbers, each with its unit in its name; None where there is no number."""
        numbers = (
            *(self.running.median, self.running.most, self.cpu.median, self.cpu.most),
            *map(_whole, (self.memory.median, self.memory.most)),
            *map(_whole, (self.written.median, self.written.most)),
        )
        counts = (self.complete, self.failed, self.measured)
        asks = (self.asks.cpus, self.asks.memory, self.asks.gpus)
        values = (self.name, *counts, *numbers, *asks, list(self.suggestions))
        return dict(zip(columns(by), values, strict=True))


def columns(by: By) -> tuple[str, ...]:
    """The names of the values in a row, in order."""
    return (by, *_NUMBERS, "suggestions")


def summarize(
    timeline: Mapping[str, Any],
    commands: Mapping[str, Mapping[str, Any]],
    by: By,
) -> list[UsageSummary]:
    """A summary for each Command or Step that ran, in the order of their first attempts.

    `timeline` is an answer of `Gaia.timeline`, `commands` are those of `Gaia.definitions`. Reused
    results aren't attempts here; of Steps that are gone nobody knows the Command any more.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for attempt in timeline["attempts"]:
        ran = attempt["state"] == "complete" or attempt["state"] in _FAILED
        if ran and not attempt.get("reused") and attempt[by] is not None:
            groups.setdefault(attempt[by], []).append(attempt)
    return [
        _summary(name, members, _resources(members[-1]["command"], commands))
        for name, members in groups.items()
    ]


def _resources(command: str | None, commands: Mapping[str, Mapping[str, Any]]) -> Resources:
    definition = commands.get(command, {}) if command is not None else {}
    given = definition.get("resources")
    return NONE if given is None else Resources.parse(f"Command {command!r}, resources", given)


def _summary(name: str, attempts: Sequence[Mapping[str, Any]], asks: Resources) -> UsageSummary:
    complete = [attempt for attempt in attempts if attempt["state"] == "complete"]
    used = [attempt["usage"] for attempt in complete if attempt["usage"] is not None]
    everything = [attempt["usage"] for attempt in attempts if attempt["usage"] is not None]
    return UsageSummary(
        name,
        len(complete),
        len(attempts) - len(complete),
        len(used),
        Spread.of(_known(one["running"] for one in used)),
        Spread.of(_known(map(cpu_seconds, used))),
        Spread.of(_known(one["memory"] for one in used)),
        Spread.of(_known(one["written"] for one in used)),
        asks,
        (*_about_memory(asks.memory, used, everything), *_about_cpus(asks.cpus, used)),
    )


def _about_memory(
    asked: int | None, used: Sequence[Mapping[str, Any]], everything: Sequence[Mapping[str, Any]]
) -> Iterable[str]:
    """At most one suggestion.

    One that failed may have needed more than its limit, so it counts for the most; one that failed
    early may have used little, so by itself it is no reason to ask for less.
    """
    peaks = _known(one["memory"] for one in everything)
    if asked is None or not peaks:
        return
    most, limit = memory_text(max(peaks)), memory_text(asked)
    if max(peaks) > CLOSE * asked:
        yield f"used {most} of {limit} of memory: close to its limit"
    elif max(peaks) < MUCH_LESS * asked and _known(one["memory"] for one in used):
        yield f"asks for {limit} of memory, used at most {most} in {_attempts(len(peaks))}"


def _about_cpus(asked: float | None, used: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """At most one suggestion. One CPU that is used up is no sign: most programs have one thread."""
    pairs = [
        (cpu, one["running"])
        for one in used
        if (cpu := cpu_seconds(one)) is not None and one["running"] is not None
    ]
    seconds = sum(running for _, running in pairs)
    if asked is None or seconds < ENOUGH_SECONDS:
        return
    average = sum(cpu for cpu, _ in pairs) / seconds
    number, counted = f"{asked:g} CPU{'' if asked == 1 else 's'}", _attempts(len(pairs))
    used_on_average = f"used {average:.{1 if average < 9.95 else 0}f}"
    if average > CLOSE * asked and asked != 1:
        yield f"{used_on_average} of {number} on the average in {counted}: close to its limit"
    elif average < MUCH_LESS * asked:
        yield f"asks for {number}, {used_on_average} on the average in {counted}"


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


def _attempts(number: int) -> str:
    return f"{number} attempt{'' if number == 1 else 's'}"


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
