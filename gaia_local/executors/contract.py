"""The contract of executors, which run Tasks and report to their observers.

Contract of every executor. Each `submit` leads to exactly one `ended` of its observer in all cases,
from some thread of the executor's. The event passed to `started` has the number of the Task's
worker: `worker`, from 1. `cancel` never blocks on the Task, and wins even when it arrives before
`submit`. `close` cancels all Tasks, waits until none runs, and is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event
from gaia_local.model.tasks import Task

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage


class Executor(Protocol):
    """Runs Tasks; its promises are in the module's docstring."""

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Have the Task performed as soon as there is room."""

    def cancel(self, task_id: str) -> None:
        """Stop a Task, or keep it from starting."""

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        """Have `function` called in that many seconds, in some thread, unless closed before."""

    def call_later_in_background(self, seconds: float, function: Callable[[], None]) -> None:
        """As `call_later`, for slow functions: only others of them wait for one."""

    def close(self) -> None:
        """End everything."""

    def kill_now(self) -> None:
        """Kill cancelled Tasks without a grace, from now on."""


class Observer(Protocol):
    """Receives the events and ends of Tasks, in the threads that perform them."""

    def started(self, task: Task, event: Event) -> None:
        """A worker takes the Task up: the events whose kind `begins`."""

    def happened(self, task: Task, *events: Event) -> None:
        """All other events; those that come together in one call."""

    def progressed(self, task: Task, doing: str) -> None:
        """What is done with the Task's files for more than a second, as "reading input 'a': …".

        It holds until the next event, or until it is told anew.
        """

    def sampled(self, task: Task, usage: LiveUsage) -> None:
        """What the Task's run took so far; one that isn't short is looked at each second.

        It may come late, and even after the end.
        """

    def ended(self, task: Task, outcome: Outcome) -> None:
        """The Task ended: called exactly once, and last."""
