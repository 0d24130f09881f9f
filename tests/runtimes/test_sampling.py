"""The thread that measures what runs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import pytest

from gaia_local.runtimes import sampling
from gaia_local.runtimes.sampling import Sampler
from support.waiting import wait_until


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    made = Sampler("test-sampler")
    yield made
    made.close()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "INTERVAL_SECONDS", 0.01)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "test-sampler" in thread.name]


@pytest.mark.usefixtures("fast")
def test_all_are_sampled_by_one_thread_until_they_leave(sampler: Sampler) -> None:
    threads: set[str] = set()
    counts = [0, 0]

    def sample(place: int) -> None:
        threads.add(threading.current_thread().name)
        counts[place] += 1

    with sampler.sampling(lambda: sample(0)):
        with sampler.sampling(lambda: sample(1)):
            wait_until(lambda: min(counts) >= 3)
        before = counts[1]
        seen = counts[0]
        wait_until(lambda: counts[0] >= seen + 5)
    assert counts[1] <= before + 1  # a call that had begun
    assert threads == {"gaia-local-test-sampler"}


def test_there_is_no_thread_before_the_first_use_nor_after_close(sampler: Sampler) -> None:
    assert alive() == []
    with sampler.sampling(lambda: None, 60.0):
        assert len(alive()) == 1
    sampler.close()
    assert alive() == []
    sampler.close()
    with sampler.sampling(lambda: None):
        assert alive() == []


def test_one_that_is_due_later_is_not_called_at_once(sampler: Sampler) -> None:
    called, waited = threading.Event(), threading.Event()
    with sampler.sampling(called.set, 60.0), sampler.sampling(waited.set, 0.05):
        assert waited.wait(10.0)
        assert not called.is_set()


def test_the_end_of_a_run_is_seen_at_once_and_once(sampler: Sampler, pipe: tuple[int, int]) -> None:
    calls: list[None] = []
    with sampler.sampling(lambda: calls.append(None), 60.0, [pipe[0]]):
        assert not calls
        os.write(pipe[1], b"x")
        wait_until(lambda: len(calls) == 1)
        other = threading.Event()
        with sampler.sampling(other.set, 0.05):  # it goes around once more
            assert other.wait(10.0)
        assert len(calls) == 1


def test_a_sample_may_watch_for_another_end(sampler: Sampler, pipe: tuple[int, int]) -> None:
    calls: list[None] = []
    with contextlib.ExitStack() as stack:

        def sample() -> None:
            if not calls:
                watch(pipe[0])
            calls.append(None)

        watch = stack.enter_context(sampler.sampling(sample, 0.05))
        wait_until(lambda: len(calls) == 1)
        os.write(pipe[1], b"x")
        wait_until(lambda: len(calls) == 2)


def test_the_number_of_a_closed_descriptor_may_be_anothers(sampler: Sampler) -> None:
    """A run's end must not be taken for that of the next one, which has its number."""
    for _ in range(200):
        calls: list[None] = []
        for _ in range(2):
            reads, writes = os.pipe()
            with sampler.sampling(lambda: calls.append(None), 60.0, [reads]):  # noqa: B023
                os.write(writes, b"x")
            os.close(reads)
            os.close(writes)
        calls.clear()
        reads, writes = os.pipe()
        with sampler.sampling(lambda: calls.append(None), 60.0, [reads]):  # noqa: B023
            os.write(writes, b"x")
            wait_until(lambda: bool(calls))  # noqa: B023
        os.close(reads)
        os.close(writes)


@pytest.mark.usefixtures("fast")
def test_a_defect_costs_no_other_run(sampler: Sampler, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("a defect")

    seen: list[None] = []
    with sampler.sampling(fail), sampler.sampling(lambda: seen.append(None)):
        wait_until(lambda: len(seen) >= 3)
    assert "a running Step could not be measured" in caplog.text


def test_where_no_thread_can_be_started_nothing_is_sampled(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with sampler.sampling(lambda: None):
        pass
    assert len(os.listdir("/proc/self/fd")) == before
