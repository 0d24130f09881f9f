"""The executor `threads`: Tasks run in a pool of threads of this process."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gaia_local import interrupts
from gaia_local.errors import Closed, GaiaError, error_text
from gaia_local.executors.clock import Clock
from gaia_local.executors.contract import Observer
from gaia_local.executors.fair_queue import FairQueue, QueuedTask
from gaia_local.executors.machine import capacity_of_this_machine
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event
from gaia_local.model.resources import NONE, Capacity, Resources
from gaia_local.model.tasks import BY_REQUEST, Task, TaskState
from gaia_local.runtimes.contract import Cancellation

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage

logger = logging.getLogger("gaia_local")

Perform = Callable[[Assignment, Cancellation, Observer], None]


@dataclass(eq=False, slots=True)
class _QueuedTask(QueuedTask):
    cancellation: Cancellation
    shortage: str | None
    """A sentence if this machine has too little for it."""
    request: bool
    """Whether it asks for resources that this machine has, free or not."""

    def starts_with_resources(self) -> bool:
        """Whether it takes its resources: not if it ends at once."""
        return self.request and self.cancellation.reason is None


class _Relay:
    """Passes on the events of one Task, until it ended. Implements `Observer`."""

    def __init__(self, observer: Observer, worker: int) -> None:
        self._observer, self._worker = observer, worker
        self._over = False

    def started(self, task: Task, event: Event) -> None:
        if not self._over:
            facts = {**event.facts, "worker": self._worker}
            self._observer.started(task, Event(event.event, event.workflow, event.time, facts))

    def happened(self, task: Task, *events: Event) -> None:
        if not self._over:
            self._observer.happened(task, *events)

    def progressed(self, task: Task, doing: str) -> None:
        if not self._over:
            self._observer.progressed(task, doing)

    def sampled(self, task: Task, usage: LiveUsage) -> None:
        if not self._over:
            self._observer.sampled(task, usage)

    def ended(self, task: Task, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            self._observer.ended(task, outcome)


class ThreadExecutor:
    """Runs Tasks in at most `workers` threads, in the order of the `FairQueue`.

    A Task whose turn it is and whose `resources` aren't free is the *next request*: it waits until
    they are, and then starts before all others. Meanwhile no other Task with a request starts:
    otherwise the waiting one might never start. Tasks without requests go on taking turns. Tasks
    that were cancelled before they started end before any other starts.

    The threads are daemons: a script's end is handled by `Gaia.close`, which waits or halts.
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
        self._queue: FairQueue[_QueuedTask] = FairQueue()
        self._next_request: _QueuedTask | None = None
        self._cancelled: deque[_QueuedTask] = deque()
        """Those that never started, and whose ends weren't reported yet."""
        self._tasks: dict[str, _QueuedTask] = {}
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
            asks = bool(task.resources)
            shortage = self._capacity.shortage(task.resources) if asks else None
            request = asks and shortage is None
            queued = _QueuedTask(assignment, observer, cancellation, shortage, request)
            self._tasks[task.id] = queued
            self._queue.put(queued, request)
            if len(self._queue) <= self._idle or len(self._threads) >= self._workers:
                self._condition.notify()
                return
            refusal = self._start_worker()
            if refusal is None or self._threads:
                return
            self._queue.forget(queued)
            self._capacity.give_back(NONE, assignment.gpus)
            del self._tasks[task.id]
        message = f"no thread can be started for it ({refusal}): see `ulimit -u`"
        observer.ended(
            task, Outcome(TaskState.EXCEPTION, message=message, exception="RuntimeFailure")
        )

    def cancel(self, task_id: str) -> None:
        """Stop a running Task; keep one from starting that is queued, or is yet to be submitted."""
        with self._condition:
            queued = self._tasks.get(task_id)
            if queued is None:
                self._cancelled_early.add(task_id)
                return
        self._stop(queued.cancellation)
        with self._condition:
            if queued.waits or queued is self._next_request:
                self._queue.forget(queued)
                self._cancelled.append(queued)
                if queued is self._next_request:
                    self._next_request = None
                    self._condition.notify_all()  # others that ask for resources have their turn
                else:
                    self._condition.notify()

    def kill_now(self) -> None:
        """Kill cancelled Tasks at once, from now on."""
        self._kills_now = True
        with self._condition:
            cancellations = [queued.cancellation for queued in self._tasks.values()]
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
            cancellations = [queued.cancellation for queued in self._tasks.values()]
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

    def _start_worker(self) -> RuntimeError | None:
        """Start one more thread; the error if the system refuses: then no more are tried."""
        number = len(self._threads) + 1
        name = f"gaia-local-worker-{number}"
        thread = threading.Thread(target=self._work, args=(number,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if self._threads:
                logger.warning(
                    "%d instead of %d Steps run at a time: %s (see `ulimit -u`)",
                    len(self._threads),
                    self._workers,
                    error,
                )
                self._workers = len(self._threads)
                self._condition.notify()
            return error
        self._threads.append(thread)
        return None

    def _work(self, number: int) -> None:
        while True:
            with self._condition:
                self._idle += 1
                while (queued := self._next()) is None and not (self._closed and not self._waits()):
                    self._condition.wait()
                self._idle -= 1
                if queued is None:
                    return
                task = queued.assignment.task
                if self._closed:  # `close` may not have cancelled this one yet
                    queued.cancellation.cancel(BY_REQUEST)
                holds = task.resources if queued.starts_with_resources() else NONE
                gpus = queued.assignment.gpus
                if holds:
                    gpus = self._capacity.take(_unmet(queued.assignment)) or gpus
                    queued.assignment = replace(queued.assignment, gpus=gpus)
            try:
                self._perform_one(queued, _Relay(queued.observer, number))
            except Exception:  # a defect of the observer's must not cost a worker
                logger.exception(
                    "workflow %r, Step %r: its end could not be reported", task.workflow, task.name
                )
            finally:
                with self._condition:
                    del self._tasks[task.id]
                    self._queue.forget(queued)
                    if holds or gpus:
                        self._capacity.give_back(holds, gpus)
                        self._condition.notify_all()

    def _waits(self) -> bool:
        """Whether any Task waits for a worker."""
        return bool(self._queue or self._cancelled or self._next_request)

    def _next(self) -> _QueuedTask | None:
        """Take the Task that starts, or ends, next; None if none waits, or none can start."""
        if self._cancelled:
            return self._cancelled.popleft()
        if self._next_request is None:
            queued = self._queue.take()
            if queued is None or not queued.request:
                return queued
            self._next_request = queued
        queued = self._next_request
        if self._closed or self._capacity.fits(_unmet(queued.assignment)):
            self._next_request = None
            return queued
        return self._queue.take(requests=False)

    def _gpus_held(self, task: Task) -> tuple[str, ...]:
        try:
            return tuple(self._gpus_of(task.id))
        except GaiaError as error:
            logger.warning("workflow %r, Step %r: %s", task.workflow, task.name, error_text(error))
            return ()

    def _perform_one(self, queued: _QueuedTask, relay: _Relay) -> None:
        task = queued.assignment.task
        try:
            if queued.shortage is not None:
                outcome = Outcome(
                    TaskState.EXCEPTION, message=queued.shortage, exception="RuntimeFailure"
                )
                relay.ended(task, outcome)
            elif queued.cancellation.reason is None:
                self._perform(queued.assignment, queued.cancellation, relay)
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
    return wanted._replace(gpus=None) if assignment.gpus else wanted
