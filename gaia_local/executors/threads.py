"""The executor `threads`: Tasks run in a pool of threads of this process."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeAlias

from gaia_local import interrupts
from gaia_local.errors import Closed, GaiaError, error_text
from gaia_local.executors.clock import Clock
from gaia_local.executors.contract import Observer
from gaia_local.executors.machine import capacity_of_this_machine
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event
from gaia_local.model.resources import Capacity, Resources
from gaia_local.model.tasks import BY_REQUEST, Task, TaskState
from gaia_local.runtimes.contract import Cancellation

logger = logging.getLogger("gaia_local")

Perform = Callable[[Assignment, Cancellation, Observer], None]


_Waiting: TypeAlias = "tuple[tuple[int, int], int, Assignment, Cancellation, Observer]"


class _Relay:
    """Passes on the events of one Task, until it ended. Implements `Observer`."""

    def __init__(self, observer: Observer, worker: int) -> None:
        self._observer, self._worker = observer, worker
        self._over = False

    def started(self, task: Task, event: Event) -> None:
        if not self._over:
            facts = {**event.facts, "worker": self._worker}
            self._observer.started(task, Event(event.event, event.workflow, event.time, facts))

    def happened(self, task: Task, event: Event) -> None:
        if not self._over:
            self._observer.happened(task, event)

    def ended(self, task: Task, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            self._observer.ended(task, outcome)


class ThreadExecutor:
    """Runs Tasks in at most `workers` threads, by their rank, then by their submission.

    A Task waits until its `resources` are free, and the Tasks behind it wait, too: otherwise it
    might never start. The threads are daemons: a script's end is handled by `Gaia.close`, which
    waits or halts.
    """

    def __init__(
        self,
        workers: int,
        perform: Perform,
        grace: float,
        capacity: Capacity | None = None,
        gpus_of: Callable[[str], Collection[str]] = lambda task_id: (),
    ) -> None:
        """`perform` runs one Task; `grace` is the time in seconds between SIGTERM and SIGKILL.

        `capacity` is the sum of all Tasks' resources, by default this machine's. `gpus_of` answers
        which GPUs the Task of an earlier engine has.
        """
        self._workers, self._perform, self._grace = workers, perform, grace
        self._capacity = capacity_of_this_machine() if capacity is None else capacity
        self._gpus_of = gpus_of
        self._clock, self._background_clock = Clock(), Clock("background")
        self._condition = threading.Condition()
        self._queue: list[_Waiting] = []
        self._numbers = itertools.count()
        self._cancellations: dict[str, Cancellation] = {}
        self._cancelled_early: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._kills_now = False

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Queue the Task. Raises `Closed` on a closed executor."""
        task = assignment.task
        if assignment.adopted and task.resources.gpus:  # its program has them from before
            assignment = replace(assignment, gpus=self._gpus_held(task))
        with self._condition:
            if self._closed:
                raise Closed("the executor is closed")
            self._capacity.take_gpus(assignment.gpus)
            cancellation = Cancellation(self._clock.call_later, self._grace)
            if task.id in self._cancelled_early:
                self._cancelled_early.remove(task.id)
                cancellation.cancel(BY_REQUEST)
            self._cancellations[task.id] = cancellation
            heapq.heappush(
                self._queue,
                (assignment.rank, next(self._numbers), assignment, cancellation, observer),
            )
            if len(self._queue) > self._idle and len(self._threads) < self._workers:
                number = len(self._threads) + 1
                name = f"gaia-local-worker-{number}"
                thread = threading.Thread(target=self._work, args=(number,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
            else:
                self._condition.notify()

    def cancel(self, task_id: str) -> None:
        """Stop a running Task; keep one from starting that is queued, or is yet to be submitted."""
        with self._condition:
            cancellation = self._cancellations.get(task_id)
            if cancellation is None:
                self._cancelled_early.add(task_id)
                return
        self._stop(cancellation)
        with self._condition:
            self._condition.notify()  # it may wait for resources, and needs none any more

    def kill_now(self) -> None:
        """Kill cancelled Tasks at once, from now on."""
        self._kills_now = True
        with self._condition:
            cancellations = list(self._cancellations.values())
        for cancellation in cancellations:
            cancellation.kill_now()

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        """Have `function` called in that many seconds."""
        return self._clock.call_later(seconds, function)

    def call_later_in_background(self, seconds: float, function: Callable[[], None]) -> None:
        """As `call_later`, in a thread of its own."""
        self._background_clock.call_later(seconds, function)

    def close(self) -> None:
        """Cancel all Tasks; return when none runs and no thread of this executor lives."""
        with self._condition:
            self._closed = True
            cancellations = list(self._cancellations.values())
            self._condition.notify_all()
        for cancellation in cancellations:
            self._stop(cancellation)
        for thread in self._threads:
            if thread is not threading.current_thread():
                interrupts.join(thread)
        self._clock.close()
        self._background_clock.close()

    def _stop(self, cancellation: Cancellation) -> None:
        cancellation.cancel(BY_REQUEST)
        if self._kills_now:
            cancellation.kill_now()

    def _work(self, number: int) -> None:
        while True:
            with self._condition:
                self._idle += 1
                while (waiting := self._next()) is None and not (self._closed and not self._queue):
                    self._condition.wait()
                self._idle -= 1
                if waiting is None:
                    return
                _, _, assignment, cancellation, observer = waiting
                task = assignment.task
                if self._closed:  # `close` may not have cancelled this one yet
                    cancellation.cancel(BY_REQUEST)
                gpus = self._capacity.take(_unmet(assignment)) or assignment.gpus
                if gpus:
                    assignment = replace(assignment, gpus=gpus)
            try:
                self._perform_one(assignment, cancellation, _Relay(observer, number))
            except Exception:  # a defect of the observer's must not cost a worker
                logger.exception(
                    "workflow %r, Step %r: its end could not be reported", task.workflow, task.name
                )
            finally:
                with self._condition:
                    del self._cancellations[task.id]
                    if task.resources:
                        self._capacity.give_back(task.resources, gpus)
                        self._condition.notify_all()

    def _next(self) -> _Waiting | None:
        """Take the first one if it can start, or end at once; else a cancelled one, if any."""
        if not self._queue:
            return None
        _, _, assignment, cancellation, _ = self._queue[0]
        wanted = assignment.task.resources
        if (
            not wanted
            or cancellation.reason is not None
            or self._capacity.fits(_unmet(assignment))
            or self._capacity.shortage(wanted)
        ):
            return heapq.heappop(self._queue)
        for waiting in self._queue:
            if waiting[3].reason is not None:
                self._queue.remove(waiting)
                heapq.heapify(self._queue)
                return waiting
        return None

    def _gpus_held(self, task: Task) -> tuple[str, ...]:
        try:
            return tuple(self._gpus_of(task.id))
        except GaiaError as error:
            logger.warning("workflow %r, Step %r: %s", task.workflow, task.name, error_text(error))
            return ()

    def _perform_one(
        self, assignment: Assignment, cancellation: Cancellation, relay: _Relay
    ) -> None:
        task = assignment.task
        try:
            if (shortage := self._capacity.shortage(task.resources)) is not None:
                relay.ended(
                    task, Outcome(TaskState.EXCEPTION, message=shortage, exception="RuntimeFailure")
                )
            elif cancellation.reason is None:
                self._perform(assignment, cancellation, relay)
        except Exception as error:  # a defect here: without an end, its workflow would wait
            logger.exception("workflow %r, Step %r: the engine failed", task.workflow, task.name)
            message = f"the engine failed: {error_text(error)}"
            relay.ended(
                task, Outcome(TaskState.EXCEPTION, message=message, exception=type(error).__name__)
            )
        relay.ended(task, Outcome(TaskState.CANCELLED))


def _unmet(assignment: Assignment) -> Resources:
    """The resources that a Task still needs: not the GPUs that it has."""
    wanted = assignment.task.resources
    return replace(wanted, gpus=None) if assignment.gpus else wanted
