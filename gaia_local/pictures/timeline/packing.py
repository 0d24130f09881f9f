"""A timeline's answer in little room: texts once, times as small whole numbers.

What both are counted from is the one before: names of Steps, and the times that they were queued.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gaia_local.pictures.words import clean

TICK = 10_000
"""Times are whole numbers of this part of a second."""
QUEUED = 5
"""The place of that time in a row."""
_USAGE = (
    *("staging", "running", "publishing", "cpu_user", "cpu_system"),
    *("memory", "read", "written", "received", "sent"),
)


class _Texts(dict[str, int]):
    """Text → its place in a list, in the order of the first use."""

    def place(self, text: object) -> int | None:
        """Of a text; None has none."""
        return None if text is None else self.setdefault(str(text), len(self))

    def shown(self) -> list[str]:
        """The texts in order, made fit to be shown."""
        return [clean(text) for text in self]


def packed(workflow: str, attempts: Iterable[Mapping[str, Any]], now: float) -> dict[str, Any]:
    """What the page's ``packed.js`` unpacks. `attempts` are valid ones of `Gaia.timeline`."""
    attempts = list(attempts)
    zero = min((attempt["queued"] for attempt in attempts), default=now)
    steps, texts = _Texts(), _Texts()
    rows, since = [], zero
    for attempt in attempts:
        rows.append(_row(attempt, since, steps, texts))
        since += rows[-1][QUEUED] / TICK
    return {
        "workflow": clean(workflow),
        "now": now,
        "zero": zero,
        "attempts": rows,
        "steps": _front_coded(steps.shown()),
        "texts": texts.shown(),
    }


def as_json(data: Mapping[str, Any]) -> str:
    """JSON that can stand in a ``script`` element: no text in it ends the element."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _row(attempt: Mapping[str, Any], since: float, steps: _Texts, texts: _Texts) -> list[Any]:
    queued, started, ended = attempt["queued"], attempt["started"], attempt["ended"]
    reused, usage = attempt.get("reused"), attempt.get("usage")
    row: list[Any] = [
        steps.place(attempt["step"]),
        texts.place(attempt["command"]),
        texts.place(attempt["state"]),
        texts.place(attempt["reason"]),
        attempt["worker"],
        _ticks(since, queued),
        _ticks(queued, started),
        None if started is None else _ticks(started, ended),
        attempt.get("exit_code"),
        texts.place(attempt.get("message")),
    ]
    if reused is not None or usage is not None:
        from_step = reused and [texts.place(reused["workflow"]), texts.place(reused["step"])]
        row.append(from_step)
    if usage is not None:
        row.append([_short(usage[key]) for key in _USAGE])
    return row


def _front_coded(names: list[str]) -> list[list[Any]]:
    """For each the UTF-16 units that it shares with the one before, and the other characters.

    These units are what JavaScript counts in.
    """
    coded: list[list[Any]] = []
    before = ""
    for name in names:
        pairs = enumerate(zip(before, name, strict=False))
        alike = min(len(before), len(name))
        shared = next((index for index, (one, other) in pairs if one != other), alike)
        coded.append([len(name[:shared].encode("utf-16-le")) // 2, name[shared:]])
        before = name
    return coded


def _ticks(since: float, until: float | None) -> int | None:
    return None if until is None else round(TICK * (until - since))


def _short(number: float | None) -> float | None:
    """A measurement to four digits, as no text tells more."""
    if number is None:
        return None
    short = float(f"{number:.4g}")
    return int(short) if short.is_integer() else short
