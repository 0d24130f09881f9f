"""What containers of known loads took, as the runtime `docker` measures it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gaia_local.model.answer_types import LiveUsage
from gaia_local.model.usage import Usage
from gaia_local.runtimes.docker.cgroups import Cgroups
from support.containers import ContainerBench, Run, bench, client, full_image

__all__ = ["bench", "client", "full_image"]

MB = 1 << 20
HOLD = "(head -c {}m /dev/zero; sleep 2) | tail > /dev/null"
"""`tail` keeps what has no line end."""
BURN = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done"


def usage(run: Run) -> Usage:
    assert run.exit is not None and run.exit.usage is not None
    return run.exit.usage


def of_a_short_run(bench: ContainerBench, *tokens: str) -> Usage:
    """What it took: on a busy machine such a run may end unseen, but not each time."""
    runs = (bench.run(*tokens).exit for _ in range(5))
    return next(ended.usage for ended in runs if ended is not None and ended.usage is not None)


def cpu(measured: Usage) -> float:
    assert measured.cpu_user is not None and measured.cpu_system is not None
    return measured.cpu_user + measured.cpu_system


def said_cpu(run: Run) -> float:
    """The seconds that `times` of the shell says: its own, and its children's."""
    seconds = 0.0
    for word in run.log.decode().split()[-4:]:
        minutes, _, rest = word.rstrip("s").partition("m")
        seconds += 60 * float(minutes) + float(rest)
    return seconds


def test_memory_that_is_held(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", HOLD.format(200))
    assert usage(run).memory == pytest.approx(200 * MB, rel=0.1)


def test_a_short_peak_of_memory_is_known(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1.5")
    assert usage(run).memory == pytest.approx(200 * MB, rel=0.1)


def test_the_cache_of_files_is_no_memory_of_a_program(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", "head -c 100000000 /dev/zero > x; sleep 1.5")
    assert (usage(run).memory or 0) < 30 * MB


@pytest.mark.parametrize("script", [f"{BURN}; times", f"({BURN}) & ({BURN}) & wait; times"])
def test_cpu_time(bench: ContainerBench, script: str) -> None:
    run = bench.run("sh", "-c", script)
    assert said_cpu(run) > 0.5
    # The group has the engine's own work before the program's; and both disagree by a tenth where
    # a virtual machine lacks CPU time.
    assert 0.9 * said_cpu(run) < cpu(usage(run)) < 1.25 * said_cpu(run) + 0.1


@pytest.mark.parametrize("place", ["x", "/dev/shm/x"])
def test_bytes_written(bench: ContainerBench, place: str) -> None:
    bench.configure(shm_size="200m")
    run = bench.run("sh", "-c", f"head -c 100000000 /dev/zero > {place}; sleep 1.5")
    assert usage(run).written == pytest.approx(100_000_000, rel=0.1)
    assert usage(run).read == pytest.approx(100_000_000, rel=0.1)


def test_a_grandchild_that_outlives_its_parent_counts(bench: ContainerBench) -> None:
    load = f"{HOLD.format(200)}; head -c 100000000 /dev/zero > x; sleep 1.5; echo > done"
    script = f"(setsid sh -c '{load}' &); while ! test -e done; do sleep 0.2; done"
    measured = usage(bench.run("sh", "-c", script))
    assert measured.memory == pytest.approx(200 * MB, rel=0.1)
    # `head` and `tail` write 200 MB each.
    assert measured.written == pytest.approx(400 * MB + 100_000_000, rel=0.1)


def test_a_network_that_is_not_used(bench: ContainerBench) -> None:
    bench.configure(network="none")
    measured = usage(bench.run("sleep", "0.5"))
    assert (measured.received, measured.sent) == (0, 0)


def test_the_network_of_the_machine_is_not_the_containers(bench: ContainerBench) -> None:
    bench.configure(network="host")
    measured = usage(bench.run("sleep", "0.5"))
    assert (measured.received, measured.sent) == (None, None)


def test_short_containers_are_measured_at_their_end(bench: ContainerBench) -> None:
    measured = of_a_short_run(bench, "sleep", "0.1")
    assert 0 < cpu(measured) < 0.5
    assert 0 < (measured.memory or 0) < 30 * MB


def test_failures_and_timeouts_have_a_usage(bench: ContainerBench) -> None:
    assert cpu(of_a_short_run(bench, "sh", "-c", "sleep 0.1; exit 3")) > 0
    late = bench.run("sh", "-c", "trap 'exit 1' TERM; while :; do :; done", timeout=1.0)
    assert cpu(usage(late)) > 0.1


def test_a_run_is_sampled_while_it_lives(bench: ContainerBench) -> None:
    heard: list[LiveUsage] = []
    run = bench.prepare("sh", "-c", HOLD.format(200))
    run.invocation = replace(run.invocation, sampled=heard.append)
    bench.start(run)
    assert len(heard) >= 2
    assert heard[-1]["memory"] == pytest.approx(200 * MB, rel=0.1)


def test_a_place_of_groups_that_is_not_known_is_learnt(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = bench.runtime._meters
    monkeypatch.setattr(meters._cgroups, "_layouts", [])
    monkeypatch.setattr(meters, "stats", forbidden)
    assert cpu(usage(bench.run("sleep", "0.5"))) > 0
    assert cpu(of_a_short_run(bench, "sleep", "0.1")) > 0


def forbidden(*args: Any) -> Any:
    raise AssertionError("the engine was asked")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the engine were on another machine."""
    monkeypatch.setattr(Cgroups, "find", lambda self, container: None)
    monkeypatch.setattr(Cgroups, "learn", lambda self, container, pid: False)


@pytest.mark.usefixtures("elsewhere")
def test_an_engine_elsewhere_is_asked(bench: ContainerBench) -> None:
    measured = usage(bench.run("sh", "-c", f"{HOLD.format(200)} & {BURN}; times; wait"))
    assert measured.memory == pytest.approx(200 * MB, rel=0.1)
    assert cpu(measured) > 0.3
    assert (measured.read, measured.written) == (None, None)
    assert measured.received is not None and measured.sent is not None


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"cpu_stats": None, "memory_stats": None, "networks": None},
        {"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}},
    ],
)
def test_what_the_engine_leaves_out_is_unknown(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    monkeypatch.setattr(bench.runtime._meters, "stats", lambda container: answer)
    run = bench.run("sleep", "0.5")
    assert run.exit is not None and run.exit.code == 0 and run.exit.usage is None


@pytest.mark.docker_only
def test_a_failure_for_want_of_memory_says_how_much_it_had_used(bench: ContainerBench) -> None:
    bench.configure(memory="64m")
    run = bench.run("sh", "-c", "(head -c 99m /dev/zero | tail > /dev/null) & wait; sleep 0.5")
    assert "; it had used 6" in run.message and run.message.endswith(" MB)")
