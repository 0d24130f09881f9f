"""Places attempts on a timeline: lanes by worker, and an axis without long idle times."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaia_local.errors import InvalidInput, shown
from gaia_local.model.durations import duration
from gaia_local.pictures.sentences import made_by
from gaia_local.pictures.usage import facts as usage_facts
from gaia_local.pictures.words import clean

IDLE = 0.2
"""An idle time longer than this share of the busy time is cut out,"""
CUT = 0.03
"""and shown as a gap of this share."""
TICKS = 8
"""The approximate number of marks on the whole axis; finer ones show when it is enlarged."""
LEVELS = (1, 5, 20)
"""Each level has about so many times as many marks as the one before."""
ROUNDING = 1e-3
"""Two attempts that overlap by fewer seconds follow each other."""
REUSED_ROWS = 4
"""What was reused took no time of a worker, and many may be at once: they share so many rows."""
REUSED = "reused"
"""The state, and the lane, of attempts that were given the results of other Tasks."""
_STEPS = [base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5)]
_STEPS += [
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    172800,
    604800,
    2592000,
    7776000,
]


@dataclass(frozen=True)
class Bar:
    """One attempt that started; `left` and `width` are shares of the axis."""

    step: str
    command: int
    """The place of its Command in `Timeline.commands`."""
    state: str
    facts: tuple[str, ...]
    """The text of its tooltip, in lines."""
    left: float
    width: float
    row: int
    """Within its lane: attempts that overlap have rows of their own."""

    @property
    def marked(self) -> bool:
        """Whether it is worth a look, and so has its sign however short it is."""
        return self.state not in ("complete", REUSED)


@dataclass(frozen=True)
class Lane:
    """One worker's bars, by time; or those of Steps that were given results, and didn't run."""

    name: str
    bars: tuple[Bar, ...]
    rows: int
    busy: float | None
    """The share of the time shown in which it worked; None if it is no worker's."""

    @property
    def about(self) -> str:
        """A few words below its name."""
        if self.busy is not None:
            return f"{self.busy:.0%} busy"
        return f"{len(self.bars)} Step{'' if len(self.bars) == 1 else 's'}"


@dataclass(frozen=True)
class Tick:
    """A mark of the axis, at a share of it; levels 1 and 2 show when the axis is enlarged."""

    at: float
    text: str
    level: int


@dataclass(frozen=True)
class Gap:
    """A time in which nothing ran and that is cut out, around a place on the axis."""

    at: float
    width: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """All that a picture needs."""

    workflow: str
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    gaps: tuple[Gap, ...]
    commands: tuple[str, ...]
    """In the order of the first attempts at them; the empty one is that of Steps that are gone."""
    counts: Mapping[str, int]
    """State → number of attempts, those that never started included."""
    idle: tuple[tuple[str, str, str], ...]
    """Step, state and reason of the attempts that never started."""
    summary: str


def arrange(answer: Mapping[str, Any], now: float) -> Timeline:
    """Arrange an answer of `Gaia.timeline`; running attempts end at `now` (since the epoch).

    Raises `InvalidInput` for anything else.
    """
    workflow, attempts = _read(answer)
    started = sorted(
        (attempt for attempt in attempts if attempt["started"] is not None),
        key=lambda attempt: float(attempt["started"]),
    )
    spans = [(attempt["started"], _end(attempt, now)) for attempt in started]
    axis = _Axis(spans)
    by_worker: dict[tuple[int, int], list[tuple[dict[str, Any], float]]] = {}
    for attempt, (_, end) in zip(started, spans, strict=True):
        worker = attempt["worker"]
        kind = 2 if attempt["reused"] else 1 if worker is None else 0
        by_worker.setdefault((kind, worker or 0), []).append((attempt, end))
    commands = {name: number for number, name in enumerate(dict.fromkeys(map(_command, attempts)))}
    lanes = tuple(
        _lane((f"worker {worker}", "no worker known", REUSED)[kind], members, axis, commands)
        for (kind, worker), members in sorted(by_worker.items())
    )
    counts: dict[str, int] = {}
    for attempt in attempts:
        counts[attempt["state"]] = counts.get(attempt["state"], 0) + 1
    idle = tuple(
        (clean(attempt["step"]), clean(attempt["state"]), clean(attempt["reason"]))
        for attempt in attempts
        if attempt["started"] is None
    )
    return Timeline(
        clean(workflow),
        lanes,
        tuple(axis.ticks()),
        tuple(axis.gaps()),
        tuple(commands),
        counts,
        idle,
        _summary(counts, len(idle), lanes, axis),
    )


def checked(answer: Mapping[str, Any]) -> tuple[str, list[Mapping[str, Any]]]:
    """The workflow's name and the attempts of an answer of `Gaia.timeline`, as they are.

    Raises `InvalidInput` for anything else.
    """
    workflow, _ = _read(answer)
    return workflow, list(answer["attempts"])


def _read(answer: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    try:
        return str(answer["workflow"]), [_checked(attempt) for attempt in answer["attempts"]]
    except (TypeError, KeyError, ValueError, OverflowError, OSError) as error:
        raise InvalidInput(
            "timeline",
            f"{shown(answer)} isn't a timeline ({error!r})",
            "give what Gaia.timeline answers",
        ) from None


def moment(seconds: float) -> str:
    """A time in seconds since the epoch as the local clock shows it."""
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def _checked(attempt: Mapping[str, Any]) -> dict[str, Any]:
    read = {
        key: attempt[key]
        for key in ("step", "command", "state", "reason", "worker", "queued", "started", "ended")
    }
    for key in ("queued", "started", "ended"):
        if read[key] is not None:
            read[key] = float(read[key])
            datetime.datetime.fromtimestamp(read[key])
    reused, usage = attempt.get("reused"), attempt.get("usage")
    if reused is not None:
        read["state"] = REUSED
    return {
        **read,
        "exit_code": attempt.get("exit_code"),
        "message": attempt.get("message"),
        "reused": reused and clean(f"reused from {made_by(reused)}"),
        "usage": () if usage is None else tuple(usage_facts(usage)),
    }


def _end(attempt: Mapping[str, Any], now: float) -> float:
    end = now if attempt["ended"] is None else attempt["ended"]
    return max(float(end), float(attempt["started"]))


def _command(attempt: Mapping[str, Any]) -> str:
    return clean(attempt["command"] or "")


def _lane(
    name: str,
    members: Sequence[tuple[dict[str, Any], float]],
    axis: _Axis,
    commands: Mapping[str, int],
) -> Lane:
    free: list[float] = []
    """For each row, the time from which it is free."""
    bars = []
    for attempt, end in members:
        start = attempt["started"]
        row = next(
            (number for number, until in enumerate(free) if until <= start + ROUNDING), len(free)
        )
        if name == REUSED and row >= REUSED_ROWS:
            row = free.index(min(free))
        free[row : row + 1] = [max([end, *free[row : row + 1]])]
        left, right = axis.place(start), axis.place(end)
        facts = tuple(_facts(attempt, end, name))
        bars.append(
            Bar(
                clean(attempt["step"]),
                commands[_command(attempt)],
                attempt["state"],
                facts,
                left,
                right - left,
                row,
            )
        )
    busy = axis.share((attempt["started"], end) for attempt, end in members)
    return Lane(name, tuple(bars), len(free), None if name == REUSED else busy)


def _facts(attempt: Mapping[str, Any], end: float, lane: str) -> Iterator[str]:
    start, queued, code = attempt["started"], attempt["queued"], attempt["exit_code"]
    yield clean(attempt["step"])
    if attempt["command"]:
        yield f"Command {clean(attempt['command'])}"
    if attempt["reused"]:
        yield attempt["reused"]
    else:
        yield f"{clean(attempt['state'])}{'' if code is None else f', exit code {code}'}"
    if attempt["message"] and attempt["message"] != f"exit code {code}":
        yield clean(attempt["message"])
    yield (
        f"took {duration(end - start)}"
        + (" so far" if attempt["ended"] is None else "")
        + ("" if attempt["reused"] else f", on {lane}")
    )
    yield from attempt["usage"]
    yield f"started {moment(start)}" + (
        f", after {duration(start - queued)} in the queue" if queued is not None else ""
    )
    yield f"because: {clean(attempt['reason'])}"


def _summary(counts: Mapping[str, int], idle: int, lanes: Sequence[Lane], axis: _Axis) -> str:
    """One sentence; its number of attempts is that of all tables and legends."""
    number, reused = sum(counts.values()), counts.get(REUSED, 0)
    parts = [f"{reused} reused"] if reused else []
    parts += [f"{idle} not started"] if idle else []
    attempts = f"{number} attempt{'' if number == 1 else 's'}"
    attempts += f" ({', '.join(parts)})" if parts else ""
    if not lanes:
        return attempts if number else "nothing has started yet"
    workers = sum(1 for lane in lanes if lane.name.startswith("worker "))
    by = f" by {workers} worker{'' if workers == 1 else 's'}" if workers else ""
    return (
        f"{attempts}{by} in {duration(axis.busy)}, from {moment(axis.start)} to {moment(axis.end)}"
    )


class _Axis:
    """Maps times to shares of the axis, between 0 and 1."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        runs: list[list[float]] = []
        for start, end in sorted(spans):
            if runs and start <= runs[-1][1]:
                runs[-1][1] = max(runs[-1][1], end)
            else:
                runs.append([start, end])
        worked = sum(end - start for start, end in runs)
        self.segments: list[tuple[float, float]] = []
        """The times shown, without the gaps."""
        for start, end in runs:
            if self.segments and start - self.segments[-1][1] <= max(IDLE * worked, 1e-3):
                self.segments[-1] = (self.segments[-1][0], end)
            else:
                self.segments.append((start, end))
        self.busy = sum(end - start for start, end in self.segments)
        self._gap = CUT * (self.busy or 1.0)
        self._whole = (self.busy or 1.0) + self._gap * max(0, len(self.segments) - 1)

    @property
    def start(self) -> float:
        return self.segments[0][0]

    @property
    def end(self) -> float:
        return self.segments[-1][1]

    def place(self, time: float) -> float:
        """The share of the axis that is before a time."""
        before = 0.0
        for number, (start, end) in enumerate(self.segments):
            if time <= end or number == len(self.segments) - 1:
                return (before + min(max(time, start), end) - start) / self._whole
            before += end - start + self._gap
        return 0.0

    def share(self, spans: Iterable[tuple[float, float]]) -> float:
        """The share of the time shown that these cover, at most 1."""
        return min(1.0, sum(end - start for start, end in spans) / self.busy) if self.busy else 0.0

    def gaps(self) -> Iterator[Gap]:
        for (_, end), (start, _) in itertools.pairwise(self.segments):
            yield Gap(
                self.place(end) + self._gap / self._whole / 2,
                self._gap / self._whole,
                f"{duration(start - end)} idle",
            )

    def ticks(self) -> Iterator[Tick]:
        """Marks at round times of the local clock, the coarse ones first."""
        if not self.busy:
            return
        seen: set[float] = set()
        for level, times in enumerate(LEVELS):
            step = next(
                (seconds for seconds in _STEPS if seconds >= self.busy / (TICKS * times)),
                _STEPS[-1],
            )
            for start, end in self.segments:
                offset = (
                    datetime.datetime.fromtimestamp(start).astimezone().utcoffset()
                    or datetime.timedelta()
                )
                zone = offset.total_seconds()
                for number in range(
                    math.ceil((start + zone) / step), math.floor((end + zone) / step) + 1
                ):
                    time = number * step - zone
                    if (key := round(time, 5)) not in seen:
                        seen.add(key)
                        yield Tick(self.place(time), _clock(time, step), level)


def _clock(time: float, step: float) -> str:
    shown = datetime.datetime.fromtimestamp(time)
    if step >= 86400:
        return shown.strftime("%Y-%m-%d")
    if step >= 21600:
        return shown.strftime("%m-%d %H:%M")
    if step >= 60:
        return shown.strftime("%H:%M")
    digits = max(0, math.ceil(-math.log10(step) - 1e-9))
    text = shown.strftime("%H:%M:%S")
    return text if not digits else f"{text}.{f'{time % 1:.{digits}f}'[2:]}"
