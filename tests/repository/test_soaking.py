"""The soak: a short one is all right, and what an hour would find is told."""

from __future__ import annotations

import dataclasses
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import soaking
from benchmarks.soak import readings
from benchmarks.soak.judging import LEAST, judge
from benchmarks.soak.pages import PageReading, Stream
from benchmarks.soak.readings import Reading, descendants
from benchmarks.soak.user import CONFIG, User
from gaia_local.server import Server
from support.fixtures import MakeGaia, WaitUntil

TESTS = Path(__file__).parents[1]
MINUTES = [number / 2 for number in range(1, 121)]


# -------------------------------------------------------------------------------------- judgement


@pytest.mark.parametrize(
    "series",
    [
        lambda minute: 50.0,
        lambda minute: 50.0 + minute % 7,
        lambda minute: 50.0 + min(minute, 9.0),
        lambda minute: 50.0 + (30.0 if minute == 40 else 0.0),
        lambda minute: 60.0 - minute / 10,
        lambda minute: 50.0 + minute / 60,
    ],
    ids=["level", "a saw", "a warm-up", "a spike", "falling", "less than allowed"],
)
def test_flat_series_pass(series: Callable[[float], float]) -> None:
    verdict = judge("it", MINUTES, [series(minute) for minute in MINUTES], 1.0)
    assert not verdict.grows
    assert str(verdict).endswith("it may rise by 1: flat")


@pytest.mark.parametrize(
    "series",
    [
        lambda minute: 50.0 + minute / 30,
        lambda minute: 50.0 + minute / 20 + random.Random(minute).uniform(-3, 3),
        lambda minute: 50.0 + minute // 15,
        lambda minute: 50.0 + (2.0 if minute > 45 else 0.0),
    ],
    ids=["a line", "a noisy line", "stairs", "one step late"],
)
def test_growing_series_fail(series: Callable[[float], float]) -> None:
    verdict = judge("it", MINUTES, [series(minute) for minute in MINUTES], 1.0)
    assert verdict.grows
    assert "IT GROWS" in str(verdict)


def test_few_values_are_not_judged() -> None:
    with pytest.raises(ValueError, match=f"there are 3 values; give at least {LEAST}"):
        judge("it", MINUTES[:3], [1.0, 1.0, 1.0], 1.0)


def lines(grows: str = "") -> list[soaking.Line]:
    """The lines of an hour in which one figure grows."""

    def values(kind: Any, minute: float) -> Any:
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: 50 + (20 * minute if name == grows else 0) for name in names})

    return [
        soaking.Line(
            minute,
            values(Reading, minute),
            values(PageReading, minute),
            minute,
            minute,
            (1, 0),
            1.0,
        )
        for minute in MINUTES
    ]


def judged(tmp_path: Path, told: list[soaking.Line]) -> list[str]:
    none: Any = None
    soak = soaking.Soak(tmp_path, none, none, none, told)
    soak.judge()
    return soak.problems


@pytest.mark.parametrize("figure", [*soaking.ALLOWED, *soaking.PAGE_ALLOWED])
def test_each_figure_that_grows_is_a_problem(tmp_path: Path, figure: str) -> None:
    (problem,) = judged(tmp_path, lines(figure))
    assert figure in problem


def test_a_line_has_what_is_there_at_rest() -> None:
    busy, quiet = (line.reading for line in lines("descriptors")[1::-1])
    assert readings.least([busy, quiet, busy]) == quiet
    assert quiet.descriptors < busy.descriptors


def test_databases_and_logs_may_grow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(tmp_path, lines()) == []
    assert judged(tmp_path, lines()[:8]) == []
    assert "not judged" in capsys.readouterr().out


# -------------------------------------------------------------------------------------- a short run


def test_a_short_soak_is_all_right() -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.soaking"),
            *("--minutes", "0.05", "--every", "1", "--streams"),
        ],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    printed = ended.stdout.splitlines()
    assert soaking.Line.HEADER in printed
    assert len([line for line in printed if line.count("|") == soaking.Line.HEADER.count("|")]) >= 2
    assert "0 differences from a run from scratch" in ended.stdout
    assert printed[-1] == "all is right"


def test_a_wrong_output_is_told(make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia(watch=False, **CONFIG)
    with Server(gaia, port=0) as server:
        user = User(server.url, "", gaia_root, random.Random(1))
        user.begin()
        assert user.settle() == []
        gaia.path("soak_chain", "k:both").write_text("wrong\n")
        (told,) = user.differences()
        user.close()
    assert told.startswith(r"soak_chain/k/both is b'wrong\n'; from scratch b'")


def test_a_stream_that_ended_is_read_again(make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia()
    problems: list[str] = []
    with Server(gaia, port=0) as server:
        stream = Stream(server.url, "", "", problems)
        gaia.command("first", [])
        stream.go("")
        gaia.upload("second", {}, [], [])
        assert stream.tells("second", "initialized")
        stream.close()
    assert problems == []


def test_a_bad_end_and_leftovers_are_told(tmp_path: Path, wait_until: WaitUntil) -> None:
    program = "trap 'echo oh no >&2; exit 3' TERM; sleep 60 & wait"
    errors = tmp_path / "errors"
    with errors.open("w") as stderr:
        server = subprocess.Popen(["sh", "-c", program], stderr=stderr, text=True)
    (left,) = wait_until(lambda: list(descendants(server.pid)))
    try:
        assert soaking.end(tmp_path / "root", server, errors) == [
            "the server's exit status is 3; 143 is right",
            "the server wrote to stderr: oh no",
            f"the process {left} is left",
        ]
    finally:
        os.kill(left, 9)
