"""The contract of all executors, and an executor on the bench: tests choose its Tasks' acts."""

from __future__ import annotations

import collections
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gaia_local.errors import Closed
from gaia_local.executors.contract import Executor, Observer
from gaia_local.executors.threads import Perform
from gaia_local.model.answer_types import LiveUsage
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event, EventKind
from gaia_local.model.resources import NONE, Resources
from gaia_local.model.tasks import BY_REQUEST, BY_TIMEOUT, Task, TaskState
from gaia_local.runtimes.contract import Cancellation
from support.builders import task

REPEAT = int(os.environ.get("GAIA_LOCAL_TEST_REPEAT", "10"))
"""The number of runs of tests with many threads, each with another seed."""
DONE = Outcome(TaskState.COMPLETE)
PATIENCE = 20.0


def task_named(name: str, resources: Resources = NONE, workflow: str = "w") -> Task:
    """A Task whose id follows from its name."""
    return task(name, id=f"id-{name}", resources=resources, workflow=workflow)


def event(of: Task, kind: EventKind, **facts: object) -> Event:
    return Event(kind, of.workflow, time.time(), {"id": of.id, "task": of.name, **facts})


class ReportingObserver:
    """An observer that has one function for all that it is told."""

    def __init__(
        self,
        tell: Callable[[Task, Event | Outcome], None],
        doing: Callable[[str], None] = lambda doing: None,
    ) -> None:
        self._tell, self._doing = tell, doing

    def started(self, of: Task, event: Event) -> None:
        assert event.event.begins
        self._tell(of, event)

    def happened(self, of: Task, *events: Event) -> None:
        for event in events:
            assert not event.event.begins
            self._tell(of, event)

    def progressed(self, of: Task, doing: str) -> None:
        self._doing(doing)

    def sampled(self, of: Task, usage: LiveUsage) -> None:
        pass

    def ended(self, of: Task, outcome: Outcome) -> None:
        self._tell(of, outcome)


class ExecutorBench:
    """An executor whose Tasks perform a test's acts, and all its reports."""

    def __init__(self, make: Callable[[int, Perform], Executor], workers: int = 2) -> None:
        self.acts: dict[str, Perform] = {}
        self.heard: dict[str, list[Event | Outcome]] = collections.defaultdict(list)
        self.doing: list[str] = []
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

    def tell(self, doing: str) -> None:
        with self.changed:
            self.doing.append(doing)
            self.changed.notify_all()

    def submit(
        self,
        name: str,
        act: Perform | None = None,
        resources: Resources = NONE,
        adopted: bool = False,
        workflow: str = "w",
    ) -> Task:
        if act is not None:
            self.acts[name] = act
        made = task_named(name, resources, workflow)
        observer = ReportingObserver(self.report, self.tell)
        self.executor.submit(Assignment(made, adopted=adopted), observer)
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
    with cancellation.stopping(told.set, told.set, 60, lambda: False):
        observer.happened(of.task, event(of.task, EventKind.EXECUTION_START))
        assert told.wait(PATIENCE)
    observer.ended(of.task, Outcome(TaskState.CANCELLED, message=cancellation.reason))


class HeldAct:
    """An act that goes on only when the test opens it, also if it is cancelled."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
        assert self.open.wait(PATIENCE)
        quickly(of, cancellation, observer)


class ExecutorContract:
    """The promises of `gaia_local.executors.contract`; subclasses make the executor."""

    repeat = REPEAT
    many = 1000
    """The number of Tasks that are cancelled at random."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "seed" in metafunc.fixturenames:
            metafunc.parametrize("seed", range(self.repeat))

    def make(self, workers: int, perform: Perform) -> Executor:
        raise NotImplementedError

    @pytest.fixture
    def bench(self) -> Iterator[ExecutorBench]:
        bench = ExecutorBench(self.make)
        yield bench
        bench.executor.close()

    @pytest.fixture
    def single(self) -> Iterator[ExecutorBench]:
        """A bench with one worker."""
        bench = ExecutorBench(self.make, 1)
        yield bench
        bench.executor.close()

    def test_each_submit_leads_to_its_events_in_order_and_one_outcome(
        self, bench: ExecutorBench
    ) -> None:
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
            said = [
                what.facts["number"] if isinstance(what, Event) else what
                for what in bench.heard[name]
            ]
            assert said == [*range(20), DONE]
        assert threading.current_thread().name not in bench.threads

    def test_long_work_with_files_is_told_after_the_events_before_it(
        self, bench: ExecutorBench
    ) -> None:
        heard_before = list[int]()

        def speak(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            observer.happened(of.task, event(of.task, EventKind.EXECUTION_START))
            observer.progressed(of.task, "reading input 'a': 1 of 2 GB")
            bench.until(lambda: bench.doing or bench.heard[of.task.name][1:])
            heard_before.append(len(bench.heard[of.task.name]))
            observer.ended(of.task, DONE)
            observer.progressed(of.task, "too late")

        bench.submit("a", speak)
        assert bench.ended("a") == [TaskState.COMPLETE]
        bench.executor.close()
        assert bench.doing == ["reading input 'a': 1 of 2 GB"]
        assert heard_before == [1]

    def test_tasks_start_in_the_order_of_their_submission(self, single: ExecutorBench) -> None:
        names = [f"s{number}" for number in range(50)]
        gate = HeldAct()
        single.submit("first", gate)
        for name in names:
            single.submit(name)
        gate.open.set()
        single.ended(*names)
        assert single.performed == ["first", *names]

    def test_all_workers_work_and_no_more(self) -> None:
        bench = ExecutorBench(self.make, 3)
        together, gate = threading.Barrier(4), HeldAct()

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

    def test_cancelled_before_it_is_submitted(self, bench: ExecutorBench) -> None:
        bench.executor.cancel("id-a")
        bench.submit("a")
        assert bench.ended("a") == [TaskState.CANCELLED]
        bench.submit("b")
        assert bench.ended("b") == [TaskState.COMPLETE]
        assert bench.performed == ["b"]

    def test_cancelled_while_it_waits(self, single: ExecutorBench) -> None:
        gate = HeldAct()
        single.submit("first", gate)
        for name in "abc":
            single.submit(name)
        single.executor.cancel("id-b")
        gate.open.set()
        states = [TaskState.COMPLETE, TaskState.COMPLETE, TaskState.CANCELLED, TaskState.COMPLETE]
        assert single.ended("first", "a", "b", "c") == states
        assert single.performed == ["first", "a", "c"]

    def test_cancelled_while_it_runs(self, bench: ExecutorBench) -> None:
        bench.submit("a", until_cancelled)
        bench.until(lambda: bench.heard["a"])
        bench.executor.cancel("id-a")
        bench.executor.cancel("id-a")
        assert bench.ended("a") == [TaskState.CANCELLED]
        assert bench.outcomes("a")[0].message == BY_REQUEST

    def test_cancelled_when_it_is_over(self, bench: ExecutorBench) -> None:
        bench.submit("a")
        assert bench.ended("a") == [TaskState.COMPLETE]
        bench.executor.cancel("id-a")
        bench.submit("b")
        assert bench.ended("b") == [TaskState.COMPLETE]
        bench.executor.close()
        assert len(bench.outcomes("a")) == 1

    def test_cancelling_does_not_wait_for_the_task(self, single: ExecutorBench) -> None:
        gate = HeldAct()
        single.submit("a", gate)
        single.until(lambda: single.performed)
        single.executor.cancel("id-a")  # it doesn't listen
        assert not single.outcomes("a")
        gate.open.set()
        single.ended("a")

    def test_a_start_event_names_its_worker(self, bench: ExecutorBench) -> None:
        both = threading.Barrier(2)

        def together(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            both.wait(PATIENCE)
            quickly(of, cancellation, observer)

        bench.submit("a", together)
        bench.submit("b", together)
        bench.ended("a", "b")
        workers = [
            what.facts["worker"]
            for name in "ab"
            for what in bench.heard[name]
            if isinstance(what, Event)
        ]
        assert sorted(workers) == [1, 2]

    def test_only_start_and_adoption_events_name_their_worker(self, single: ExecutorBench) -> None:
        def adopt(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            observer.started(of.task, event(of.task, EventKind.STEP_ADOPTED, reason="new"))
            observer.happened(of.task, event(of.task, EventKind.EXECUTION_COMPLETE))
            observer.ended(of.task, DONE)

        single.submit("a", adopt)
        single.ended("a")
        adopted, complete = (what for what in single.heard["a"] if isinstance(what, Event))
        assert (adopted.event, adopted.facts["worker"], adopted.facts["reason"]) == (
            "step-adopted",
            1,
            "new",
        )
        assert (complete.event, dict(complete.facts)) == (
            "execution-complete",
            {"id": "id-a", "task": "a"},
        )

    def test_the_smallest_rank_goes_first(self, single: ExecutorBench) -> None:
        gate = HeldAct()
        single.submit("first", gate)
        single.until(lambda: single.performed)
        for name, rank in (("a", (1, 0)), ("b", (0, 2)), ("c", (0, 1)), ("d", (0, 2))):
            single.executor.submit(
                Assignment(task_named(name), rank), ReportingObserver(single.report)
            )
        gate.open.set()
        single.ended(*"abcd")
        assert single.performed == ["first", "c", "b", "d", "a"]

    def test_workflows_take_turns_whatever_the_ranks(self, single: ExecutorBench) -> None:
        gate = HeldAct()
        single.submit("first", gate)
        single.until(lambda: single.performed)
        for number in range(5):
            for workflow, rank in (("w", -10), ("v", 0)):
                made = task_named(f"{workflow}{number}", workflow=workflow)
                single.executor.submit(
                    Assignment(made, (rank, number)), ReportingObserver(single.report)
                )
        gate.open.set()
        names = [f"{workflow}{number}" for number in range(5) for workflow in "vw"]
        single.ended(*names)
        assert single.performed == ["first", *names]

    def test_the_timeout_is_kept_by_the_executor(self, bench: ExecutorBench) -> None:
        def act(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            told = threading.Event()
            with cancellation.stopping(told.set, told.set, 0.01, lambda: False):
                assert told.wait(PATIENCE)
            observer.ended(of.task, Outcome(TaskState.ERROR, reason=cancellation.reason))

        bench.submit("a", act)
        assert bench.ended("a") == [TaskState.ERROR]
        assert bench.outcomes("a")[0].reason == BY_TIMEOUT

    def test_a_defect_of_ours_is_an_exception_and_the_worker_goes_on(
        self, single: ExecutorBench, caplog: pytest.LogCaptureFixture
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
        assert outcome.message == "the engine failed: by \\xff"

    def test_events_after_the_outcome_are_not_reported(self, single: ExecutorBench) -> None:
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

    def test_ending_without_an_outcome_is_one_nevertheless(self, single: ExecutorBench) -> None:
        single.submit("a", lambda of, cancellation, observer: None)
        assert single.ended("a") == [TaskState.CANCELLED]

    @pytest.mark.parametrize("cancelled", [True, False])
    def test_a_receiver_that_fails_costs_no_worker(
        self, single: ExecutorBench, cancelled: bool
    ) -> None:
        def fail(of: Task, what: Event | Outcome) -> None:
            single.report(of, what)
            raise ZeroDivisionError

        for name in "abc":
            if cancelled:
                single.executor.cancel(f"id-{name}")
            single.executor.submit(Assignment(task_named(name)), ReportingObserver(fail))
        single.submit("d")
        assert single.ended("d") == [TaskState.COMPLETE]
        assert all(len(single.outcomes(name)) == 1 for name in "abc")

    def test_a_receiver_may_submit_and_cancel(self, bench: ExecutorBench) -> None:
        def and_on(of: Task, what: Event | Outcome) -> None:
            number = int(of.name)
            if isinstance(what, Outcome) and number < 200:
                bench.executor.cancel(f"id-{number + 2}" if number % 3 == 0 else of.id)
                bench.executor.submit(
                    Assignment(task_named(str(number + 1))), ReportingObserver(and_on)
                )
            bench.report(of, what)

        bench.executor.submit(Assignment(task_named("0")), ReportingObserver(and_on))
        assert set(bench.ended(*map(str, range(201)))) == {TaskState.COMPLETE, TaskState.CANCELLED}

    def test_closing_cancels_what_is_left_and_waits_for_it(self, bench: ExecutorBench) -> None:
        for name in "ab":
            bench.submit(name, until_cancelled)
        bench.until(lambda: bench.heard["a"] and bench.heard["b"])
        for name in "cde":
            bench.submit(name)
        bench.executor.close()
        assert [len(bench.outcomes(name)) for name in "abcde"] == [1] * 5
        assert {bench.outcomes(name)[0].state for name in "abcde"} == {TaskState.CANCELLED}
        assert sorted(bench.performed) == ["a", "b"]

    def test_closing_twice_and_from_two_threads(self, bench: ExecutorBench) -> None:
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
            executor.submit(Assignment(task_named("a")), ReportingObserver(lambda of, what: None))

    def test_closing_from_a_receiver(self, bench: ExecutorBench) -> None:
        def close(of: Task, what: Event | Outcome) -> None:
            bench.report(of, what)
            if isinstance(what, Outcome):
                bench.executor.close()
                bench.report(task_named("closed"), DONE)

        bench.executor.submit(Assignment(task_named("a")), ReportingObserver(close))
        bench.ended("a", "closed")
        with pytest.raises(Closed):
            bench.submit("b")

    def test_many_tasks_cancelled_at_random(self, seed: int) -> None:
        chance = random.Random(seed)
        bench = ExecutorBench(self.make, 4)
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

        threads = [
            threading.Thread(target=cancel, args=(victims[number::3],)) for number in range(3)
        ]
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
        bench = ExecutorBench(self.make, 3)
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
        bench.until(
            lambda: (
                len(bench.performed) >= min(enough, 200)
                or not any(thread.is_alive() for thread in threads)
            )
        )
        bench.executor.close()
        for thread in threads:
            thread.join()
        assert [len(bench.outcomes(name)) for name in taken] == [1] * len(taken)
        assert {name for name, heard in bench.heard.items() if heard} <= set(taken)
