"""Runs Tasks on the workers of a Dask cluster; keeps the promises of `executors.contract`.

The engine decides, publishes and writes down; workers stage, run and prepare (`session`). One
thread here does all that changes anything: others put what is to be done into its mailbox. It gives
a Task away under a lease (`leases`), hears of it by that lease's name, and gives it away again,
under another lease, when its worker is lost.

Invariants:
- A Task is in one place: it waits in the queue, is away under exactly one lease, or waits until
  what its lost worker left on its machine is ended. What is heard under any other lease is not
  heard.
- The lease is revoked before the Task is given away again or its `Outcome` says `CANCELLED`; it
  ends after the observer has published what lies in it.
- Dask may run a Task a second time, when it takes a worker for dead. The lease can be taken up
  once: the second run only tells us that the first is lost.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import pickle
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gaia_local.config import Config
from gaia_local.errors import Closed, RuntimeFailure, StorageError, error_text
from gaia_local.executors.clock import Clock
from gaia_local.executors.contract import SIGNAL_ROUND, Observer
from gaia_local.executors.dask.cluster import (
    Cluster,
    Connection,
    Listener,
    equipment_of,
    restrictions,
)
from gaia_local.executors.dask.session import Placed
from gaia_local.model.assignment import Assignment, Outcome, Output
from gaia_local.model.events import Event, EventKind
from gaia_local.model.resources import Resources
from gaia_local.model.tasks import BY_REQUEST, Task, TaskState
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, Report
from gaia_local.store.leases import Leases
from gaia_local.store.storage import Storage

LOOK_ROUND = 0.5
"""Seconds between two looks at the connection and at what Dask says of Tasks, for what nobody tells
us.
"""
_MOST_WAITING, _FEW_WAITING = 8, 5
"""How many Tasks are away for each thread of the cluster: given away until there are so many, when
there are so few.
"""

What = TypeVar("What", Event, Outcome)

logger = logging.getLogger("gaia_local")


def make_hands(
    config: Config, storage: Storage, root_id: str
) -> tuple[ClusterRuntime, DaskExecutor]:
    """The engine's runtime and executor, on one cluster. Nothing is connected yet."""
    cluster = Cluster(config.dask, equipment_of(config, root_id))
    workers = config.workers if "workers" in config.given else None
    return ClusterRuntime(cluster), DaskExecutor(cluster, storage, workers, config.dask.retries)


class ClusterRuntime:
    """The engine's view of the runtimes that its workers have. Implements `Runtime`; runs nothing
    here.
    """

    name = "dask"
    survives = False
    mounts_inputs = False

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def check(self, images: Collection[str]) -> None:
        """Raise `EngineUnavailable` where no scheduler answers, or a worker has another version."""
        self._cluster.check()

    def image_id(self, image: str) -> str | None:
        """None: each worker's machine may have another image of that name."""
        return None

    def left(self) -> Collection[str]:
        """None: what an earlier engine gave away ends on the workers when the next one connects."""
        return ()

    def end(self, task_id: str) -> None:
        """Nothing is left here."""

    def run(self, invocation: Invocation, cancellation: Cancellation, report: Report) -> Exit:
        """Not here: the workers have runtimes of their own."""
        raise NotImplementedError

    def rejoin(self, invocation: Invocation, cancellation: Cancellation, report: Report) -> Exit:
        """Not here: nothing is ever `left`."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the cluster."""
        self._cluster.close()


@dataclass(eq=False)
class _Flight:
    """A Task from its submission to its `Outcome`."""

    assignment: Assignment
    observer: Observer
    lease: str = ""
    """Under which it is away; empty while it isn't."""
    worker: str = ""
    """The address of the worker that took it up, as far as we heard."""
    attempts: int = 0
    tidied: bool = True
    """Whether nothing is left to be ended of workers that were lost."""
    cancelled: bool = False
    over: bool = False

    @property
    def task(self) -> Task:
        return self.assignment.task


class DaskExecutor(Listener):
    """Gives Tasks to a cluster, by their rank: at most `workers` at a time.

    With None, as many run as the cluster has threads, and some more are on their way to it.
    """

    def __init__(
        self, cluster: Cluster, storage: Storage, workers: int | None, retries: int
    ) -> None:
        self._cluster, self._storage, self._workers, self._retries = (
            cluster,
            storage,
            workers,
            retries,
        )
        self._leases = Leases(storage)
        self._tops = (storage.root, *storage.tops()[1:])
        self._clock, self._slow_clock = Clock(), Clock("behind")
        self._mailbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        # What follows is the thread's own.
        self._flights: dict[str, _Flight] = {}
        self._away: dict[str, _Flight] = {}
        """By the names of their leases."""
        self._queue: list[tuple[tuple[int, int], int, _Flight]] = []
        self._numbers = itertools.count()
        self._cancelled_early: set[str] = set()
        self._to_stop: list[str] = []
        self._places: dict[tuple[str, int], int] = {}
        """Worker and slot → the number by which events name it."""
        self._silent: set[str] = set()
        """Leases of Tasks that Dask was through with when we looked last."""
        self._closing = self._hurried = False
        cluster.listener = self

    # -- from any thread ---------------------------------------------------------------------------

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Queue the Task. Raises `Closed` on a closed executor."""
        with self._lock:
            if self._closed:
                raise Closed("the executor is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="gaia-local-dask", daemon=True
                )
                self._thread.start()
            self._mailbox.put(lambda: self._take(_Flight(assignment, observer)))

    def cancel(self, task_id: str) -> None:
        """Stop a running Task; keep a queued one, or one whose `submit` is still to come, from
        starting.
        """
        self._mailbox.put(lambda: self._cancel(task_id))

    def hurry(self) -> None:
        """Kill what is cancelled already, and what will be, at once. A signal handler may call it."""
        self._mailbox.put(self._hurry)

    def later(self, seconds: float, function: Callable[[], None]) -> object:
        """Have `function` called in that many seconds."""
        return self._clock.later(seconds, function)

    def behind(self, seconds: float, function: Callable[[], None]) -> None:
        """As `later`, in a thread of its own."""
        self._slow_clock.later(seconds, function)

    def close(self) -> None:
        """Cancel what is left, and return when no Task runs and no thread of this executor lives."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._mailbox.put(self._close)
        while thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(SIGNAL_ROUND)
        self._clock.close()
        self._slow_clock.close()

    # -- what the connection tells, from its threads -----------------------------------------------

    def heard(self, message: Mapping[str, Any]) -> None:
        self._mailbox.put(lambda: self._heard(message))

    def left(self, address: str) -> None:
        self._mailbox.put(lambda: self._left(address))

    def changed(self) -> None:
        self._mailbox.put(lambda: None)

    # -- the thread --------------------------------------------------------------------------------

    def _work(self) -> None:
        looked = time.monotonic()
        while not (self._closing and not self._flights):
            with contextlib.suppress(queue.Empty):
                letter = self._mailbox.get(timeout=LOOK_ROUND if self._flights else None)
                self._guarded(letter)
                while True:
                    self._guarded(self._mailbox.get_nowait())
            self._guarded(self._act)
            if time.monotonic() - looked >= LOOK_ROUND:
                self._guarded(self._look)
                looked = time.monotonic()

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:  # a defect of ours must not keep other Tasks from their ends
            logger.exception("the Dask executor failed")

    def _act(self) -> None:
        """Stop what is to be stopped, and give away what there is room for."""
        connection = self._cluster.connection
        if connection is None:
            if self._flights:
                self._interrupt()
            return
        if self._to_stop:
            leases, self._to_stop = self._to_stop, []
            connection.stop(
                leases, lambda answers: self._mailbox.put(lambda: self._stopped(leases, answers))
            )
            if self._hurried:
                connection.hurry()
        # Dask runs no more than it has threads for. Where that is the bound, the next ones wait
        # there already, by their rank, and are given away several at a time: the way to a worker
        # takes longer than a short Step.
        threads = max(1, sum(member.threads for member in connection.members))
        most, few = (
            (self._workers, self._workers - 1)
            if self._workers
            else (_MOST_WAITING * threads, _FEW_WAITING * threads)
        )
        if len(self._away) <= few:
            self._give(connection, most - len(self._away))

    def _take(self, flight: _Flight) -> None:
        self._flights[flight.task.id] = flight
        if self._closing or flight.task.id in self._cancelled_early:
            self._cancelled_early.discard(flight.task.id)
            self._end(flight, Outcome(TaskState.CANCELLED))
        else:
            self._wait(flight)

    def _wait(self, flight: _Flight) -> None:
        heapq.heappush(self._queue, (flight.assignment.rank, next(self._numbers), flight))

    def _give(self, connection: Connection, most: int) -> None:
        """Give away the first of the queue, at most so many."""
        alike: dict[Resources, tuple[Mapping[str, float], list[_Flight]]] = {}
        while self._queue and most > 0:
            flight = heapq.heappop(self._queue)[2]
            if flight.over:
                continue
            most -= 1
            try:
                wanted = flight.task.resources
                if wanted not in alike:
                    alike[wanted] = restrictions(connection.members, wanted) if wanted else {}, []
                name = f"{flight.task.id}.{flight.attempts + 1}"
                self._leases.make(name, flight.task)
            except (StorageError, RuntimeFailure) as error:
                self._end(
                    flight,
                    Outcome(
                        TaskState.EXCEPTION,
                        message=error_text(error),
                        exception=type(error).__name__,
                    ),
                )
                continue
            flight.attempts += 1
            flight.worker, flight.lease = "", name
            self._away[name] = flight
            alike[wanted][1].append(flight)
        for asked, flights in alike.values():
            if flights:
                self._submit(connection, flights, asked)

    def _submit(
        self, connection: Connection, flights: list[_Flight], asked: Mapping[str, float]
    ) -> None:
        first, second = flights[0].assignment.rank
        try:
            assignments = [pickle.dumps(each.assignment) for each in flights]
            connection.submit(
                [each.lease for each in flights], assignments, asked, -(first << 32) - second
            )
        except Exception as error:  # the client, as it loses its scheduler, may raise anything
            logger.exception(
                "Tasks could not be given to the Dask scheduler %s", self._cluster.where
            )
            failed = Outcome(
                TaskState.EXCEPTION, message=error_text(error), exception=type(error).__name__
            )
            for flight in flights:
                self._end(flight, failed if connection.alive else self._interrupted())

    def _cancel(self, task_id: str) -> None:
        flight = self._flights.get(task_id)
        if flight is None:
            self._cancelled_early.add(task_id)
        elif not flight.cancelled:
            flight.cancelled = True
            if flight.lease:
                self._leases.revoke(flight.lease)
                self._to_stop.append(flight.lease)
            elif flight.tidied:
                self._end(flight, Outcome(TaskState.CANCELLED))

    def _stopped(self, leases: Collection[str], answers: Mapping[str, Any]) -> None:
        """Workers were told to stop Tasks; what runs nowhere is over."""
        running = {
            lease: address
            for address, answer in answers.items()
            if isinstance(answer, list)
            for lease in answer
        }
        for lease in leases:
            flight = self._away.get(lease)
            if flight is not None and lease in running:
                flight.worker = running[lease]
            elif flight is not None:
                self._end(flight, Outcome(TaskState.CANCELLED, message=BY_REQUEST))

    def _hurry(self) -> None:
        self._hurried = True
        connection = self._cluster.connection
        if connection is not None:
            connection.hurry()

    def _close(self) -> None:
        self._closing = True
        for task_id in list(self._flights):
            self._cancel(task_id)

    # -- what becomes of a Task --------------------------------------------------------------------

    def _heard(self, message: Mapping[str, Any]) -> None:
        flight = self._away.get(message["lease"])
        if flight is None:
            logger.debug(
                "Task %s: worker %s reported its end too late", message["lease"], message["worker"]
            )
            return
        if message.get(
            "taken"
        ):  # Dask has given it to this worker after it lost the one that has it
            self._lose(flight)
            return
        flight.worker = message["worker"]
        if "refused" in message:
            self._end(
                flight,
                Outcome(
                    TaskState.EXCEPTION, message=message["refused"], exception="RuntimeFailure"
                ),
            )
        elif "not_leased" in message:
            words = f"worker {flight.worker} doesn't see the store: {message['not_leased']}"
            self._end(flight, Outcome(TaskState.EXCEPTION, message=words, exception="StorageError"))
        else:
            events, end = pickle.loads(message["happened"])
            for event in events:
                self._tell_event(flight, event, (flight.worker, message["slot"]))
            if end is not None:
                outcome, placed = end
                outputs = tuple(self._placed(flight.task, placed))
                self._end(flight, replace(outcome, outputs=outputs))

    def _placed(self, task: Task, placed: Iterable[Placed]) -> Iterator[Output]:
        """The outputs of a Task, where they are as this machine sees it."""
        for key, top, below, fingerprint in placed:
            target = self._storage.path(task.workflow, key)
            yield Output(key, f"{self._tops[top]}/{below}", target, fingerprint)

    def _tell_event(self, flight: _Flight, event: Event, place: tuple[str, int]) -> None:
        facts = {**event.facts, "id": flight.task.id} if "id" in event.facts else dict(event.facts)
        if event.event.begins:
            facts |= {
                "worker": self._places.setdefault(place, len(self._places) + 1),
                "host": place[0],
            }
            self._tell(flight, flight.observer.started, replace(event, facts=facts))
        else:
            self._tell(flight, flight.observer.happened, replace(event, facts=facts))

    def _look(self) -> None:
        """Look for Tasks that Dask is through with, without our having heard of their ends.

        NOTE: what is heard comes before the end of a Task does, but may still be in the mailbox: so
        look twice.
        """
        connection = self._cluster.connection
        ended = {} if connection is None else connection.ended()
        silent, self._silent = self._silent & ended.keys() & self._away.keys(), set(ended)
        for lease in silent:
            assert connection is not None
            flight, why = (
                self._away[lease],
                connection.why(lease) if ended[lease] == "error" else "",
            )
            if why:
                words = f"no worker could start it: {why}"
                self._end(
                    flight, Outcome(TaskState.EXCEPTION, message=words, exception="RuntimeFailure")
                )
            elif ended[lease] in ("finished", "error"):
                self._lose(flight)
            else:  # the scheduler doesn't know it any more
                self._end(flight, self._interrupted())

    def _left(self, address: str) -> None:
        for flight in [each for each in self._away.values() if each.worker == address]:
            self._lose(flight)

    def _lose(self, flight: _Flight) -> None:
        """The worker of a Task is lost: what it left is ended, then another is to perform the Task."""
        lease, worker = flight.lease, flight.worker
        logger.warning(
            "workflow %r, Step %r: worker %s died",
            flight.task.workflow,
            flight.task.name,
            worker or "unknown",
        )
        self._leases.revoke(lease)
        self._keep_log(flight)
        self._land(flight)
        flight.tidied = False
        connection = self._cluster.connection
        if connection is not None:
            connection.tidy(
                lease, lambda answers: self._mailbox.put(lambda: self._tidied(flight, worker))
            )

    def _tidied(self, flight: _Flight, worker: str) -> None:
        flight.tidied = True
        if flight.over:
            return
        if flight.cancelled:
            self._end(flight, Outcome(TaskState.CANCELLED))
        elif flight.attempts > self._retries:
            words = (
                f"its worker died, {flight.attempts} times (the last was {worker or 'unknown'}; "
            )
            words += f"dask.retries is {self._retries})"
            self._end(
                flight, Outcome(TaskState.EXCEPTION, message=words, exception="RuntimeFailure")
            )
        else:
            facts = {
                "id": flight.task.id,
                "task": flight.task.name,
                "host": worker,
                "attempt": flight.attempts,
            }
            lost = Event(EventKind.WORKER_LOST, flight.task.workflow, time.time(), facts)
            self._tell(flight, flight.observer.happened, lost)
            self._wait(flight)

    def _interrupt(self) -> None:
        """The connection is lost, and with it all that we might hear."""
        for flight in list(self._flights.values()):
            self._end(flight, self._interrupted())
        self._cluster.leave()

    def _interrupted(self) -> Outcome:
        return Outcome(
            TaskState.INTERRUPTED, message=f"the Dask scheduler {self._cluster.where} went away"
        )

    def _land(self, flight: _Flight) -> None:
        """The Task is away no more."""
        lease, flight.lease = flight.lease, ""
        del self._away[lease]
        connection = self._cluster.connection
        if connection is not None:
            connection.drop(lease)
        self._leases.end(lease)

    def _end(self, flight: _Flight, outcome: Outcome) -> None:
        flight.over = True
        del self._flights[flight.task.id]
        if flight.cancelled and outcome.state is not TaskState.CANCELLED:
            outcome = Outcome(TaskState.CANCELLED)
        if flight.lease:
            if outcome.state is TaskState.INTERRUPTED:
                self._leases.revoke(flight.lease)
            self._keep_log(flight)  # before anybody is told of the end, who may want to read it
        self._tell(flight, flight.observer.ended, outcome)
        if flight.lease:
            self._land(flight)

    def _keep_log(self, flight: _Flight) -> None:
        try:
            self._leases.keep_log(flight.lease, flight.task)
        except StorageError as error:
            logger.warning(
                "workflow %r, Step %r: %s", flight.task.workflow, flight.task.name, error
            )

    def _tell(self, flight: _Flight, tell: Callable[[Task, What], None], what: What) -> None:
        try:
            tell(flight.task, what)
        except Exception:  # a defect of the observer's must not cost other Tasks
            logger.exception(
                "workflow %r, Step %r: it could not be reported",
                flight.task.workflow,
                flight.task.name,
            )
