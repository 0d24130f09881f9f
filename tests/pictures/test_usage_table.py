"""What attempts took: sentences on one, and summaries of those at a Command or Step."""

from __future__ import annotations

from typing import Any

import pytest

from gaia_local.model.resources import Resources
from gaia_local.model.usage import Usage
from gaia_local.pictures.usage import so_far, took
from gaia_local.pictures.usage_summary import Spread, UsageSummary, columns, summarize

GB, MB = 1 << 30, 1 << 20


def ran(step: str, state: str = "complete", **facts: Any) -> dict[str, Any]:
    """One attempt as `Gaia.timeline` tells it, of the Command with the name's first letter."""
    reused = facts.pop("reused", None)
    usage = dict(Usage(**facts).wire()) if facts else None
    told = {"step": step, "command": step[0], "state": state, "usage": usage}
    return told if reused is None else {**told, "reused": reused}


def summary(*attempts: dict[str, Any], **resources: Any) -> UsageSummary:
    """Of attempts at one Command that asks for these resources."""
    found = summarize({"attempts": attempts}, {"a": {"resources": resources or None}}, "command")
    assert len(found) == 1
    return found[0]


# ----------------------------------------------------------------------------------------- one


def test_a_line_tells_phases_cpu_and_memory() -> None:
    usage = Usage(0.3, 1.7, 0.1, 2.9, 0.3, 310 * MB).wire()
    assert took(1.8, usage) == (
        "1.8 s, after 0.30 s copying inputs: 1.7 s running, 0.10 s storing; 3.2 s CPU; 310 MB"
    )


def test_a_line_leaves_out_what_nobody_measured() -> None:
    assert took(2.1, None) == "2.1 s"
    assert took(2.1, Usage().wire()) == "2.1 s"
    assert took(2.1, Usage(0.3).wire()) == "2.1 s, after 0.30 s copying inputs"
    assert took(2.1, Usage(memory=0, cpu_user=1.0).wire()) == "2.1 s: 0 bytes"
    assert took(65, Usage(running=62.0).wire()) == "1 min 5 s: 1 min 2 s running"


def test_what_runs_is_told_of_the_step_with_the_most_memory() -> None:
    small, large = {"memory": 5 * MB, "cpu": 9.0}, {"memory": 2 * GB, "cpu": None}
    unknown = {"memory": None, "cpu": None}
    assert so_far({"a": small}) == "Step 'a' has taken 9.0 s CPU and 5 MB so far"
    assert so_far({"a": small, "b": large, "c": unknown}) == (
        "Step 'b' has taken 2 GB so far (1 more runs)"
    )
    assert so_far({"a": small, "b": large, "c": small}).endswith("(2 more run)")
    assert so_far({"c": unknown}) == so_far({}) == ""


# ------------------------------------------------------------------------------------- summaries


def test_a_summary_has_medians_and_maxima_of_the_complete_attempts() -> None:
    told = summary(
        ran("a1", running=1.0, cpu_user=0.5, cpu_system=0.5, memory=10, written=1),
        ran("a2", running=2.0, cpu_user=4.0, cpu_system=0.0, memory=20, written=3),
        ran("a3", running=9.0, cpu_user=3.0, memory=None, written=8),
        ran("a4", "error", running=99.0, memory=99),
        ran("a5"),
        ran("a6", "cancelled", running=77.0),
        ran("a7", "running"),
        ran("a8", reused={"workflow": "w", "step": "s", "task": "t"}),
    )
    assert (told.complete, told.failed, told.measured) == (4, 1, 3)
    assert told.running == Spread(2.0, 9.0)
    assert told.cpu == Spread(2.5, 4.0)
    assert told.memory == Spread(15, 20)
    assert told.written == Spread(3, 8)
    assert told.suggestions == ()


def test_a_summary_without_measurements_has_counts_alone() -> None:
    told = summary(ran("a"), ran("a", "exception"), memory="4GB", cpus=2)
    assert (told.complete, told.failed, told.measured) == (1, 1, 0)
    assert told.memory == Spread(None, None)
    assert told.asks == Resources(2.0, 4 * GB)
    assert told.suggestions == ()


def test_there_is_a_summary_for_each_command_or_step_in_the_order_of_their_attempts() -> None:
    gone = {**ran("gone", running=1.0), "command": None}
    timeline = {"attempts": [ran("b1"), ran("a1"), gone, ran("b2"), ran("b1")]}
    commands = {"a": {"resources": {"gpus": 1}}, "b": {}}

    def named(by: Any) -> list[tuple[str, int, Resources]]:
        return [(one.name, one.complete, one.asks) for one in summarize(timeline, commands, by)]

    assert named("command") == [("b", 3, Resources()), ("a", 1, Resources(gpus=1))]
    assert named("step") == [
        ("b1", 2, Resources()),
        ("a1", 1, Resources(gpus=1)),
        ("gone", 1, Resources()),
        ("b2", 1, Resources()),
    ]
    assert summarize({"attempts": []}, commands, "command") == []


@pytest.mark.parametrize(
    ("peaks", "suggestion"),
    [
        ([310 * MB], ["asks for 4 GB of memory, used at most 310 MB in 1 attempt"]),
        ([5 * MB, 310 * MB], ["asks for 4 GB of memory, used at most 310 MB in 2 attempts"]),
        ([2 * GB], []),
        ([int(3.6 * GB)], []),
        ([5 * MB, int(3.9 * GB)], ["used 3.9 GB of 4 GB of memory: close to its limit"]),
    ],
)
def test_memory_that_is_far_from_what_was_asked_for_is_told(
    peaks: list[int], suggestion: list[str]
) -> None:
    told = summary(*(ran("a", memory=peak) for peak in peaks), memory="4GB")
    assert list(told.suggestions) == suggestion


def test_an_attempt_that_failed_raises_what_is_needed_but_never_lowers_it() -> None:
    failed, small = ran("a", "error", memory=4 * GB), ran("a", memory=MB)
    assert summary(failed, small, memory="4GB").suggestions == (
        "used 4 GB of 4 GB of memory: close to its limit",
    )
    assert summary(ran("a", "error", memory=3 * GB), small, memory="4GB").suggestions == ()
    assert summary(ran("a", "error", memory=MB), memory="4GB").suggestions == ()


@pytest.mark.parametrize(
    ("runs", "suggestion"),
    [
        ([(10.0, 9.0)], ["asks for 4 CPUs, used 0.9 on the average in 1 attempt"]),
        ([(1.0, 4.0), (9.0, 5.0)], ["asks for 4 CPUs, used 0.9 on the average in 2 attempts"]),
        ([(10.0, 20.0)], []),
        ([(10.0, 36.0)], []),
        ([(10.0, 39.0)], ["used 3.9 of 4 CPUs on the average in 1 attempt: close to its limit"]),
        ([(0.9, 0.1)], []),
    ],
)
def test_cpus_that_are_far_from_what_was_asked_for_are_told(
    runs: list[tuple[float, float]], suggestion: list[str]
) -> None:
    attempts = [ran("a", running=time, cpu_user=cpu, cpu_system=0.0) for time, cpu in runs]
    assert list(summary(*attempts, cpus=4).suggestions) == suggestion


def test_a_program_of_one_thread_may_use_its_cpu_up() -> None:
    busy = ran("a", running=10.0, cpu_user=9.9, cpu_system=0.1)
    assert summary(busy, cpus=1).suggestions == ()
    assert summary(busy, cpus=1.05).suggestions != ()


def test_a_row_has_plain_numbers_with_their_units_in_the_names() -> None:
    told = summary(ran("a", memory=1, running=0.5), ran("a", memory=2), memory="4 kb", gpus=1)
    row = told.row("command")
    assert tuple(row) == columns("command")
    assert {name: value for name, value in row.items() if value is not None} == {
        "command": "a",
        "complete": 2,
        "failed": 0,
        "measured": 2,
        "running_seconds_median": 0.5,
        "running_seconds_max": 0.5,
        "memory_bytes_median": 2,
        "memory_bytes_max": 2,
        "asks_memory_bytes": 4096,
        "asks_gpus": 1,
        "suggestions": ["asks for 4 KB of memory, used at most 2 bytes in 2 attempts"],
    }
