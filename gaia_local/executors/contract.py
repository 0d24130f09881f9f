"""What an executor is: where Tasks run, and who is told what becomes of them.

Contract of every executor. Each `submit` leads to exactly one `ended` of its observer, whatever
happens, from some thread of the executor's. The event that `started` gets says which worker took
the Task up: `worker`, from 1. `cancel` never blocks on the Task, and wins even when it arrives
before `submit`. `close` cancels what is left, waits until nothing runs, and is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event
from gaia_local.model.tasks import Task

SIGNAL_CHECK_SECONDS = 0.5
"""How long a wait of the main thread may be, in seconds. Python notices a signal that arrives just
before a wait begins only when that wait is over: one without an end would swallow a Ctrl-C now and
then.
"""


class Executor(Protocol):
    """Runs Tasks somewhere; the module says what it promises."""

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Have the Task performed as soon as there is room."""

    def cancel(self, task_id: str) -> None:
        """Stop a Task, or keep it from starting."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        """Have `function` called in that many seconds, in some thread; after `close` it may not be
        called.
        """

    def call_later_in_background(self, seconds: float, function: Callable[[], None]) -> None:
        """As `call_later`, for what takes its time: nothing else than others of its kind waits for it."""

    def close(self) -> None:
        """End everything."""

    def kill_now(self) -> None:
        """From now on, whatever is cancelled is killed without a grace. A signal handler may call
        it.
        """


class Observer(Protocol):
    """Is told what happens to Tasks, in the threads that perform them."""

    def started(self, task: Task, event: Event) -> None:
        """A worker takes the Task up: the events whose kind `begins`."""

    def happened(self, task: Task, event: Event) -> None:
        """All other events."""

    def ended(self, task: Task, outcome: Outcome) -> None:
        """The Task came to its end: told exactly once, and last."""
