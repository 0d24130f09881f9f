"""What happens to Tasks and workflows, in the words of the server and its worker."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry


class EventKind(enum.StrEnum):
    """What can happen, under the names that the server and the worker give it."""

    STEP_START = "step-start"
    """A worker takes a Task up."""
    STEP_ADOPTED = "step-adopted"
    """A worker takes up what an earlier engine left of a Task."""
    CONTAINER_CREATE = "container-create"
    EXECUTION_START = "execution-start"
    EXECUTION_COMPLETE = "execution-complete"
    CONTAINER_EXIT = "container-exit"
    """Whatever ran it: the program ended."""
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

        That is at once where the run may outlive this process, and whoever takes it up needs it.
        """
        return self in (EventKind.STEP_START, EventKind.EXECUTION_START)

    @property
    def begins(self) -> bool:
        """Whether it says that a worker takes a Task up, and so bears the worker's number."""
        return self in (EventKind.STEP_START, EventKind.STEP_ADOPTED)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `facts` are what this kind of event carries."""

    event: EventKind
    workflow: str
    time: float
    """Seconds since the epoch."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def wire(self) -> EventEntry:
        """The event as `Gaia.events` answers it."""
        what = {"event": self.event.value, "workflow": self.workflow, "time": self.time}
        return cast("EventEntry", {**what, **self.facts})
