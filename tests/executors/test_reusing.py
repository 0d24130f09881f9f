"""The executor that reuses results: its invariants, with results, programs and observers by hand.

`GAIA_LOCAL_TEST_REPEAT` is the number of runs of the test with many threads.
"""

from __future__ import annotations

import collections
import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local.errors import Closed, RuntimeFailure, StorageError
from gaia_local.executors import reusing
from gaia_local.executors.contract import Executor, Observer
from gaia_local.executors.results import Result
from gaia_local.executors.reusing import EXPIRED_REASON, ReusingExecutor
from gaia_local.executors.threads import Perform, ThreadExecutor
from gaia_local.model.answer_types import LiveUsage
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event, EventKind
from gaia_local.model.task_fingerprints import task_fingerprint
from gaia_local.model.tasks import DOUBTFUL, Fingerprint, Reused, Task, TaskState
from gaia_local.runtimes.contract import Cancellation
from gaia_local.store import fingerprints
from gaia_local.store.task_files import StoredResult
from gaia_local.store.workspaces import LocalWorkspace
from support.executors import (
    DONE,
    PATIENCE,
    REPEAT,
    ExecutorContract,
    event,
)
from support.stores import StoreBench
from support.waiting import wait_until

CANCELLED, COMPLETE = TaskState.CANCELLED, TaskState.COMPLETE
FAILED = Outcome(TaskState.ERROR, exit_code=1, message="exit code 1")


class Gate:
    """A place where a thread waits until the test lets it go on."""

    def __init__(self) -> None:
        self._arrived, self._open = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self._arrived.set()
        assert self._open.wait(PATIENCE)

    def await_arrival(self) -> None:
        assert self._arrived.wait(PATIENCE)

    def open(self) -> None:
        self._open.set()


def nothing() -> None:
    pass


class HandResults:
    """The results that a test, or the end of a Task, adds."""

    def __init__(self) -> None:
        self.of: dict[str, list[Result]] = collections.defaultdict(list)
        self.looked_up: Callable[[], None] = nothing
        """Called after each look for results, before its answer is used."""

    def find(self, fingerprint: str) -> Iterator[Result]:
        found = list(self.of[fingerprint])
        self.looked_up()
        return iter(found)


class HandExecutor:
    """Keeps what is handed on until the test, or a cancellation, ends it."""

    def __init__(self) -> None:
        self.tasks: dict[str, tuple[Task, Observer]] = {}
        self.handed_on: list[str] = []
        self.cancelled_early: set[str] = set()
        self.submitted: Callable[[], None] = nothing
        """Called in each `submit`."""
        self.closed = False

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        self.submitted()
        of = assignment.task
        self.handed_on.append(of.id)
        if of.id in self.cancelled_early:
            observer.ended(of, Outcome(CANCELLED))
        else:
            self.tasks[of.id] = (of, observer)

    def end(self, of: Task, outcome: Outcome = DONE) -> None:
        ended, observer = self.tasks.pop(of.id)
        observer.ended(ended, outcome)

    def cancel(self, task_id: str) -> None:
        known = self.tasks.pop(task_id, None)
        if known is None:
            self.cancelled_early.add(task_id)
        else:
            known[1].ended(known[0], Outcome(CANCELLED))

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        return None

    def call_later_in_background(self, seconds: float, function: Callable[[], None]) -> None:
        pass

    def kill_now(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
        for task_id in list(self.tasks):
            self.cancel(task_id)


class Bench:
    """A reusing executor, and all that is heard of its Tasks. Implements `Observer`."""

    def __init__(self, top: Path, executor: Executor | None = None) -> None:
        self.store = StoreBench(top / "root")
        self.hand = HandExecutor()
        self.results = HandResults()
        self.identity: Callable[[Task], str | None] = lambda of: "program"
        self.recent_identity: str | None = None
        """As it was a second ago, if it was another one."""
        self.heard: dict[str, list[Event | Outcome]] = collections.defaultdict(list)
        self.starts: Callable[[], None] = nothing
        self.ends: Callable[[], None] = nothing
        """Called by the observer, after all is recorded."""
        self.executor = ReusingExecutor(
            executor or self.hand,
            self.results,
            workspace=LocalWorkspace(self.store.storage),
            identity=self._program,
            threads=2,
        )

    # -- the observer ------------------------------------------------------------------------------

    def started(self, of: Task, *events: Event) -> None:
        self.heard[of.id] += events
        self.starts()

    happened = started

    def progressed(self, of: Task, doing: str) -> None:
        pass

    def sampled(self, of: Task, usage: LiveUsage) -> None:
        pass

    def ended(self, of: Task, outcome: Outcome) -> None:
        if outcome.state is COMPLETE and outcome.reused is None:
            self.add_result(of)
        self.heard[of.id].append(outcome)
        self.ends()

    def _program(self, of: Task, age: float) -> str | None:
        return self.identity(of) if age == 0 else self.recent_identity or self.identity(of)

    # -- the test ----------------------------------------------------------------------------------

    def task(self, work: str = "work", inputs: bool = False, **facts: Any) -> Task:
        """One more Task; those of equal `work` are equal."""
        read = {"/in/a": "in:a"} if inputs else {}
        return self.store.task(read, {"/out/x": "o:x"}, command=(work,), **facts)

    def submit(self, of: Task, **facts: object) -> Task:
        self.executor.submit(Assignment(of, **facts), self)  # type: ignore[arg-type]
        return of

    def fingerprint(self, of: Task) -> str:
        """That which it has now."""
        digests = {}
        for key, _ in of.inputs:
            seen = fingerprints.fingerprint(self.store.storage.path("w", key))
            assert seen is not None
            digests[key] = seen.digest
        return task_fingerprint(of, "program", digests)

    def add_result(self, of: Task, text: str | None = None) -> Path:
        path = self.store.root / f"result-{of.id}"
        path.write_text(of.command[0] if text is None else text)
        seen = fingerprints.fingerprint(str(path))
        assert seen is not None
        file = StoredResult(str(path), seen)
        made = Result(Reused("w", of.name, of.id), {"/out/x": file}, path.with_name("none"), None)
        self.results.of[self.fingerprint(of)].insert(0, made)
        return path

    def until(self, true: Callable[[], object]) -> None:
        wait_until(true, PATIENCE)

    def until_handed_on(self, of: Task) -> None:
        self.until(lambda: of.id in self.hand.tasks)

    def until_waiting(self, count: int) -> None:
        """So many Tasks wait for equal ones."""
        self.until(lambda: sum(map(len, self.executor._waiting.values())) == count)

    def outcomes(self, of: Task) -> list[Outcome]:
        return [what for what in self.heard[of.id] if isinstance(what, Outcome)]

    def outcome(self, of: Task) -> Outcome:
        """Wait for its outcome."""
        self.until(lambda: self.outcomes(of))
        return self.outcomes(of)[0]

    def state(self, of: Task) -> TaskState:
        return self.outcome(of).state

    def maker(self, of: Task) -> str | None:
        """The id of the Task whose result it was given."""
        reused = self.outcome(of).reused
        return None if reused is None else reused.task

    def check_over(self, *tasks: Task) -> None:
        """Close: each Task ended once, and nothing is kept of any."""
        self.executor.close()
        for of in tasks:
            assert len(self.outcomes(of)) == 1, (of.id, self.heard[of.id])
            assert isinstance(self.heard[of.id][-1], Outcome)
        executor = self.executor
        assert (executor._lookups, executor._waiting, executor._handed_on) == ({}, {}, set())
        assert list((self.store.root / "staging").iterdir()) == []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.executor.close()


# -------------------------------------------------------------------------------- what is handed on


def test_a_result_that_is_dropped_while_it_is_copied_is_none(bench: Bench) -> None:
    """Its log goes after its row: without a log it may have printed something."""
    of = bench.task()
    bench.add_result(bench.task())
    bench.results.looked_up = bench.results.of.clear
    bench.submit(of)
    bench.until_handed_on(of)
    bench.hand.end(of)
    assert bench.maker(of) is None
    bench.check_over(of)


def test_a_task_without_a_result_is_handed_on_and_the_next_is_given_its_result(
    bench: Bench,
) -> None:
    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    bench.hand.end(first)
    second = bench.submit(bench.task())
    assert bench.maker(second) == first.id
    (output,) = bench.outcome(second).outputs
    assert (output.key, output.target) == ("o:x", bench.store.storage.path("w", "o:x"))
    (begun, _) = bench.heard[second.id]
    assert isinstance(begun, Event) and begun.event is EventKind.STEP_REUSED
    assert bench.outcome(second).fingerprint == bench.fingerprint(second)
    assert bench.hand.handed_on == [first.id]
    bench.check_over(first, second)


def test_the_newest_result_that_is_as_recorded_is_given(bench: Bench) -> None:
    old, new, newest = (bench.task() for _ in range(3))
    for of in (old, new, newest):
        path = bench.add_result(of)
    path.write_text("edited")
    given = bench.submit(bench.task())
    assert bench.maker(given) == new.id
    bench.check_over(given)


@pytest.mark.parametrize("kind", ["not reusable", "adopted", "no identity", "identity fails"])
def test_tasks_that_are_handed_on_without_a_look(bench: Bench, kind: str) -> None:
    bench.add_result(bench.task())
    bench.results.looked_up = lambda: pytest.fail("it was looked up")
    if kind == "no identity":
        bench.identity = lambda of: None
    elif kind == "identity fails":

        def fail(of: Task) -> str:
            raise RuntimeFailure("no engine")

        bench.identity = fail
    of = bench.submit(bench.task(reusable=kind != "not reusable"), adopted=kind == "adopted")
    bench.until_handed_on(of)
    bench.hand.end(of)
    assert bench.maker(of) is None
    bench.check_over(of)


def test_an_input_that_vanished_is_the_runs_business(bench: Bench) -> None:
    of = bench.submit(bench.task(inputs=True))
    bench.until_handed_on(of)
    bench.hand.end(of, FAILED)
    bench.check_over(of)


@pytest.mark.parametrize("error", [StorageError("broken"), OSError(5, "broken")])
def test_results_that_cant_be_read_are_none(bench: Bench, error: Exception) -> None:
    def fail() -> None:
        raise error

    bench.results.looked_up = fail
    of = bench.submit(bench.task())
    bench.until_handed_on(of)
    bench.hand.end(of)
    bench.check_over(of)


def test_a_defect_ends_the_task_and_lets_the_others_go_on(bench: Bench) -> None:
    gate, calls = Gate(), list[str]()

    def look() -> None:
        calls.append("")
        bench.executor._ends += len(calls) == 1  # a leader ends, so that it looks once more
        if len(calls) == 2:
            gate.pass_through()
            raise ValueError("a defect")

    bench.results.looked_up = look
    first = bench.submit(bench.task())
    gate.await_arrival()
    second = bench.submit(bench.task())
    bench.until_waiting(1)
    gate.open()
    assert bench.state(first) is TaskState.EXCEPTION
    assert "a defect" in str(bench.outcome(first).message)
    bench.until_handed_on(second)
    bench.hand.end(second)
    bench.check_over(first, second)


# ---------------------------------------------------------------------------------- those that wait


def test_equal_tasks_run_once(bench: Bench) -> None:
    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    others = [bench.submit(bench.task()) for _ in range(20)]
    another = bench.submit(bench.task("another"))
    bench.until_waiting(20)
    bench.until_handed_on(another)  # it needs none of the threads that wait
    assert bench.hand.handed_on == [first.id, another.id]
    bench.hand.end(first)
    bench.hand.end(another)
    assert {bench.maker(of) for of in others} == {first.id}
    bench.check_over(first, another, *others)


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
def test_if_the_leader_leaves_no_result_the_next_runs(bench: Bench, end: str) -> None:
    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    others = [bench.submit(bench.task()) for _ in range(3)]
    bench.until_waiting(3)
    if end == "fails":
        bench.hand.end(first, FAILED)
    else:
        bench.executor.cancel(first.id)
    bench.until_waiting(2)
    assert len(bench.hand.handed_on) == 2
    (leader,) = (of for of in others if of.id in bench.hand.tasks)
    bench.hand.end(leader)
    assert {bench.maker(of) for of in others if of is not leader} == {leader.id}
    bench.check_over(first, *others)


def test_a_leader_that_ended_between_look_and_queue_has_left_its_result(bench: Bench) -> None:
    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    gate = Gate()
    bench.results.looked_up = gate.pass_through
    second = bench.submit(bench.task())
    gate.await_arrival()  # it has found nothing
    bench.hand.end(first)
    gate.open()
    assert bench.maker(second) == first.id
    bench.check_over(first, second)


def test_waiting_tasks_are_looked_up_with_the_inputs_as_they_are_then(bench: Bench) -> None:
    bench.store.put("in:a", "before")
    first = bench.submit(bench.task(inputs=True))
    bench.until_handed_on(first)
    second = bench.submit(bench.task(inputs=True))
    bench.until_waiting(1)
    bench.store.put("in:a", "after")
    third = bench.submit(bench.task(inputs=True))
    bench.until_handed_on(third)  # it is another one
    bench.hand.end(first)  # which adds a result for the present input
    bench.results.of.clear()
    bench.until_waiting(1)
    bench.hand.end(third)
    assert bench.maker(second) == third.id
    bench.check_over(first, second, third)


# ------------------------------------------------------------------------------------- expired ones


def test_an_expired_task_is_given_nothing_and_waits_for_nobody(bench: Bench) -> None:
    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    expired = bench.submit(bench.task(reason=EXPIRED_REASON))
    bench.until_handed_on(expired)
    bench.hand.end(first)
    again = bench.submit(bench.task(reason=EXPIRED_REASON))
    bench.until_handed_on(again)
    bench.hand.end(again)
    bench.hand.end(expired)
    bench.check_over(first, expired, again)


def test_others_wait_for_an_expired_task(bench: Bench) -> None:
    expired = bench.submit(bench.task(reason=EXPIRED_REASON))
    bench.until_handed_on(expired)
    second = bench.submit(bench.task())
    bench.until_waiting(1)
    bench.hand.end(expired)
    assert bench.maker(second) == expired.id
    bench.check_over(expired, second)


# -------------------------------------------------------------------------------- cancelled, closed


def stop_by_cancel(bench: Bench, of: Task) -> None:
    bench.executor.cancel(of.id)


def stop_by_close(bench: Bench, of: Task) -> None:
    """Begin to close, as another thread would."""
    closing = threading.Thread(target=bench.executor.close)
    closing.start()
    bench.until(lambda: bench.executor._closed)


Stop = Callable[[Bench, Task], None]
stops = pytest.mark.parametrize("stop", [stop_by_cancel, stop_by_close])


@stops
def test_stopped_while_it_is_looked_up(bench: Bench, stop: Stop) -> None:
    gate = Gate()
    bench.results.looked_up = gate.pass_through
    of = bench.submit(bench.task())
    gate.await_arrival()
    stop(bench, of)
    gate.open()
    assert bench.state(of) is CANCELLED
    assert bench.hand.handed_on == []
    bench.check_over(of)


@stops
def test_stopped_while_a_result_is_there(bench: Bench, stop: Stop) -> None:
    gate = Gate()
    bench.add_result(bench.task())
    bench.results.looked_up = gate.pass_through
    of = bench.submit(bench.task())
    gate.await_arrival()
    stop(bench, of)
    gate.open()
    assert bench.state(of) is CANCELLED
    bench.check_over(of)


@stops
def test_stopped_after_it_was_reported_as_reused(bench: Bench, stop: Stop) -> None:
    gate = Gate()
    bench.add_result(bench.task())
    bench.starts = gate.pass_through
    of = bench.submit(bench.task())
    gate.await_arrival()
    stop(bench, of)
    gate.open()
    assert bench.state(of) is CANCELLED
    bench.check_over(of)


@stops
def test_stopped_while_it_waits(bench: Bench, stop: Stop) -> None:
    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    second = bench.submit(bench.task())
    bench.until_waiting(1)
    stop(bench, second)
    assert bench.state(second) is CANCELLED
    if stop is stop_by_cancel:
        assert bench.outcomes(first) == []
        bench.hand.end(first)
    bench.check_over(first, second)
    assert bench.hand.handed_on == [first.id]


@stops
def test_stopped_when_it_was_handed_on(bench: Bench, stop: Stop) -> None:
    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    stop(bench, first)
    assert bench.state(first) is CANCELLED
    bench.check_over(first)


def test_cancelled_on_its_way_to_the_other_executor(bench: Bench) -> None:
    gate = Gate()
    bench.hand.submitted = gate.pass_through
    of = bench.submit(bench.task())
    gate.await_arrival()
    bench.executor.cancel(of.id)
    gate.open()
    assert bench.state(of) is CANCELLED
    bench.check_over(of)


def test_cancelled_before_it_is_submitted(bench: Bench) -> None:
    bench.add_result(bench.task())
    of = bench.task()
    bench.executor.cancel(of.id)
    bench.submit(of)
    assert bench.state(of) is CANCELLED
    assert bench.hand.handed_on == [] and bench.executor._cancelled_early == set()
    bench.check_over(of)


def test_submitted_after_close(bench: Bench) -> None:
    bench.executor.close()
    bench.executor.close()
    assert bench.hand.closed
    with pytest.raises(Closed):
        bench.submit(bench.task())


# ----------------------------------------------------------------------------------- others' faults


@pytest.mark.parametrize("error", [RuntimeFailure("no thread"), Closed("closed"), ValueError("x")])
def test_another_executor_that_refuses_a_task(bench: Bench, error: Exception) -> None:
    gate = Gate()

    def refuse() -> None:
        gate.pass_through()
        bench.hand.submitted = nothing
        raise error

    bench.hand.submitted = refuse
    first = bench.submit(bench.task())
    gate.await_arrival()
    second = bench.submit(bench.task())
    bench.until_waiting(1)
    gate.open()
    expected = CANCELLED if isinstance(error, Closed) else TaskState.EXCEPTION
    assert bench.state(first) is expected
    bench.until_handed_on(second)
    bench.hand.end(second)
    bench.check_over(first, second)


@pytest.mark.parametrize("error", [StorageError("full"), OSError(28, "full"), ValueError("x")])
@pytest.mark.parametrize("when", ["started", "ended"])
def test_an_observer_that_raises(bench: Bench, error: Exception, when: str) -> None:
    """Its Task ended: it doesn't run after all."""

    def fail() -> None:
        bench.starts = bench.ends = nothing
        raise error

    bench.add_result(bench.task())
    setattr(bench, "starts" if when == "started" else "ends", fail)
    first = bench.submit(bench.task())
    bench.outcome(first)
    second = bench.submit(bench.task())
    assert bench.state(second) is COMPLETE
    assert bench.hand.handed_on == []
    bench.check_over(first, second)


def test_an_observer_that_raises_at_the_end_of_a_leader(bench: Bench) -> None:
    def fail() -> None:
        bench.ends = nothing
        raise ValueError("a defect")

    first = bench.submit(bench.task())
    bench.until_handed_on(first)
    second = bench.submit(bench.task())
    bench.until_waiting(1)
    bench.ends = fail
    with pytest.raises(ValueError, match="a defect"):
        bench.hand.end(first)
    assert bench.maker(second) == first.id
    bench.check_over(first, second)


@pytest.mark.parametrize("there", [True, False])
def test_without_a_thread_the_caller_looks_it_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if there:
        bench.add_result(bench.task())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        first, second = bench.submit(bench.task()), bench.submit(bench.task())
        if not there:
            assert bench.hand.handed_on == [first.id]
            bench.hand.end(first)
        assert [len(bench.outcomes(of)) for of in (first, second)] == [1, 1]
        assert bench.maker(second) is not None
    bench.check_over(first, second)


# ---------------------------------------------------------------------------------- doubtful inputs


def doubted(bench: Bench, text: str) -> dict[str, Fingerprint]:
    """What is known of an input that was `text`, and was changed since in the same moment."""
    path = bench.store.put("in:a", text)
    before = fingerprints.fingerprint(str(path))
    bench.store.put("in:a", "now")
    now = fingerprints.fingerprint(str(path))
    assert before is not None and now is not None
    return {"in:a": Fingerprint(now.quick + DOUBTFUL, before.digest)}


def test_a_program_that_has_just_changed_isnt_given_the_result_of_the_one_before(
    bench: Bench,
) -> None:
    bench.add_result(bench.task())
    bench.recent_identity = "program"
    bench.identity = lambda of: "another program"
    of = bench.submit(bench.task())
    bench.until_handed_on(of)
    bench.hand.end(of)
    assert bench.maker(of) is None
    bench.check_over(of)


def test_a_doubtful_input_that_changed_isnt_given_the_result_of_what_it_was(bench: Bench) -> None:
    bench.store.put("in:a", "was")
    bench.add_result(bench.task(inputs=True), "of what it was")
    of = bench.submit(bench.task(inputs=True), known=doubted(bench, "was"))
    bench.until_handed_on(of)
    bench.hand.end(of)
    assert bench.maker(of) is None
    bench.check_over(of)


def test_a_doubtful_input_that_changed_is_given_the_result_of_what_it_is(bench: Bench) -> None:
    bench.store.put("in:a", "was")
    bench.add_result(bench.task(inputs=True), "of what it was")
    bench.store.put("in:a", "now")
    maker = bench.task(inputs=True)
    bench.add_result(maker, "of what it is")
    of = bench.submit(bench.task(inputs=True), known=doubted(bench, "was"))
    assert bench.maker(of) == maker.id
    outcome = bench.outcome(of)
    assert outcome.fingerprint == bench.fingerprint(of)
    assert bench.hand.handed_on == []
    bench.check_over(of)


# ---------------------------------------------------------------------------------------- at random


@pytest.mark.parametrize("seed", range(REPEAT))
def test_a_storm_of_tasks(tmp_path: Path, seed: int) -> None:
    """Many Tasks of few fingerprints; some fail, expire, are cancelled at any time, or closed."""
    dice, lock = random.Random(seed), threading.Lock()
    running, failures = collections.Counter[str](), collections.Counter[str]()
    succeeded, overlaps = collections.Counter[str](), list[str]()
    chances = [random.Random(dice.random()) for _ in range(4)]
    pauses = threading.Event()

    def perform(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
        work, expired = of.task.command[0], of.task.reason == EXPIRED_REASON
        with lock:
            running[work] += not expired
            overlaps.extend([work] if running[work] > 1 else [])
            chance, pause = chances[0].random(), chances[0].random() / 200
        if chance < 0.1:
            pauses.wait(pause)
        with lock:
            running[work] -= not expired
            failed = chance > 0.8
            (failures if failed else succeeded)[work] += 1
        observer.started(of.task, event(of.task, EventKind.STEP_START))
        observer.ended(of.task, FAILED if failed else DONE)

    bench = Bench(tmp_path, ThreadExecutor(4, perform, 5))
    tasks = [
        bench.task(f"work-{dice.randrange(6)}", reason=dice.choice(["new"] * 9 + [EXPIRED_REASON]))
        for _ in range(120)
    ]
    cancelled = {of.id for of in tasks if dice.random() < 0.2}

    def submit(mine: list[Task]) -> None:
        for of in mine:
            bench.submit(of)

    def cancel(chance: random.Random) -> None:
        for of in tasks:
            if of.id in cancelled:
                pauses.wait(chance.random() / 500)
                bench.executor.cancel(of.id)

    threads = [
        threading.Thread(target=submit, args=(tasks[:60],)),
        threading.Thread(target=submit, args=(tasks[60:],)),
        threading.Thread(target=cancel, args=(chances[1],)),
    ]
    for thread in threads:
        thread.start()
    if seed % 3:
        bench.until(lambda: all(bench.outcomes(of) for of in tasks))
    else:
        threads[0].join()
        threads[1].join()
    for thread in threads:
        thread.join()
    bench.check_over(*tasks)
    assert overlaps == []
    for of in tasks:
        state = bench.state(of)
        assert of.id in cancelled or state is not CANCELLED or not seed % 3
        assert of.reason != EXPIRED_REASON or bench.maker(of) is None
    if seed % 3:
        for work in {of.command[0] for of in tasks}:
            expired = sum(of.reason == EXPIRED_REASON for of in tasks if of.command[0] == work)
            assert succeeded[work] <= 1 + expired


class CallingThread:
    """In place of threads: looks Tasks up in the thread that submits them, in that order."""

    def call(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(ZeroDivisionError):  # a test's observer; a pool bears all errors
            function()

    def close(self) -> None:
        pass


class TestContract(ExecutorContract):
    """What is handed on has the promises of the other executor."""

    @pytest.fixture(autouse=True)
    def calling_thread(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(reusing, "ThreadPool", lambda size, name: CallingThread())
        self.store = StoreBench(tmp_path / "root")

    def make(self, workers: int, perform: Perform) -> Executor:
        return ReusingExecutor(
            ThreadExecutor(workers, perform, 60),
            HandResults(),
            workspace=LocalWorkspace(self.store.storage),
            identity=lambda of, age: of.id,
            threads=1,
        )
