"""Executors: the contract that all of them keep, then the thread pool's own ways and its clock."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.executors import clock as clock_module
from gaia_local.executors.clock import Clock
from gaia_local.executors.contract import Observer
from gaia_local.executors.threads import Perform, ThreadExecutor
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import EventKind
from gaia_local.model.resources import Capacity, Resources
from gaia_local.model.tasks import TaskState
from gaia_local.runtimes.contract import Cancellation
from support.executors import (
    PATIENCE,
    REPEAT,
    ExecutorBench,
    ExecutorContract,
    HeldAct,
    event,
    quickly,
)


class TestThreadExecutor(ExecutorContract):
    """The contract, and the thread pool's own behaviour."""

    def make(self, workers: int, perform: Perform) -> ThreadExecutor:
        return ThreadExecutor(workers, perform, grace=1.0)

    def test_threads_are_born_when_there_is_work_and_stay(self) -> None:
        bench = ExecutorBench(self.make, 3)
        assert ours() == []
        for number in range(5):
            bench.submit(str(number))
            bench.ended(str(number))
        # One may still be on its way back.
        assert len([name for name in ours() if "worker" in name]) <= 2
        gate = HeldAct()
        for name in "abcdef":
            bench.submit(name, gate)
        bench.until(lambda: len(bench.performed) == 8)
        assert len([name for name in ours() if "worker" in name]) == 3
        gate.open.set()
        bench.executor.close()
        assert ours() == []

    def test_queued_tasks_do_not_start_during_close(self, single: ExecutorBench) -> None:
        """The thread freed by the first stopped Task takes up the next before `close` is there."""
        told = threading.Event()

        def stop() -> None:
            told.set()
            single.until(lambda: single.outcomes("next"))

        def run(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            with cancellation.stopping(stop, told.set, 60, lambda: False):
                observer.happened(of.task, event(of.task, EventKind.EXECUTION_START))
                assert told.wait(PATIENCE)
            observer.ended(of.task, Outcome(TaskState.CANCELLED, message=cancellation.reason))

        single.submit("first", run)
        single.until(lambda: single.heard["first"])
        single.submit("next")
        single.executor.close()
        assert single.ended("next") == [TaskState.CANCELLED]
        assert single.performed == ["first"]

    def test_finished_tasks_are_forgotten(self) -> None:
        executor = self.make(2, quickly)
        bench = ExecutorBench(lambda workers, perform: executor)
        for number in range(100):
            bench.submit(str(number))
        bench.ended(*map(str, range(100)))
        executor.close()
        assert vars(executor)["_tasks"] == {}
        assert not vars(executor)["_queue"]
        assert vars(vars(executor)["_queue"])["_shares"] == {}

    def test_no_more_runs_than_there_are_resources_for(self) -> None:
        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(4, 100, 0))
            ),
            4,
        )
        gates = {name: HeldAct() for name in "abc"}
        for name, resources in (
            ("a", Resources(2)),
            ("b", Resources(1, 80)),
            ("c", Resources(memory=50)),
            ("d", Resources()),
        ):
            bench.submit(name, gates.get(name), resources)
        assert bench.ended("d") == [TaskState.COMPLETE]  # it asks for nothing
        assert bench.performed == ["a", "b", "d"]  # c waits for memory
        gates["a"].open.set()
        bench.ended("a")
        assert bench.performed == ["a", "b", "d"]
        gates["b"].open.set()
        gates["c"].open.set()
        assert bench.ended("b", "c") == [TaskState.COMPLETE] * 2
        bench.executor.close()

    def test_a_request_that_waits_is_not_overtaken_by_others_and_holds_up_no_more(self) -> None:
        """Whichever workflow they are of: a stream of small requests would starve a large one."""
        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(4, 100, 0))
            ),
            3,
        )
        first, gate = HeldAct(), HeldAct()
        bench.submit("first", first, Resources(1))
        bench.until(lambda: bench.performed)
        bench.submit("large", gate, Resources(4), workflow="l")
        for number in range(20):
            bench.submit(f"small{number}", None, Resources(1), workflow=f"v{number}")
        plain = [f"plain{number}" for number in range(20)]
        for number, name in enumerate(plain):
            bench.submit(name, workflow=("w", "v0", "v1")[number % 3])
        bench.ended(*plain)
        assert set(bench.performed) == {"first", *plain}
        first.open.set()
        bench.until(lambda: "large" in bench.performed)
        assert set(bench.performed) == {"first", "large", *plain}
        bench.submit("more")
        assert bench.ended("more") == [TaskState.COMPLETE]
        gate.open.set()
        bench.ended(*(f"small{number}" for number in range(20)))
        bench.executor.close()

    def test_those_behind_a_cancelled_request_have_their_turn(self) -> None:
        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(4, 100, 0))
            ),
            4,
        )
        gate, both = HeldAct(), threading.Barrier(2)

        def together(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            both.wait(PATIENCE)
            quickly(of, cancellation, observer)

        bench.submit("first", gate, Resources(1))
        bench.until(lambda: bench.performed)
        bench.submit("large", None, Resources(4))
        bench.submit("b", together, Resources(1))
        bench.submit("c", together, Resources(1), workflow="v")
        bench.executor.cancel("id-large")
        assert bench.ended("large") == [TaskState.CANCELLED]
        assert bench.ended("b", "c") == [TaskState.COMPLETE] * 2
        gate.open.set()
        bench.ended("first")
        bench.executor.close()

    def test_each_has_gpus_of_its_own(self) -> None:
        lock, at_once, seen = threading.Lock(), set[str](), list[tuple[str, ...]]()

        def act(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            with lock:
                assert at_once.isdisjoint(of.gpus)
                at_once.update(of.gpus)
                seen.append(of.gpus)
            time.sleep(0.001)
            with lock:
                at_once.difference_update(of.gpus)
            quickly(of, cancellation, observer)

        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(8, 100, 3))
            ),
            8,
        )
        names = [str(number) for number in range(60)]
        for number, name in enumerate(names):
            bench.submit(name, act, Resources(gpus=number % 3 or None))
        assert bench.ended(*names) == [TaskState.COMPLETE] * 60
        assert sorted(map(len, seen)) == [0] * 20 + [1] * 20 + [2] * 20
        assert set().union(*seen) == {"0", "1", "2"}
        bench.executor.close()

    def test_what_a_resumed_task_has_is_given_to_nobody_else(self) -> None:
        gate, seen = HeldAct(), dict[str, tuple[str, ...]]()

        def act(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            seen[of.task.name] = of.gpus
            gate(of, cancellation, observer)

        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(8, 100, 2)), lambda task_id: ["0"]
            ),
            3,
        )
        bench.submit("resumed", act, Resources(gpus=1), adopted=True)
        bench.submit("new", act, Resources(gpus=1))
        bench.submit("waiting", act, Resources(gpus=1))
        bench.until(lambda: len(seen) == 2)
        assert seen == {"resumed": ("0",), "new": ("1",)}
        gate.open.set()
        assert bench.ended("resumed", "new", "waiting") == [TaskState.COMPLETE] * 3
        bench.executor.close()

    def test_a_resumed_task_whose_gpus_nobody_knows(self, caplog: pytest.LogCaptureFixture) -> None:
        def unknown(task_id: str) -> list[str]:
            raise RuntimeFailure("its GPUs are unknown")

        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(8, 100, 1)), unknown
            ),
            1,
        )
        bench.submit("resumed", None, Resources(gpus=1), adopted=True)
        assert bench.ended("resumed") == [TaskState.COMPLETE]
        assert "its GPUs are unknown" in caplog.text
        bench.executor.close()

    def test_more_than_the_machine_has_is_an_error_at_once(self) -> None:
        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(4, 100, 0))
            ),
            2,
        )
        bench.submit("a", None, Resources(5))
        assert bench.ended("a") == [TaskState.EXCEPTION]
        assert bench.outcomes("a")[0].message == "its Command needs cpus: 5; here it may use 4"
        bench.submit("b", None, Resources(4))
        assert bench.ended("b") == [TaskState.COMPLETE]
        assert bench.performed == ["b"]
        bench.executor.close()

    def test_tasks_waiting_for_resources_can_be_cancelled(self) -> None:
        bench = ExecutorBench(
            lambda workers, perform: ThreadExecutor(
                workers, perform, 1.0, Capacity(Resources(1, 100, 0))
            ),
            3,
        )
        gate = HeldAct()
        for name in "abc":
            bench.submit(name, gate, Resources(1))
        bench.until(lambda: bench.performed)
        bench.executor.cancel("id-c")  # behind b, which waits, too
        assert bench.ended("c") == [TaskState.CANCELLED]
        bench.executor.cancel("id-b")
        assert bench.ended("b") == [TaskState.CANCELLED]
        gate.open.set()
        assert bench.ended("a") == [TaskState.COMPLETE]
        assert bench.performed == ["a"]
        bench.executor.close()


def ours() -> list[str]:
    return sorted(
        thread.name for thread in threading.enumerate() if thread.name.startswith("gaia-local")
    )


# -------------------------------------------------------------------------------------------- clock


class Bell:
    """Records each ring with its source."""

    def __init__(self) -> None:
        self.rung: list[Any] = []
        self.changed = threading.Condition()

    def ring(self, what: object) -> Callable[[], None]:
        def note() -> None:
            with self.changed:
                self.rung.append(what)
                self.changed.notify_all()

        return note

    def until(self, count: int) -> list[Any]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.rung) >= count, PATIENCE)
            return self.rung

    def until_by(self, all_of: set[Any]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: all_of <= set(self.rung), PATIENCE), all_of - set(
                self.rung
            )


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.close()


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """Inside, no time goes by, however slow this machine is."""
    now = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock_module, "monotonic", lambda: now)
        yield


def test_orders_come_in_the_order_of_their_times(clock: Clock) -> None:
    bell = Bell()
    began = time.monotonic()
    with frozen():
        for seconds in (0.06, 60, 0.02, 0.04, 0, -1):
            clock.call_later(seconds, bell.ring(seconds))
    assert bell.until(5)[-3:] == [0.02, 0.04, 0.06]
    assert sorted(bell.rung[:2]) == [-1, 0]
    assert time.monotonic() - began >= 0.06


def test_orders_for_one_moment_come_in_the_order_they_were_given(clock: Clock) -> None:
    bell = Bell()
    with frozen():
        for number in range(100):
            clock.call_later(0.02, bell.ring(number))
    assert bell.until(100) == list(range(100))


def test_cancelled_timers_never_fire(clock: Clock) -> None:
    bell = Bell()
    with frozen():
        take_back = [clock.call_later(0.02, bell.ring(number)) for number in range(5)]
        for number in (0, 2, 2, 4):
            take_back[number]()
        clock.call_later(0.04, bell.ring("end"))
    assert bell.until(3) == [1, 3, "end"]
    take_back[1]()


def test_an_earlier_order_is_not_kept_waiting_by_a_later_one(clock: Clock) -> None:
    bell = Bell()
    clock.call_later(3600, bell.ring("late"))
    clock.call_later(0.01, bell.ring("soon"))
    assert bell.until(1) == ["soon"]


def test_times_without_end_are_fine(clock: Clock) -> None:
    bell = Bell()
    clock.call_later(1e18, bell.ring("never"))
    clock.call_later(0, bell.ring("now"))
    assert bell.until(1) == ["now"]


def test_an_order_that_fails_does_not_stop_the_clock(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    bell = Bell()
    clock.call_later(0, iter(()).__next__)
    clock.call_later(0.01, bell.ring("next"))
    assert bell.until(1) == ["next"]
    assert "a call at a set time failed" in caplog.text


def test_orders_may_give_orders_and_close(clock: Clock) -> None:
    bell = Bell()

    def order() -> None:
        clock.call_later(0, bell.ring("inner"))

    def close() -> None:
        clock.close()
        bell.ring("closed")()

    clock.call_later(0, order)
    assert bell.until(1) == ["inner"]
    clock.call_later(0, close)
    assert bell.until(2) == ["inner", "closed"]


def test_many_orders_do_not_leak(clock: Clock) -> None:
    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1

        def __del__(self) -> None:
            Held.alive -= 1

        def ring(self) -> None:
            raise AssertionError("it was taken back")

    kept = [clock.call_later(3600, Held().ring) for _ in range(10)]
    for _ in range(20_000):
        clock.call_later(3600, Held().ring)()
    assert Held.alive == 10
    assert len(vars(clock)["_calls"]) < 200
    for take_back in kept:
        take_back()
    assert Held.alive == 0


def test_closing_forgets_and_ends() -> None:
    clock, bell = Clock(), Bell()
    clock.call_later(0.01, bell.ring("never"))
    take_back = clock.call_later(60, bell.ring("never"))
    clock.close()
    clock.close()
    assert ours() == []
    take_back()
    clock.call_later(0, bell.ring("never"))
    assert ours() == []
    assert bell.rung in ([], ["never"])  # close may have come too late for the first
    Clock().close()


@pytest.mark.parametrize("seed", range(REPEAT))
def test_orders_from_many_threads_come_once_or_not_at_all(clock: Clock, seed: int) -> None:
    chance, bell = random.Random(seed), Bell()
    plans = [
        [(chance.random() * 0.02, chance.random() < 0.5) for _ in range(200)] for _ in range(4)
    ]

    def order(number: int) -> None:
        for place, (seconds, back) in enumerate(plans[number]):
            take_back = clock.call_later(seconds, bell.ring((number, place)))
            if back:
                take_back()

    threads = [threading.Thread(target=order, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {
        (number, place)
        for number, plan in enumerate(plans)
        for place, (_, back) in enumerate(plan)
        if not back
    }
    clock.call_later(0.05, bell.ring("end"))
    # And perhaps others, whose time had come before they were taken back.
    bell.until_by({*kept, "end"})
    assert len(bell.rung) == len(set(bell.rung))
