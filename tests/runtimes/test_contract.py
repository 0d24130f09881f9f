"""`Cancellation`: the first reason wins, a run is told once, and nothing is left ticking."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

import pytest

from gaia_local.executors.clock import Clock
from gaia_local.model.tasks import BY_REQUEST, BY_TIMEOUT
from gaia_local.runtimes.contract import Cancellation


class Orders:
    """A `call_later` whose time goes by when a test says so."""

    def __init__(self) -> None:
        self.left: dict[int, tuple[float, Callable[[], None]]] = {}
        self._count = 0

    def call_later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        self._count += 1
        number = self._count
        self.left[number] = (seconds, function)

        def take_back() -> None:
            self.left.pop(number, None)

        return take_back

    @property
    def times(self) -> list[float]:
        return sorted(seconds for seconds, _ in self.left.values())

    def ring(self, seconds: float) -> None:
        """Call the functions that were ordered for after `seconds`."""
        for number, (time, function) in list(self.left.items()):
            if time == seconds:
                del self.left[number]
                function()


class RunBench:
    """A run that can be cancelled, and the signals that it gets."""

    def __init__(self) -> None:
        self.orders = Orders()
        self.cancellation = Cancellation(self.orders.call_later, grace=2.0)
        self.calls: list[str] = []

    def terminate(self) -> None:
        self.calls.append("terminate")

    def kill(self) -> None:
        self.calls.append("kill")


@pytest.fixture
def bench() -> RunBench:
    return RunBench()


def has_not_ended() -> bool:
    """Of a run that goes on until it is stopped."""
    return False


def test_a_run_that_ends_by_itself_is_left_alone(bench: RunBench) -> None:
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended):
        assert bench.orders.times == [60]
    assert (bench.calls, bench.orders.left, bench.cancellation.reason) == ([], {}, None)


def test_cancelled_while_it_runs(bench: RunBench) -> None:
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended):
        bench.cancellation.cancel(BY_REQUEST)
        assert bench.calls == ["terminate"]
        assert bench.orders.times == [2, 60]
        bench.orders.ring(2)
        assert bench.calls == ["terminate", "kill"]
    assert (bench.orders.left, bench.cancellation.reason) == ({}, BY_REQUEST)


def test_ending_within_the_grace_is_not_killed(bench: RunBench) -> None:
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended):
        bench.cancellation.cancel(BY_REQUEST)
        kill = [function for seconds, function in bench.orders.left.values() if seconds == 2]
    assert bench.orders.left == {}
    kill[0]()  # a clock that was about to call it
    assert bench.calls == ["terminate"]


def test_cancelled_before_it_runs(bench: RunBench) -> None:
    bench.cancellation.cancel(BY_REQUEST)
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended):
        assert bench.calls == ["terminate"]
        assert bench.orders.times == [2, 60]
    assert bench.orders.left == {}


def test_cancelled_after_it_ran(bench: RunBench) -> None:
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended):
        pass
    bench.cancellation.cancel(BY_REQUEST)
    assert (bench.calls, bench.orders.left, bench.cancellation.reason) == ([], {}, BY_REQUEST)


def test_the_timeout(bench: RunBench) -> None:
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended):
        bench.orders.ring(60)
        assert (bench.calls, bench.cancellation.reason) == (["terminate"], BY_TIMEOUT)
        bench.orders.ring(2)
    assert (bench.calls, bench.orders.left) == (["terminate", "kill"], {})


def test_a_run_that_ended_before_the_timeout_was_noticed_did_not_exceed_it(
    bench: RunBench,
) -> None:
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, lambda: True):
        bench.orders.ring(60)
    assert (bench.calls, bench.cancellation.reason) == ([], None)


@pytest.mark.parametrize(
    ("first", "second"),
    [(BY_REQUEST, BY_TIMEOUT), (BY_TIMEOUT, BY_REQUEST), (BY_REQUEST, BY_REQUEST)],
)
def test_the_first_reason_wins(bench: RunBench, first: str, second: str) -> None:
    with bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended):
        bench.cancellation.cancel(first)
        bench.cancellation.cancel(second)
        assert bench.orders.times == [2, 60]
    assert (bench.calls, bench.cancellation.reason) == (["terminate"], first)


def test_an_error_of_the_run_comes_out_and_leaves_nothing_ticking(bench: RunBench) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        bench.cancellation.stopping(bench.terminate, bench.kill, 60, has_not_ended),
    ):
        bench.cancellation.cancel(BY_REQUEST)
        raise ZeroDivisionError
    assert bench.orders.left == {}


def test_a_run_that_cannot_be_stopped_does_not_stop_who_cancels(
    bench: RunBench, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        bench.calls.append("broken")
        raise ConnectionError("no engine")

    with (
        caplog.at_level(logging.ERROR, "gaia_local"),
        bench.cancellation.stopping(broken, broken, 60, has_not_ended),
    ):
        bench.cancellation.cancel(BY_REQUEST)
        bench.orders.ring(2)
    assert bench.calls == ["broken", "broken"]
    assert len(caplog.records) == 2


def test_from_many_threads_a_run_is_told_exactly_once() -> None:
    clock, chance = Clock(), random.Random(5)
    told = 0
    for _ in range(300):
        calls: list[str] = []
        cancellation = Cancellation(clock.call_later, grace=60)
        start = threading.Barrier(5)

        def cancel(
            reason: str, cancellation: Cancellation = cancellation, start: threading.Barrier = start
        ) -> None:
            start.wait()
            cancellation.cancel(reason)

        threads = [
            threading.Thread(target=cancel, args=(reason,))
            for reason in (BY_REQUEST, BY_TIMEOUT) * 2
        ]
        for thread in threads:
            thread.start()
        start.wait()
        with cancellation.stopping(
            lambda calls=calls: calls.append("terminate"),  # type: ignore[misc]
            lambda: None,
            60,
            has_not_ended,
        ):
            if chance.random() < 0.5:
                for thread in threads:
                    thread.join()
                assert calls == ["terminate"]
        for thread in threads:
            thread.join()
        assert len(calls) <= 1
        assert cancellation.reason in (BY_REQUEST, BY_TIMEOUT)
        told += len(calls)
    clock.close()
    assert told > 100
