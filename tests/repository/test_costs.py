"""The cost of a Step, counted instead of timed: a regression fails here on any machine.

The figures are those of `benchmarks.counting`, a process of its own for each shape. Lower the
bounds as the engine gets faster; they are about a fifth above the counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.counting import CALLS, LOOKS

SIZES = (100, 1000)
BOUNDS = {
    # what: at most so many a Step, of (independent ones, chains of 100)
    "sql begin": (1.2, 1.2),
    "sql commit": (1.2, 1.2),
    "sql insert": (3.7, 4.9),
    "sql update": (2.2, 2.2),
    "sql select": (0.1, 0.1),
    "open": (1.3, 3.6),
    "flush": (0.1, 0.1),
    "mkdir": (0.1, 0.1),
    "rename": (3.6, 3.6),
    "remove": (0.2, 1.2),
    "rmdir": (0.1, 0.1),
    "list": (4.9, 6.1),
    "look": (23.5, 30.5),  # two of them at the program: its fingerprint is that before and after
    "program": (1.02, 1.02),  # a supervisor may be started for the second of two workers
    "thread": (0.0, 0.0),
}
GROWTH = 1.1
"""A Step among 1,000 may cost so many times as much as one among 100, plus `SLACK`."""
SLACK = 1.0
"""Threads write simultaneous events together, which differs from run to run."""
SHAPES = ("independent", "chains")


def counted(folder: Path, shape: str) -> list[dict[str, float]]:
    """The number of each operation for a Step, among 100 and among 1,000."""
    arguments = {"root": str(folder / "root"), "shape": shape, "sizes": SIZES}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.counting", json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    counts = json.loads(ended.stdout)
    return [
        {word: number / size for word, number in counted.items()}
        for counted, size in zip(counts, SIZES, strict=True)
    ]


def problems(few: dict[str, float], many: dict[str, float], bounds: dict[str, float]) -> list[str]:
    """The operations done more often than allowed."""
    found = [
        f"{word}: nobody said how often that may be done"
        for word in sorted({*few, *many} - bounds.keys())
    ]
    for word, most in bounds.items():
        small, large = few.get(word, 0.0), many.get(word, 0.0)
        if max(small, large) > most:
            found.append(
                f"{word}: {small:.2f} a Step among 100, {large:.2f} among 1,000; at most {most:g}"
            )
        elif large > GROWTH * small + SLACK:
            found.append(
                f"{word}: grows from {small:.2f} a Step among 100 to {large:.2f} among 1,000"
            )
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_takes_so_many_calls_and_no_more_among_many(shape: str, tmp_path: Path) -> None:
    few, many = counted(tmp_path, shape)
    bounds = {word: pair[SHAPES.index(shape)] for word, pair in BOUNDS.items()}
    assert problems(few, many, bounds) == []
    assert min(few["program"], many["program"]) >= 1.0


def test_the_table_has_all_that_is_counted() -> None:
    assert {word for word in BOUNDS if not word.startswith("sql ")} == {
        *CALLS.values(),
        *LOOKS.values(),
    }


@pytest.mark.parametrize(
    ("few", "many", "words"),
    [
        ({"open": 3.0}, {"open": 3.0}, []),
        (
            {"open": 6.0},
            {"open": 3.0},
            ["open: 6.00 a Step among 100, 3.00 among 1,000; at most 5"],
        ),
        (
            {"open": 1.0},
            {"open": 4.0},
            ["open: grows from 1.00 a Step among 100 to 4.00 among 1,000"],
        ),
        ({}, {"open": 1.0, "link": 1.0}, ["link: nobody said how often that may be done"]),
    ],
)
def test_calls_beyond_the_limit_are_found(
    few: dict[str, float], many: dict[str, float], words: list[str]
) -> None:
    assert problems(few, many, {"open": 5.0}) == words
