"""The command that shows what Steps took, and the places of other commands that do."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from gaia_local.model.usage import Usage
from gaia_local.pictures.usage_summary import columns
from support.command_line import CHECK, COMMANDS, COPY, SAY, answer, call, here, upload
from support.measured import write_usage

__all__ = ["here"]  # a fixture for all tests

MB = 1 << 20
USAGE = Usage(0.3, 1.7, 0.1, 0.9, 0.3, 62 * MB, 10_000_000, 5_000)
SMALL = Usage(running=3.5, cpu_user=0.1, cpu_system=0.1, memory=50 * MB)
AGAIN = {**SAY, "name": "again", "outputs": {"said": "a:again.txt"}}
ASKS = {"resources": {"memory": "640MB", "cpus": 1}}


@pytest.fixture
def ran(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workflow `w`: two Steps of `say`, one of which took little, one not measured, a failure.

    It returns the root.
    """
    monkeypatch.setattr("support.command_line.COMMANDS", [{**COMMANDS[0], **ASKS}, *COMMANDS[1:]])
    upload("w", SAY, AGAIN, COPY, CHECK, status=1)
    write_usage(here / "gaia-data", "w", {"say": USAGE, "again": SMALL})
    return here / "gaia-data"


def test_usage_is_a_table_with_suggestions_below(ran: Path) -> None:
    head, say, check, copy, *suggestions = call("usage", "w").stdout.splitlines()
    assert head.split() == [
        *("Command", "runs", "failed", "time", "most", "CPU", "most", "memory", "most"),
        *("written", "most", "asks", "for"),
    ]
    cells = ["say", "2", "0", "2.6 s", "3.5 s", "0.70 s", "1.2 s", "56 MB", "62 MB", "5 kB", "5 kB"]
    assert say == "  ".join(
        cell.ljust(width)
        for cell, width in zip(
            [*cells, "1 CPU, 640 MB"], [7, 4, 6, 5, 5, 6, 5, 6, 5, 7, 4, 0], strict=True
        )
    )
    assert copy.split() == ["copy", "1", "0", *"????????"]
    assert check.split() == ["check", "0", "1", *"????????"]
    assert suggestions == [
        "say: asks for 640 MB of memory, used at most 62 MB in 2 attempts",
        "say: asks for 1 CPU, used 0.3 on the average in 2 attempts",
    ]


def test_usage_is_told_for_each_step_too(ran: Path) -> None:
    lines = call("usage", "w", "--by", "step").stdout.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["Step", "say", "again", "check", "copy"]
    assert lines[5] == "say: asks for 640 MB of memory, used at most 62 MB in 1 attempt"


def test_csv_and_json_have_plain_numbers(ran: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(call("usage", "w", "--format", "csv").stdout)))
    assert [row["command"] for row in rows] == ["say", "check", "copy"]
    first = rows[0]
    assert tuple(first) == columns("command")
    assert first["memory_bytes_max"] == str(62 * MB)
    assert float(first["running_seconds_median"]) == pytest.approx(2.6)
    assert (first["asks_memory_bytes"], first["asks_gpus"]) == (str(640 * MB), "")
    assert first["suggestions"].count("; ") == 1
    told: list[dict[str, Any]] = answer("usage", "w", "--format", "json")
    assert told == answer("usage", "w", "--json")
    assert [row["complete"] for row in told] == [2, 0, 1]
    assert told[2]["memory_bytes_max"] is None
    assert {name: "" if value is None else str(value) for name, value in told[2].items()} == {
        **rows[2],
        "suggestions": "[]",
    }


def test_usage_of_nothing_is_told(here: Path) -> None:
    upload("w", {**COPY, "inputs": {"from": "b:missing"}}, status=1)
    result = call("usage", "w")
    assert result.stdout == ""
    assert "no Step of workflow 'w' has run to its end yet" in result.stderr
    assert call("usage", "w", "--format", "csv", "--by", "step").stdout == (
        ",".join(columns("step")) + "\n"
    )
    assert answer("usage", "w", "--json") == []
    assert "nobody" in call("usage", "nobody", status=2).stderr
    assert "xml" in call("usage", "w", "--format", "xml", status=2).stderr


def test_a_name_is_one_cell_whatever_it_holds(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = '=a,"b";<b>'
    monkeypatch.setattr("support.command_line.COMMANDS", [{**COMMANDS[0], "name": name}])
    upload("w", {**SAY, "command": name})
    (row,) = csv.DictReader(io.StringIO(call("usage", "w", "--format", "csv").stdout))
    assert row["command"] == name


def test_an_explanation_tells_what_the_last_run_took(ran: Path) -> None:
    lines = call("explain", "w", "say").stdout.splitlines()
    took = next(line for line in lines if line.startswith("took"))
    elapsed = answer("explain", "w", "say", "--json")["last"]
    assert elapsed["usage"] == dict(USAGE.wire())
    assert took.endswith(
        "s, after 0.30 s copying inputs: 1.7 s running, 0.10 s storing; 1.2 s CPU; 62 MB"
    )
    (plain,) = (line for line in call("explain", "w", "copy").stdout.splitlines() if "took" in line)
    assert ":" not in plain
    told = json.loads(call("timeline", "w", "--json").stdout)["attempts"]
    assert [attempt["usage"] for attempt in told] == [
        dict(USAGE.wire()),
        dict(SMALL.wire()),
        None,
        None,
    ]
