"""A worker's reports of a Task to the engine, in messages of Dask's."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from gaia_local.model.assignment import Outcome, Output
from gaia_local.model.events import Event
from gaia_local.model.tasks import Fingerprint, Task, TaskState
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Cancellation

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage

SAMPLE_SECONDS = 5.0
"""The least time between two reports of what a Task took so far: nobody may look at them."""

LeasedOutput: TypeAlias = "tuple[str, int, str, Fingerprint]"
"""An output in a lease: its key, the number of a top directory (0: the root, then the buckets), and
the path below that.
"""


class Host(Protocol):
    """The Dask worker that a Task runs on."""

    address: str

    def log_event(self, topic: str, message: dict[str, Any], /) -> None:
        """Send a message to the listeners of a topic."""


@dataclass(eq=False)
class TaskRun:
    """A Task that this process performs."""

    lease: str
    cancellation: Cancellation
    worker: Host
    slot: int
    """The lowest number from 1 that no other Task of this worker has."""
    lost: bool = False
    """Whether the engine no longer waits for its end: then nothing is sent."""


class TaskReporter:
    """Sends the engine the events and the end of one Task. Implements `Observer`.

    Events are sent a little later, the outcome at once, and nothing after it.
    """

    def __init__(
        self,
        run: TaskRun,
        topic: str,
        tops: tuple[Path, ...],
        flush_soon: Callable[[TaskReporter], None],
    ) -> None:
        """`flush_soon` schedules a call of `flush`."""
        self._run, self._topic, self._flush_soon = run, topic, flush_soon
        # The root comes last: a bucket may be inside it.
        self._tops = [(number, f"{top}/") for number, top in enumerate(tops)][::-1]
        self._lock = threading.Lock()
        self._events: list[Event] = []
        """Those that are still to be sent."""
        self._end: tuple[Outcome, list[LeasedOutput]] | None = None
        self._flush_is_due = False
        self._over = False
        self._next_sample = 0.0
        self.failed = False
        """Whether the Task ended in another state than `COMPLETE`."""

    def started(self, task: Task, event: Event) -> None:
        self.happened(task, event)

    def happened(self, task: Task, *events: Event) -> None:
        with self._lock:
            if self._over:
                return
            self._events += events
            if self._flush_is_due:
                return
            self._flush_is_due = True
        self._flush_soon(self)

    def progressed(self, task: Task, doing: str) -> None:
        self.flush()  # it must not overtake the events before it
        with self._lock:
            if not self._over:
                self._send({"doing": doing})

    def sampled(self, task: Task, usage: LiveUsage) -> None:
        with self._lock:
            now = monotonic()
            if not self._over and now >= self._next_sample:
                self._next_sample = now + SAMPLE_SECONDS
                self._send({"usage": (usage["memory"], usage["cpu"])})

    def ended(self, task: Task, outcome: Outcome) -> None:
        with self._lock:
            if self._over:
                return
            self._over, self.failed = True, outcome.state is not TaskState.COMPLETE
            leased = [self._leased_output(output) for output in outcome.outputs]
            self._end = replace(outcome, outputs=()), leased
        self.flush()

    def send_last(self, **facts: Any) -> None:
        """Send this, and nothing more."""
        with self._lock:
            self._over = True
        self._send(facts)

    def flush(self) -> None:
        """Send the events and the outcome that wait."""
        with self._lock:
            events, end = self._events, self._end
            self._events, self._end, self._flush_is_due = [], None, False
            if events or end is not None:  # under the lock, so that the messages keep their order
                self._send({"happened": pickle.dumps((events, end))})

    def _send(self, facts: dict[str, Any]) -> None:
        if not self._run.lost:
            send(self._run.worker, self._topic, self._run.lease, slot=self._run.slot, **facts)

    def _leased_output(self, output: Output) -> LeasedOutput:
        for number, top in self._tops:
            if output.source.startswith(top):
                return output.key, number, output.source[len(top) :], output.fingerprint
        raise AssertionError(f"{output.source} lies in no top directory")


def send(worker: Host, topic: str, lease: str, **facts: Any) -> None:
    """Send the engine a message about a Task."""
    worker.log_event(topic, {"lease": lease, "worker": worker.address, **facts})
