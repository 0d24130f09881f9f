"""Where Tasks run: the executor interface, and the thread pool of this process.

Contract of every executor. Each `submit` leads to exactly one `ended` of its observer, whatever
happens, from some thread of the executor's. The event that `started` gets says which worker took
the Task up: `worker`, from 1. `cancel` never blocks on the Task, and wins even when it arrives
before `submit`. `close` cancels what is left, waits until nothing runs, and is idempotent.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeAlias

from gaia_local.assignment import Assignment, Outcome
from gaia_local.errors import Closed, told
from gaia_local.model import Event, Task, TaskState
from gaia_local.resources import Capacity
from gaia_local.runtime import BY_REQUEST, Cancellation
from gaia_local.worker import Observer

logger = logging.getLogger("gaia_local")

SIGNAL_ROUND = 0.5
"""How long a wait of the main thread may be, in seconds. Python notices a signal that arrives just before a wait begins
only when that wait is over: one without an end would swallow a Ctrl-C now and then."""

Perform = Callable[[Assignment, Cancellation, Observer], None]


class Executor(Protocol):
    """Runs Tasks somewhere; the module says what it promises."""

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Have the Task performed as soon as there is room."""

    def cancel(self, task_id: str) -> None:
        """Stop a Task, or keep it from starting."""

    def later(self, seconds: float, function: Callable[[], None]) -> object:
        """Have `function` called in that many seconds, in some thread; after `close` it may not be called."""

    def behind(self, seconds: float, function: Callable[[], None]) -> None:
        """As `later`, for what takes its time: nothing else than others of its kind waits for it."""

    def close(self) -> None:
        """End everything."""

    def hurry(self) -> None:
        """From now on, whatever is cancelled is killed without a grace. A signal handler may call it."""


class Clock:
    """Calls functions later, from one thread, which is born with the first order and lives until `close`."""

    def __init__(self, name: str = "clock") -> None:
        self._name = f"gaia-local-{name}"
        self._condition = threading.Condition()
        self._orders: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._numbers = itertools.count()
        self._stale = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Have `function` called in that many seconds; returns what takes the order back (a second time is fine)."""
        box = [function]
        with self._condition:
            order = (time.monotonic() + min(seconds, threading.TIMEOUT_MAX / 2), next(self._numbers), box)
            heapq.heappush(self._orders, order)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._tick, name=self._name, daemon=True)
                self._thread.start()
            elif self._orders[0] is order:
                self._condition.notify()

        def take_back() -> None:
            with self._condition:
                if box:
                    box.clear()
                    self._stale += 1
                    if self._stale > 64 and self._stale > len(self._orders) // 2:
                        self._orders = [each for each in self._orders if each[2]]
                        heapq.heapify(self._orders)
                        self._stale = 0

        return take_back

    def close(self) -> None:
        """Forget all orders and end the thread."""
        with self._condition:
            self._closed = True
            self._orders.clear()
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _tick(self) -> None:
        while True:
            with self._condition:
                while not self._closed and (not self._orders or self._orders[0][0] > time.monotonic()):
                    self._condition.wait(self._orders[0][0] - time.monotonic() if self._orders else None)
                if self._closed:
                    return
                box = heapq.heappop(self._orders)[2]
                function = box.pop() if box else None
                self._stale -= function is None
            if function is not None:
                try:
                    function()
                except Exception:  # other orders are none the worse for it
                    logger.exception("an order of the clock failed")


_Waiting: TypeAlias = "tuple[tuple[int, int], int, Assignment, Cancellation, Observer]"


class _Relay:
    """Passes on what happens to one Task, until it ended. Implements `Observer`."""

    def __init__(self, observer: Observer, worker: int) -> None:
        self._observer, self._worker = observer, worker
        self._over = False

    def started(self, task: Task, event: Event) -> None:
        if not self._over:
            facts = {**event.facts, "worker": self._worker}
            self._observer.started(task, replace(event, facts=facts))

    def happened(self, task: Task, event: Event) -> None:
        if not self._over:
            self._observer.happened(task, event)

    def ended(self, task: Task, outcome: Outcome) -> None:
        if not self._over:
            self._over = True
            self._observer.ended(task, outcome)


class ThreadExecutor:
    """Runs Tasks in at most `workers` threads of this process, by their rank, then in the order of their submission.

    A Task whose `resources` aren't there waits until they are, and those behind it wait, too: it would never start
    otherwise. The threads are daemons: a script's end is handled by `Gaia.close`, which waits or halts.
    """

    def __init__(self, workers: int, perform: Perform, grace: float, capacity: Capacity | None = None) -> None:
        """`perform` runs one Task; `grace` is the time in seconds between SIGTERM and SIGKILL.

        `capacity` is what Tasks may take together, by default what this machine has.
        """
        self._workers, self._perform, self._grace = workers, perform, grace
        self._capacity = Capacity.of_this_machine() if capacity is None else capacity
        self._clock, self._slow_clock = Clock(), Clock("behind")
        self._condition = threading.Condition()
        self._queue: list[_Waiting] = []
        self._numbers = itertools.count()
        self._cancellations: dict[str, Cancellation] = {}
        self._cancelled_early: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._hurried = False

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Queue the Task. Raises `Closed` on a closed executor."""
        task = assignment.task
        with self._condition:
            if self._closed:
                raise Closed("the executor is closed")
            cancellation = Cancellation(self._clock.later, self._grace)
            if task.id in self._cancelled_early:
                self._cancelled_early.remove(task.id)
                cancellation.cancel(BY_REQUEST)
            self._cancellations[task.id] = cancellation
            heapq.heappush(self._queue, (assignment.rank, next(self._numbers), assignment, cancellation, observer))
            if len(self._queue) > self._idle and len(self._threads) < self._workers:
                number = len(self._threads) + 1
                name = f"gaia-local-worker-{number}"
                thread = threading.Thread(target=self._work, args=(number,), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
            else:
                self._condition.notify()

    def cancel(self, task_id: str) -> None:
        """Stop a running Task; keep a queued one, or one whose `submit` is still to come, from starting."""
        with self._condition:
            cancellation = self._cancellations.get(task_id)
            if cancellation is None:
                self._cancelled_early.add(task_id)
                return
        self._stop(cancellation)
        with self._condition:
            self._condition.notify()  # it may wait for resources, and needs none any more

    def hurry(self) -> None:
        """Kill what is cancelled already, and what will be, at once.

        NOTE: a signal handler runs in the midst of the main thread, which may hold any lock: so the work is a thread's.
        """
        self._hurried = True
        thread = threading.Thread(target=self._kill_cancelled, name="gaia-local-hurry", daemon=True)
        self._threads.append(thread)
        thread.start()

    def later(self, seconds: float, function: Callable[[], None]) -> object:
        """Have `function` called in that many seconds."""
        return self._clock.later(seconds, function)

    def behind(self, seconds: float, function: Callable[[], None]) -> None:
        """As `later`, in a thread of its own."""
        self._slow_clock.later(seconds, function)

    def close(self) -> None:
        """Cancel what is left, and return when no Task runs and no thread of this executor lives."""
        with self._condition:
            self._closed = True
            left = list(self._cancellations.values())
            self._condition.notify_all()
        for cancellation in left:
            self._stop(cancellation)
        for thread in self._threads:
            while thread.is_alive() and thread is not threading.current_thread():
                thread.join(SIGNAL_ROUND)
        self._clock.close()
        self._slow_clock.close()

    def _stop(self, cancellation: Cancellation) -> None:
        cancellation.cancel(BY_REQUEST)
        if self._hurried:
            cancellation.hurry()

    def _kill_cancelled(self) -> None:
        with self._condition:
            cancellations = list(self._cancellations.values())
        for cancellation in cancellations:
            cancellation.hurry()

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
                if self._closed:  # it has not come to this one yet
                    cancellation.cancel(BY_REQUEST)
                self._capacity.take(task.resources)
            try:
                self._perform_one(assignment, cancellation, _Relay(observer, number))
            except Exception:  # a defect of the observer's must not cost a worker
                logger.exception("workflow %r, Step %r: its end could not be reported", task.workflow, task.name)
            finally:
                with self._condition:
                    del self._cancellations[task.id]
                    if task.resources:
                        self._capacity.give_back(task.resources)
                        self._condition.notify_all()

    def _next(self) -> _Waiting | None:
        """Take the first of the queue, where there is one and it can start, or has no need to."""
        if not self._queue:
            return None
        _, _, assignment, cancellation, _ = self._queue[0]
        wanted = assignment.task.resources
        if not wanted or cancellation.reason is not None or self._capacity.fits(wanted) or self._capacity.lack(wanted):
            return heapq.heappop(self._queue)
        for waiting in self._queue:
            if waiting[3].reason is not None:
                self._queue.remove(waiting)
                heapq.heapify(self._queue)
                return waiting
        return None

    def _perform_one(self, assignment: Assignment, cancellation: Cancellation, relay: _Relay) -> None:
        task = assignment.task
        try:
            if (lack := self._capacity.lack(task.resources)) is not None:
                relay.ended(task, Outcome(TaskState.EXCEPTION, message=lack, exception="RuntimeFailure"))
            elif cancellation.reason is None:
                self._perform(assignment, cancellation, relay)
        except Exception as error:  # a defect of ours: the workflow must hear of it, or it would wait for ever
            logger.exception("workflow %r, Step %r: the engine failed", task.workflow, task.name)
            message = f"the engine failed: {told(error)}"
            relay.ended(task, Outcome(TaskState.EXCEPTION, message=message, exception=type(error).__name__))
        relay.ended(task, Outcome(TaskState.CANCELLED))
