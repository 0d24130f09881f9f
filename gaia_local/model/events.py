"""Events of Tasks and workflows, under the names of the server and its worker."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry


class EventKind(enum.StrEnum):
    """The kinds of events, under the names of the server and its worker."""

    STEP_START = "step-start"
    """A worker begins a Task."""
    STEP_ADOPTED = "step-adopted"
    """A worker resumes a Task of an earlier engine."""
    STEP_REUSED = "step-reused"
    """A Task is given the results of an earlier one, and doesn't run."""
    CONTAINER_CREATE = "container-create"
    EXECUTION_START = "execution-start"
    EXECUTION_COMPLETE = "execution-complete"
    CONTAINER_EXIT = "container-exit"
    """The program ended, also one that ran without a container."""
    WORKER_LOST = "worker-lost"
    """The worker of a cluster that ran a Task died; another will run it."""
    DATA_COMPLETE = "data-complete"
    STEP_COMPLETE = "step-complete"
    STEP_ERROR = "step-error"
    """The command failed."""
    TASK_ERROR = "task-error"
    """The command could not be run."""
    STEP_TERMINATED = "step-terminated"
    FLOW_COMPLETE = "flow-complete"
    FLOW_INCOMPLETE = "flow-incomplete"
    FLOW_HALTED = "flow-halted"

    @property
    def written_at_once(self) -> bool:
        """Whether it is written before its Task ends.

        A runtime whose runs outlive the engine needs it at once, to resume the Task.
        """
        return self is EventKind.STEP_START or self is EventKind.EXECUTION_START

    @property
    def begins(self) -> bool:
        """Whether it is the first of a Task; a worker's holds its number."""
        return self in _BEGINNINGS


_BEGINNINGS = (EventKind.STEP_START, EventKind.STEP_ADOPTED, EventKind.STEP_REUSED)


class Event(NamedTuple):
    """One event; `facts` has the further fields of its kind."""

    event: EventKind
    workflow: str
    time: float
    """Seconds since the epoch."""
    facts: Mapping[str, Any]

    def wire(self) -> EventEntry:
        """The event as `Gaia.events` answers it."""
        what = {"event": self.event.value, "workflow": self.workflow, "time": self.time}
        return cast("EventEntry", {**what, **self.facts})
