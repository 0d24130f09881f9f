"""Executors: the contract that each of them keeps, then the thread pool's own ways, and its clock."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gaia_local.assignment import Assignment, Outcome
from gaia_local.errors import Closed
from gaia_local.executor import Clock, Executor, Perform, ThreadExecutor
from gaia_local.model import Event, EventKind, Task, TaskState
from gaia_local.resources import NONE, Capacity, Resources
from gaia_local.runtime import BY_REQUEST, BY_TIMEOUT, Cancellation
from gaia_local.worker import Observer

REPEAT = int(os.environ.get("GAIA_LOCAL_TEST_REPEAT", "10"))
"""How often the tests with many threads run, each time with other chances."""
DONE = Outcome(TaskState.COMPLETE)
PATIENCE = 20.0


def task(name: str) -> Task:
    return Task(f"id-{name}", name, "w", "image", ("true",), (), (), None, 60)


def event(of: Task, kind: EventKind, **facts: object) -> Event:
    return Event(kind, of.workflow, time.time(), {"id": of.id, "task": of.name, **facts})


class Told:
    """An observer that has one function for all that it is told."""

    def __init__(self, tell: Callable[[Task, Event | Outcome], None]) -> None:
        self._tell = tell

    def started(self, of: Task, event: Event) -> None:
        assert event.event.begins
        self._tell(of, event)

    def happened(self, of: Task, event: Event) -> None:
        assert not event.event.begins
        self._tell(of, event)

    def ended(self, of: Task, outcome: Outcome) -> None:
        self._tell(of, outcome)


class Bench:
    """An executor whose Tasks do what the test says, and all that it reported."""

    def __init__(self, make: Callable[[int, Perform], Executor], workers: int = 2) -> None:
        self.acts: dict[str, Perform] = {}
        self.heard: dict[str, list[Event | Outcome]] = collections.defaultdict(list)
        self.performed: list[str] = []
        self.threads: set[str] = set()
        self.changed = threading.Condition()
        self.executor = make(workers, self.perform)

    def perform(self, of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
        with self.changed:
            self.performed.append(of.task.name)
            self.changed.notify_all()
        self.acts.get(of.task.name, quickly)(of, cancellation, observer)

    def report(self, of: Task, what: Event | Outcome) -> None:
        with self.changed:
            self.heard[of.name].append(what)
            self.threads.add(threading.current_thread().name)
            self.changed.notify_all()

    def submit(self, name: str, act: Perform | None = None, resources: Resources = NONE) -> Task:
        if act is not None:
            self.acts[name] = act
        made = dataclasses.replace(task(name), resources=resources)
        self.executor.submit(Assignment(made), Told(self.report))
        return made

    def until(self, true: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(true, PATIENCE), "it never came true"

    def outcomes(self, name: str) -> list[Outcome]:
        return [what for what in self.heard[name] if isinstance(what, Outcome)]

    def ended(self, *names: str) -> list[TaskState]:
        """Wait for the outcomes of these Tasks, and answer their states."""
        self.until(lambda: all(self.outcomes(name) for name in names))
        return [self.outcomes(name)[0].state for name in names]


def quickly(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
    observer.started(of.task, event(of.task, EventKind.STEP_START))
    observer.ended(of.task, DONE)


def until_cancelled(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
    """Run until told to stop, as a program would that obeys SIGTERM."""
    told = threading.Event()
    with cancellation.stopping(told.set, told.set, 60):
        observer.happened(of.task, event(of.task, EventKind.EXECUTION_START))
        assert told.wait(PATIENCE)
    observer.ended(of.task, Outcome(TaskState.CANCELLED, message=cancellation.reason))


class Gate:
    """An act that goes on when the test opens it, whatever happens."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
        assert self.open.wait(PATIENCE)
        quickly(of, cancellation, observer)


class ExecutorContract:
    """The promises of `gaia_local.executor`. A subclass for each executor says how one is made."""

    repeat = REPEAT
    many = 1000
    """How many Tasks are cancelled at random."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "seed" in metafunc.fixturenames:
            metafunc.parametrize("seed", range(self.repeat))

    def make(self, workers: int, perform: Perform) -> Executor:
        raise NotImplementedError

    @pytest.fixture
    def bench(self) -> Iterator[Bench]:
        bench = Bench(self.make)
        yield bench
        bench.executor.close()

    @pytest.fixture
    def single(self) -> Iterator[Bench]:
        """A bench with one worker."""
        bench = Bench(self.make, 1)
        yield bench
        bench.executor.close()

    def test_each_submit_leads_to_its_events_in_order_and_one_outcome(self, bench: Bench) -> None:
        def speak(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            for number in range(20):
                observer.happened(of.task, event(of.task, EventKind.EXECUTION_START, number=number))
            observer.ended(of.task, DONE)

        names = [f"s{number}" for number in range(10)]
        for name in names:
            bench.submit(name, speak)
        bench.ended(*names)
        bench.executor.close()
        for name in names:
            said = [what.facts["number"] if isinstance(what, Event) else what for what in bench.heard[name]]
            assert said == [*range(20), DONE]
        assert threading.current_thread().name not in bench.threads

    def test_tasks_start_in_the_order_of_their_submission(self, single: Bench) -> None:
        names = [f"s{number}" for number in range(50)]
        gate = Gate()
        single.submit("first", gate)
        for name in names:
            single.submit(name)
        gate.open.set()
        single.ended(*names)
        assert single.performed == ["first", *names]

    def test_all_workers_work_and_no_more(self) -> None:
        bench = Bench(self.make, 3)
        together, gate = threading.Barrier(4), Gate()

        def act(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            together.wait(PATIENCE)
            gate(of, cancellation, observer)

        for name in "abc":
            bench.submit(name, act)
        bench.submit("d")
        together.wait(PATIENCE)  # three of them run at the same time
        assert len(bench.performed) == 3
        gate.open.set()
        assert bench.ended("a", "b", "c", "d") == [TaskState.COMPLETE] * 4
        bench.executor.close()

    def test_cancelled_before_it_is_submitted(self, bench: Bench) -> None:
        bench.executor.cancel("id-a")
        bench.submit("a")
        assert bench.ended("a") == [TaskState.CANCELLED]
        bench.submit("b")
        assert bench.ended("b") == [TaskState.COMPLETE]
        assert bench.performed == ["b"]

    def test_cancelled_while_it_waits(self, single: Bench) -> None:
        gate = Gate()
        single.submit("first", gate)
        for name in "abc":
            single.submit(name)
        single.executor.cancel("id-b")
        gate.open.set()
        states = [TaskState.COMPLETE, TaskState.COMPLETE, TaskState.CANCELLED, TaskState.COMPLETE]
        assert single.ended("first", "a", "b", "c") == states
        assert single.performed == ["first", "a", "c"]

    def test_cancelled_while_it_runs(self, bench: Bench) -> None:
        bench.submit("a", until_cancelled)
        bench.until(lambda: bench.heard["a"])
        bench.executor.cancel("id-a")
        bench.executor.cancel("id-a")
        assert bench.ended("a") == [TaskState.CANCELLED]
        assert bench.outcomes("a")[0].message == BY_REQUEST

    def test_cancelled_when_it_is_over(self, bench: Bench) -> None:
        bench.submit("a")
        assert bench.ended("a") == [TaskState.COMPLETE]
        bench.executor.cancel("id-a")
        bench.submit("b")
        assert bench.ended("b") == [TaskState.COMPLETE]
        bench.executor.close()
        assert len(bench.outcomes("a")) == 1

    def test_cancelling_does_not_wait_for_the_task(self, single: Bench) -> None:
        gate = Gate()
        single.submit("a", gate)
        single.until(lambda: single.performed)
        single.executor.cancel("id-a")  # it doesn't listen
        assert not single.outcomes("a")
        gate.open.set()
        single.ended("a")

    def test_what_starts_names_its_worker(self, bench: Bench) -> None:
        both = threading.Barrier(2)

        def together(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            both.wait(PATIENCE)
            quickly(of, cancellation, observer)

        bench.submit("a", together)
        bench.submit("b", together)
        bench.ended("a", "b")
        workers = [what.facts["worker"] for name in "ab" for what in bench.heard[name] if isinstance(what, Event)]
        assert sorted(workers) == [1, 2]

    def test_what_is_adopted_names_its_worker_and_other_events_do_not(self, single: Bench) -> None:
        def adopt(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            observer.started(of.task, event(of.task, EventKind.STEP_ADOPTED, reason="new"))
            observer.happened(of.task, event(of.task, EventKind.EXECUTION_COMPLETE))
            observer.ended(of.task, DONE)

        single.submit("a", adopt)
        single.ended("a")
        adopted, complete = (what for what in single.heard["a"] if isinstance(what, Event))
        assert (adopted.event, adopted.facts["worker"], adopted.facts["reason"]) == ("step-adopted", 1, "new")
        assert (complete.event, dict(complete.facts)) == ("execution-complete", {"id": "id-a", "task": "a"})

    def test_the_smallest_rank_goes_first(self, single: Bench) -> None:
        gate = Gate()
        single.submit("first", gate)
        single.until(lambda: single.performed)
        for name, rank in (("a", (1, 0)), ("b", (0, 2)), ("c", (0, 1)), ("d", (0, 2))):
            single.executor.submit(Assignment(task(name), rank), Told(single.report))
        gate.open.set()
        single.ended(*"abcd")
        assert single.performed == ["first", "c", "b", "d", "a"]

    def test_the_timeout_is_kept_by_the_executor(self, bench: Bench) -> None:
        def act(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            told = threading.Event()
            with cancellation.stopping(told.set, told.set, 0.01):
                assert told.wait(PATIENCE)
            observer.ended(of.task, Outcome(TaskState.ERROR, reason=cancellation.reason))

        bench.submit("a", act)
        assert bench.ended("a") == [TaskState.ERROR]
        assert bench.outcomes("a")[0].reason == BY_TIMEOUT

    def test_a_defect_of_ours_is_an_exception_and_the_worker_goes_on(
        self, single: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            observer.started(of.task, event(of.task, EventKind.STEP_START))
            raise ZeroDivisionError("by \udcff")

        single.submit("a", broken)
        single.submit("b")
        with caplog.at_level(logging.CRITICAL, "gaia_local"):
            assert single.ended("a", "b") == [TaskState.EXCEPTION, TaskState.COMPLETE]
        (outcome,) = single.outcomes("a")
        assert outcome.exception == "ZeroDivisionError"
        assert outcome.message == "the engine failed: by \\udcff"

    def test_what_comes_after_the_outcome_is_not_reported(self, single: Bench) -> None:
        def talkative(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            quickly(of, cancellation, observer)
            observer.ended(of.task, Outcome(TaskState.ERROR))
            observer.started(of.task, event(of.task, EventKind.STEP_START))
            observer.happened(of.task, event(of.task, EventKind.EXECUTION_COMPLETE))
            raise ZeroDivisionError

        single.submit("a", talkative)
        single.submit("b")
        single.ended("b")
        assert [type(what) for what in single.heard["a"]] == [Event, Outcome]
        assert single.outcomes("a") == [DONE]

    def test_ending_without_an_outcome_is_one_nevertheless(self, single: Bench) -> None:
        single.submit("a", lambda of, cancellation, observer: None)
        assert single.ended("a") == [TaskState.CANCELLED]

    @pytest.mark.parametrize("cancelled", [True, False])
    def test_a_receiver_that_fails_costs_no_worker(self, single: Bench, cancelled: bool) -> None:
        def fail(of: Task, what: Event | Outcome) -> None:
            single.report(of, what)
            raise ZeroDivisionError

        for name in "abc":
            if cancelled:
                single.executor.cancel(f"id-{name}")
            single.executor.submit(Assignment(task(name)), Told(fail))
        single.submit("d")
        assert single.ended("d") == [TaskState.COMPLETE]
        assert all(len(single.outcomes(name)) == 1 for name in "abc")

    def test_a_receiver_may_submit_and_cancel(self, bench: Bench) -> None:
        def and_on(of: Task, what: Event | Outcome) -> None:
            number = int(of.name)
            if isinstance(what, Outcome) and number < 200:
                bench.executor.cancel(f"id-{number + 2}" if number % 3 == 0 else of.id)
                bench.executor.submit(Assignment(task(str(number + 1))), Told(and_on))
            bench.report(of, what)

        bench.executor.submit(Assignment(task("0")), Told(and_on))
        assert set(bench.ended(*map(str, range(201)))) == {TaskState.COMPLETE, TaskState.CANCELLED}

    def test_closing_cancels_what_is_left_and_waits_for_it(self, bench: Bench) -> None:
        for name in "ab":
            bench.submit(name, until_cancelled)
        bench.until(lambda: bench.heard["a"] and bench.heard["b"])
        for name in "cde":
            bench.submit(name)
        bench.executor.close()
        assert [len(bench.outcomes(name)) for name in "abcde"] == [1] * 5
        assert {bench.outcomes(name)[0].state for name in "abcde"} == {TaskState.CANCELLED}
        assert sorted(bench.performed) == ["a", "b"]

    def test_closing_twice_and_from_two_threads(self, bench: Bench) -> None:
        bench.submit("a", until_cancelled)
        bench.until(lambda: bench.heard["a"])
        closers = [threading.Thread(target=bench.executor.close) for _ in range(3)]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(PATIENCE)
            assert not closer.is_alive()
        assert bench.ended("a") == [TaskState.CANCELLED]
        bench.executor.close()

    def test_closing_one_that_never_ran_anything(self) -> None:
        executor = self.make(2, quickly)
        executor.cancel("nothing")
        executor.close()
        executor.close()
        with pytest.raises(Closed):
            executor.submit(Assignment(task("a")), Told(lambda of, what: None))

    def test_closing_from_a_receiver(self, bench: Bench) -> None:
        def close(of: Task, what: Event | Outcome) -> None:
            bench.report(of, what)
            if isinstance(what, Outcome):
                bench.executor.close()
                bench.report(task("closed"), DONE)

        bench.executor.submit(Assignment(task("a")), Told(close))
        bench.ended("a", "closed")
        with pytest.raises(Closed):
            bench.submit("b")

    def test_many_tasks_cancelled_at_random(self, seed: int) -> None:
        chance = random.Random(seed)
        bench = Bench(self.make, 4)
        names = [str(number) for number in range(self.many)]
        stubborn = set(chance.sample(names, self.many // 50))
        for name in names:
            if name in stubborn:
                bench.acts[name] = until_cancelled
        victims = [f"id-{name}" for name in chance.sample(names, self.many * 3 // 10)]
        doomed = stubborn | {victim.removeprefix("id-") for victim in victims}

        def cancel(mine: list[str]) -> None:
            for victim in mine:
                bench.executor.cancel(victim)

        threads = [threading.Thread(target=cancel, args=(victims[number::3],)) for number in range(3)]
        for thread in threads:
            thread.start()
        for name in names:
            bench.submit(name)
        for thread in threads:
            thread.join()
        for name in stubborn:
            bench.executor.cancel(f"id-{name}")
        bench.ended(*names)
        bench.executor.close()
        for name in names:
            (outcome,) = bench.outcomes(name)
            assert bench.heard[name][-1] is outcome
            assert outcome.state is TaskState.COMPLETE or name in doomed
        assert all(bench.outcomes(name)[0].state is TaskState.CANCELLED for name in stubborn)
        assert len(bench.performed) == len(set(bench.performed))

    def test_closed_while_others_submit_and_cancel(self, seed: int) -> None:
        chance = random.Random(seed)
        bench = Bench(self.make, 3)
        taken: list[str] = []

        def submit(prefix: str) -> None:
            for number in range(100):
                try:
                    bench.submit(f"{prefix}{number}", until_cancelled if number % 10 == 0 else None)
                except Closed:
                    return
                taken.append(f"{prefix}{number}")
                bench.executor.cancel(f"id-{prefix}{number}" if number % 10 == 0 else "nothing")

        threads = [threading.Thread(target=submit, args=(prefix,)) for prefix in "xyz"]
        for thread in threads:
            thread.start()
        enough = chance.randrange(200)
        bench.until(lambda: len(bench.performed) >= min(enough, 200) or not any(thread.is_alive() for thread in threads))
        bench.executor.close()
        for thread in threads:
            thread.join()
        assert [len(bench.outcomes(name)) for name in taken] == [1] * len(taken)
        assert {name for name, heard in bench.heard.items() if heard} <= set(taken)


class TestThreadExecutor(ExecutorContract):
    """The contract, and what is the thread pool's own."""

    def make(self, workers: int, perform: Perform) -> ThreadExecutor:
        return ThreadExecutor(workers, perform, grace=1.0)

    def test_threads_are_born_when_there_is_work_and_stay(self) -> None:
        bench = Bench(self.make, 3)
        assert ours() == []
        for number in range(5):
            bench.submit(str(number))
            bench.ended(str(number))
        assert len([name for name in ours() if "worker" in name]) <= 2  # one may still be on its way back
        gate = Gate()
        for name in "abcdef":
            bench.submit(name, gate)
        bench.until(lambda: len(bench.performed) == 8)
        assert len([name for name in ours() if "worker" in name]) == 3
        gate.open.set()
        bench.executor.close()
        assert ours() == []

    def test_what_waits_does_not_start_while_it_closes(self, single: Bench) -> None:
        """The thread that is free as soon as the first Task is stopped takes up the next one before `close` is there."""
        told = threading.Event()

        def stop() -> None:
            told.set()
            single.until(lambda: single.outcomes("next"))

        def run(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            with cancellation.stopping(stop, told.set, 60):
                observer.happened(of.task, event(of.task, EventKind.EXECUTION_START))
                assert told.wait(PATIENCE)
            observer.ended(of.task, Outcome(TaskState.CANCELLED, message=cancellation.reason))

        single.submit("first", run)
        single.until(lambda: single.heard["first"])
        single.submit("next")
        single.executor.close()
        assert single.ended("next") == [TaskState.CANCELLED]
        assert single.performed == ["first"]

    def test_nothing_is_kept_of_what_is_over(self) -> None:
        executor = self.make(2, quickly)
        bench = Bench(lambda workers, perform: executor)
        for number in range(100):
            bench.submit(str(number))
        bench.ended(*map(str, range(100)))
        executor.close()
        assert vars(executor)["_cancellations"] == {}
        assert not vars(executor)["_queue"]

    def test_no_more_runs_than_there_are_resources_for(self) -> None:
        bench = Bench(lambda workers, perform: ThreadExecutor(workers, perform, 1.0, Capacity(Resources(4, 100, 0))), 4)
        gates = {name: Gate() for name in "abc"}
        for name, resources in (("a", Resources(2)), ("b", Resources(1, 80)), ("c", Resources(memory=50)), ("d", Resources())):
            bench.submit(name, gates.get(name), resources)
        bench.until(lambda: len(bench.performed) == 2)
        assert bench.performed == ["a", "b"]  # c waits for memory, and d for its turn
        gates["a"].open.set()
        bench.ended("a")
        assert bench.performed == ["a", "b"]
        gates["b"].open.set()
        gates["c"].open.set()
        assert bench.ended("b", "c", "d") == [TaskState.COMPLETE] * 3
        bench.executor.close()

    def test_more_than_the_machine_has_is_an_error_at_once(self) -> None:
        bench = Bench(lambda workers, perform: ThreadExecutor(workers, perform, 1.0, Capacity(Resources(4, 100, 0))), 2)
        bench.submit("a", None, Resources(5))
        assert bench.ended("a") == [TaskState.EXCEPTION]
        assert bench.outcomes("a")[0].message == "its Command needs cpus: 5; this machine has 4"
        bench.submit("b", None, Resources(4))
        assert bench.ended("b") == [TaskState.COMPLETE]
        assert bench.performed == ["b"]
        bench.executor.close()

    def test_what_waits_for_resources_can_be_cancelled(self) -> None:
        bench = Bench(lambda workers, perform: ThreadExecutor(workers, perform, 1.0, Capacity(Resources(1, 100, 0))), 3)
        gate = Gate()
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
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("gaia-local"))


# ----------------------------------------------------------------------------------------------------------------- clock


class Bell:
    """Notes when it is rung, and by what."""

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
            assert self.changed.wait_for(lambda: all_of <= set(self.rung), PATIENCE), all_of - set(self.rung)


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
        patch.setattr(time, "monotonic", lambda: now)
        yield


def test_orders_come_in_the_order_of_their_times(clock: Clock) -> None:
    bell = Bell()
    began = time.monotonic()
    with frozen():
        for seconds in (0.06, 60, 0.02, 0.04, 0, -1):
            clock.later(seconds, bell.ring(seconds))
    assert bell.until(5)[-3:] == [0.02, 0.04, 0.06]
    assert sorted(bell.rung[:2]) == [-1, 0]
    assert time.monotonic() - began >= 0.06


def test_orders_for_one_moment_come_in_the_order_they_were_given(clock: Clock) -> None:
    bell = Bell()
    with frozen():
        for number in range(100):
            clock.later(0.02, bell.ring(number))
    assert bell.until(100) == list(range(100))


def test_what_is_taken_back_does_not_come(clock: Clock) -> None:
    bell = Bell()
    with frozen():
        take_back = [clock.later(0.02, bell.ring(number)) for number in range(5)]
        for number in (0, 2, 2, 4):
            take_back[number]()
        clock.later(0.04, bell.ring("end"))
    assert bell.until(3) == [1, 3, "end"]
    take_back[1]()


def test_an_earlier_order_is_not_kept_waiting_by_a_later_one(clock: Clock) -> None:
    bell = Bell()
    clock.later(3600, bell.ring("late"))
    clock.later(0.01, bell.ring("soon"))
    assert bell.until(1) == ["soon"]


def test_times_without_end_are_fine(clock: Clock) -> None:
    bell = Bell()
    clock.later(1e18, bell.ring("never"))
    clock.later(0, bell.ring("now"))
    assert bell.until(1) == ["now"]


def test_an_order_that_fails_does_not_stop_the_clock(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    bell = Bell()
    clock.later(0, iter(()).__next__)
    clock.later(0.01, bell.ring("next"))
    assert bell.until(1) == ["next"]
    assert "an order of the clock failed" in caplog.text


def test_orders_may_give_orders_and_close(clock: Clock) -> None:
    bell = Bell()

    def order() -> None:
        clock.later(0, bell.ring("inner"))

    def close() -> None:
        clock.close()
        bell.ring("closed")()

    clock.later(0, order)
    assert bell.until(1) == ["inner"]
    clock.later(0, close)
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

    kept = [clock.later(3600, Held().ring) for _ in range(10)]
    for _ in range(20_000):
        clock.later(3600, Held().ring)()
    assert Held.alive == 10
    assert len(vars(clock)["_orders"]) < 200
    for take_back in kept:
        take_back()
    assert Held.alive == 0


def test_closing_forgets_and_ends() -> None:
    clock, bell = Clock(), Bell()
    clock.later(0.01, bell.ring("never"))
    take_back = clock.later(60, bell.ring("never"))
    clock.close()
    clock.close()
    assert ours() == []
    take_back()
    clock.later(0, bell.ring("never"))
    assert ours() == []
    assert bell.rung in ([], ["never"])  # close may have come too late for the first
    Clock().close()


@pytest.mark.parametrize("seed", range(REPEAT))
def test_orders_from_many_threads_come_once_or_not_at_all(clock: Clock, seed: int) -> None:
    chance, bell = random.Random(seed), Bell()
    plans = [[(chance.random() * 0.02, chance.random() < 0.5) for _ in range(200)] for _ in range(4)]

    def order(number: int) -> None:
        for place, (seconds, back) in enumerate(plans[number]):
            take_back = clock.later(seconds, bell.ring((number, place)))
            if back:
                take_back()

    threads = [threading.Thread(target=order, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {(number, place) for number, plan in enumerate(plans) for place, (_, back) in enumerate(plan) if not back}
    clock.later(0.05, bell.ring("end"))
    bell.until_by({*kept, "end"})  # and perhaps others, whose time had come before they were taken back
    assert len(bell.rung) == len(set(bell.rung))
