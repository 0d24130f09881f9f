"""What runs of known loads took, as the runtime `process` measures it."""

from __future__ import annotations

import os
import resource
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gaia_local.model.answer_types import LiveUsage
from gaia_local.model.usage import Usage
from gaia_local.runtimes import process_tree
from gaia_local.runtimes.contract import Exit
from gaia_local.runtimes.process import runtime as process_runtime
from support.processes import ProcessBench, bench, python
from support.waiting import wait_until

__all__ = ["bench"]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts are Linux's")

MB = 1 << 20
HOLD = "x = bytearray(200 << 20); x[::4096] = b'x' * len(x[::4096]); import time; time.sleep({})"
BURN = """
import time
end = 1.5
while time.process_time() < end: pass
"""
TWO_THREADS = """
import threading, time
def burn():
    while time.thread_time() < 0.75: sum(range(1000))
threads = [threading.Thread(target=burn) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
WRITE = "head -c 100000000 /dev/zero > {}"


@pytest.fixture(params=["supervisor", "alone"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "alone":
        monkeypatch.setattr(process_runtime, "available", lambda: False)
    return str(request.param)


def shell(program: str) -> str:
    """A Python program as a command of the shell."""
    return shlex.join(python(program))


def usage(bench: ProcessBench, *command: str) -> Usage:
    ended = bench.run(bench.invocation(*command))
    assert ended.code == 0 and ended.usage is not None
    return ended.usage


def cpu(measured: Usage) -> float:
    assert measured.cpu_user is not None and measured.cpu_system is not None
    return measured.cpu_user + measured.cpu_system


def test_memory_that_is_held(bench: ProcessBench, system: str) -> None:
    measured = usage(bench, *python(HOLD.format(2)))
    assert measured.memory == pytest.approx(200 * MB, rel=0.1)


def test_the_memory_of_several_processes_is_that_of_all(bench: ProcessBench, system: str) -> None:
    half = shell(HOLD.format(1.5).replace("200", "100"))
    measured = usage(bench, "sh", "-c", f"{half} & {half}; wait")
    assert measured.memory == pytest.approx(200 * MB, rel=0.15)  # two interpreters


def test_a_short_peak_of_memory_is_known(bench: ProcessBench, system: str) -> None:
    size = 200 * MB
    if system == "alone":  # the kernel counts at least what this process had at most
        size += resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    measured = usage(bench, *python(HOLD.format(0).replace("200 << 20", str(size))))
    assert measured.memory == pytest.approx(size, rel=0.1)


@pytest.mark.parametrize("program", [BURN, TWO_THREADS])
def test_cpu_time(bench: ProcessBench, system: str, program: str) -> None:
    assert cpu(usage(bench, *python(program))) == pytest.approx(1.5, rel=0.1)


def test_the_cpu_time_of_two_processes(bench: ProcessBench, system: str) -> None:
    half = shell(BURN.replace("1.5", "0.75"))
    assert cpu(usage(bench, "sh", "-c", f"{half} & {half}; wait")) == pytest.approx(1.5, rel=0.1)


@pytest.mark.parametrize("place", ["out", "/dev/shm/gaia-local-written"])
def test_bytes_written(bench: ProcessBench, system: str, place: str) -> None:
    try:
        measured = usage(bench, "sh", "-c", WRITE.format(place))
    finally:
        Path(place).unlink(missing_ok=True)
    assert measured.written == pytest.approx(100_000_000, rel=0.1)
    assert measured.read == pytest.approx(100_000_000, rel=0.1)


def test_grandchildren_that_outlive_their_parents_count(bench: ProcessBench) -> None:
    loads = f"{WRITE.format('x')}; {shell(HOLD.format(2))}; echo > done"
    measured = usage(bench, "sh", "-c", orphaned(loads))
    assert measured.written == pytest.approx(100_000_000, rel=0.1)
    assert measured.memory == pytest.approx(200 * MB, rel=0.15)


def test_their_cpu_time_counts(bench: ProcessBench) -> None:
    measured = usage(bench, "sh", "-c", orphaned(f"{shell(BURN)}; echo > done"))
    assert cpu(measured) == pytest.approx(1.5, rel=0.1)


def orphaned(script: str) -> str:
    """A script that runs this in a session of its own, without a parent, and waits for it."""
    return f"(setsid sh -c {shlex.quote(script)} & ); while ! test -e done; do sleep 0.5; done"


def test_what_the_end_kills_counts(bench: ProcessBench) -> None:
    load = shell("x = bytearray(200 << 20); print(1, file=open('made', 'w'))\n" + BURN)
    load += f" && {shell('while True: pass')}"
    script = f"({load}) & while ! test -e made; do sleep 0.05; done; sleep 1"
    measured = usage(bench, "sh", "-c", script)
    assert measured.memory == pytest.approx(200 * MB, rel=0.1)
    assert cpu(measured) > 0.8


def test_a_tiny_program_has_not_the_memory_of_this_process(
    bench: ProcessBench, system: str
) -> None:
    held = bytearray(300 * MB)
    held[::4096] = b"x" * len(held[::4096])
    measured = usage(bench, "true")
    assert (measured.memory or 0) < 20 * MB
    assert (measured.memory is None) == (system == "alone")


def test_one_run_after_the_other_begins_anew(bench: ProcessBench, system: str) -> None:
    usage(bench, "sh", "-c", f"{shell(HOLD.format(0))}; {WRITE.format('x')}; {shell(BURN)}")
    measured = usage(bench, "true")
    assert (measured.memory or 0) < 20 * MB and cpu(measured) < 0.1
    assert measured.written == 0 and measured.read is not None and measured.read < 100_000


def test_failures_and_timeouts_have_a_usage(bench: ProcessBench, system: str) -> None:
    failed = bench.run(bench.invocation("sh", "-c", "exit 3"))
    assert failed.code == 3 and failed.usage is not None and failed.usage.cpu_user is not None
    late = bench.run(bench.invocation(*python("while True: pass"), timeout=1.0))
    assert late.usage is not None and 0.1 < cpu(late.usage) < 1.5


def test_a_missing_program_took_nothing(bench: ProcessBench, system: str) -> None:
    assert bench.run(bench.invocation("no-such-program")).usage is None


def test_kernels_without_counts(bench: ProcessBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_runtime, "available", lambda: False)
    monkeypatch.setattr(process_tree, "io_of", lambda pid: None)
    monkeypatch.setattr(process_tree, "measurable", lambda: False)
    ended = bench.run(bench.invocation("sleep", "0.5"))
    assert ended.usage is not None and ended.usage.cpu_user is not None
    assert (ended.usage.read, ended.usage.written, ended.usage.received) == (None, None, None)


def test_a_run_out_of_memory_says_how_much_it_had_used(bench: ProcessBench) -> None:
    ended = bench.run(bench.invocation("sh", "-c", f"{shell(HOLD.format(0))}; kill -9 $$"))
    assert isinstance(ended, Exit) and ended.message is not None
    assert ended.message.startswith("killed by SIGKILL (perhaps out of memory; it had used 20")


def test_a_run_is_sampled_while_it_lives(bench: ProcessBench, system: str) -> None:
    heard: list[LiveUsage] = []
    program = f"{shell(HOLD.format(60))} & {shell(BURN)}; sleep 1.2"
    invocation = replace(bench.invocation("sh", "-c", program), sampled=heard.append)
    bench.run(invocation)
    count = len(heard)
    assert 2 <= count <= 12
    assert heard[-1]["memory"] == pytest.approx(210 * MB, rel=0.1)
    assert heard[-1]["cpu"] == pytest.approx(1.5, rel=0.2)
    assert heard == sorted(heard, key=lambda usage: usage["cpu"] or 0)


def test_short_runs_are_not_sampled(bench: ProcessBench, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr(process_tree, "measured", looked.append)
    for _ in range(5):
        usage(bench, "true")
    assert looked == [] and "process-sampler" not in str(os.listdir("/proc/self/task"))


def test_after_its_end_no_run_is_looked_at(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    measured = process_tree.measured

    def look(tops: list[int]) -> tuple[int, float]:
        looked.extend(tops)
        return measured(tops)

    monkeypatch.setattr(process_tree, "measured", look)
    usage(bench, "sleep", "0.4")
    assert wait_until(lambda: bool(looked))
    before = len(looked)
    usage(bench, "sleep", "0.15")
    usage(bench, "sleep", "0.15")
    assert len(looked) == before
