"""What the command line says of results that are reused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gaia_local.cli.asking import reusable_row
from gaia_local.cli.output import attempt_line, print_plan
from gaia_local.cli.watching import change_line
from gaia_local.pictures.sentences import counts_line
from support.command_line import COPY, SAY, answer, call, here, upload, write

__all__ = ["here"]  # a fixture for all tests

FROM = {"workflow": "a", "step": "s", "task": "f00d"}
AGAIN = {**SAY, "name": "again", "outputs": {"said": "a:again.txt"}}


# ----------------------------------------------------------------------------------------- together


def test_a_second_workflow_says_what_it_reused(here: Path) -> None:
    upload("one", SAY)
    told = call("upload", "two", *write(SAY, COPY), "--reuse").stdout
    assert told == "two: complete, 2 of 2 Steps done, 1 reused, 1 ran\n"
    assert call("status", "two").stdout == told
    seen = call("explain", "two", "say").stdout
    assert re.search(r"^reused last +20.*: complete$\n^took +\d", seen, flags=re.MULTILINE)
    assert re.search(r"^reason +new$", seen, flags=re.MULTILINE)
    assert re.search(r"^reused from +workflow 'one', Step 'say'$", seen, flags=re.MULTILINE)
    assert "ran last" not in seen
    assert "reused from" not in call("explain", "two", "copy").stdout
    assert re.search(
        r"step-reused +say .*reused=workflow 'one', Step 'say'", call("events", "two").stdout
    )


def test_what_was_in_the_store_already_neither_ran_nor_was_reused(here: Path) -> None:
    upload("one", SAY)
    call("--reuse", "upload", "two", *write(SAY))
    call("delete", "two")
    told = call("--reuse", "upload", "two", *write(SAY)).stdout
    assert told == "two: complete, 1 of 1 Steps were in the store already, nothing ran\n"
    call("delete", "two")
    told = call("--reuse", "upload", "two", *write(SAY, COPY)).stdout
    assert told == "two: complete, 2 of 2 Steps done, 1 of them in the store already\n"
    assert answer("status", "two", "--json")["progress"]["found"] == 1
    assert "reused" not in answer("status", "two", "--json")["progress"]


def test_a_plan_says_what_would_be_reused(here: Path) -> None:
    upload("one", SAY, COPY)
    upload("two", SAY, COPY)
    for key in ("said", "copied"):
        Path(f"gaia-data/storage/two/a/{key}.txt").unlink()
    assert "reused" not in call("run", "two", "--dry-run").stdout
    lines = call("--reuse", "run", "two", "--dry-run").stdout.splitlines()
    assert re.fullmatch("Step  would run because +would be reused from", lines[0])
    assert re.fullmatch("say   output missing.* +workflow 'one', Step 'say'", lines[1])
    assert re.fullmatch("copy  .* +workflow 'one', Step 'copy'", lines[2])
    (entry, _) = answer("--reuse", "run", "two", "--dry-run", "--json")["would"]
    assert (entry["reuse"]["workflow"], entry["reuse"]["step"]) == ("one", "say")
    expired = call("--reuse", "expire", "two", "say", "--dry-run").stdout.splitlines()
    assert re.fullmatch("say   expired", expired[1])


def test_the_results_that_there_are_make_a_table(here: Path) -> None:
    said = call("reuse")
    assert said.stdout == ""
    assert said.stderr.startswith(f"nothing to be reused yet in root {here / 'gaia-data'}, which")
    assert "--reuse" in said.stderr
    assert answer("reuse", "--json") == []
    upload("one", SAY, COPY)
    upload("two", SAY)
    assert call("reuse").stdout.splitlines() == [
        "Command  image    results  size     workflows",
        "copy     busybox  1        6 bytes  one",
        "say      busybox  1        6 bytes  one, two",
    ]
    assert answer("reuse", "--json")[1] == {
        "command": "say",
        "image": "busybox",
        "results": 1,
        "bytes": 6,
        "workflows": ["one", "two"],
    }
    call("delete", "two", "--data")
    call("delete", "one", "--data")
    assert "nothing to be reused yet" in call("reuse").stderr


# ---------------------------------------------------------------------------------------- its parts


def test_many_workflows_are_shortened() -> None:
    entry: Any = {
        "command": "c",
        "image": "i",
        "results": 1200,
        "bytes": 3_600_000_000,
        "workflows": ["a", "b", "c", "d", "e"],
    }
    assert reusable_row(entry) == ["c", "i", "1200", "3.6 GB", "a, b, c and 2 more"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"reused": 253, "ran": 24}, "277 of 277 Steps done, 253 reused, 24 ran"),
        ({"reused": 277, "ran": 0}, "277 of 277 Steps done, 277 reused, 0 ran"),
        (
            {"done": 100, "reused": 99, "ran": 1, "running": 2},
            "100 of 277 Steps done, 99 reused, 1 ran, 2 running",
        ),
        (
            {"reused": 200, "ran": 7, "found": 70},
            "277 of 277 Steps done, 200 reused, 7 ran, 70 of them in the store already",
        ),
    ],
)
def test_counts_tell_apart_what_ran(more: dict[str, int], line: str) -> None:
    assert counts_line({"steps": 277, "done": 277, "running": 0, "failed": 0, **more}) == line


def attempt(name: str, **facts: Any) -> dict[str, Any]:
    times = {"queued": 10.0, "started": 10.5, "ended": 11.0}
    return {"step": name, "reason": "new", "state": "complete", **times, **facts}


def test_a_change_tells_apart_what_ran() -> None:
    counts = {"steps": 3, "done": 3, "running": 0, "failed": 0, "waiting": 0, "reused": 2, "ran": 1}
    status = {"state": "complete", "waiting-inputs": []}
    reused = [attempt("a", reused=FROM), attempt("b", reused=FROM)]
    end = "complete, 3 of 3 Steps done, 2 reused, 1 ran"
    assert change_line([*reused, attempt("c")], counts, status) == (
        f"new → c ran; a, b reused in 1.0 s → {end}"
    )
    assert change_line(reused, counts, status) == f"new → a, b reused in 1.0 s → {end}"


def test_an_attempt_tells_what_it_was_given() -> None:
    line = attempt_line(attempt("s", reused=FROM))
    assert line.endswith("  s was reused from workflow 'a', Step 's'")


def test_a_plan_without_results_has_no_column_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_plan([{"step": "s", "reason": "new"}])
    assert capsys.readouterr().out == "Step  would run because\ns     new\n"
