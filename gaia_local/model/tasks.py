"""A Task, which is one attempt at a Step: its definition, its state, fingerprints of its files."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from gaia_local.model.resources import NONE, Resources

if TYPE_CHECKING:
    from gaia_local.model.answer_types import ReusedEntry, TaskEntry


NO_KEYS: frozenset[str] = frozenset()
"""One set for all Tasks that read no outside file, instead of one for each."""


def new_task_id() -> str:
    """128 random bits, in hexadecimal digits."""
    return os.urandom(16).hex()


class TaskState(enum.StrEnum):
    """The state of a Task: one attempt at a Step."""

    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"
    """The command failed."""
    EXCEPTION = "exception"
    """The command could not be run."""
    CANCELLED = "cancelled"
    """Stopped by `halt`, `expire`, `merge`, `command`, `delete` or a changed input."""
    INTERRUPTED = "interrupted"
    """The engine ended while it ran, or lost the cluster that ran it."""


DOUBTFUL = "?"
"""The suffix of a quick fingerprint that must match no later one: a change could go unnoticed."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of a file or tree: `quick` from names, sizes, times, inodes; `digest` from the contents."""

    quick: str
    digest: str
    listing: bytes | None = field(default=None, compare=False, repr=False)
    """The entries of a directory, with a digest of each; see `fingerprints`."""

    @property
    def looked_like(self) -> str:
        """`quick`, without the mark of doubt."""
        return self.quick.removesuffix(DOUBTFUL)


class Task(NamedTuple):
    """One Step made concrete: all that defines a run. `Assignment` adds the data of one run."""

    id: str
    name: str
    """The Step's name."""
    workflow: str
    image: str
    command: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    """Pairs of storage key and internal path."""
    outputs: tuple[tuple[str, str], ...]
    stdout: str | None
    timeout: float
    reason: str = "new"
    """The reason for the run, as a sentence."""
    external: frozenset[str] = NO_KEYS
    """Inputs that no Step makes: links among them are the user's, and are followed."""
    resources: Resources = NONE
    reusable: bool = True
    """Whether its results may be reused, and it may be given those of another Task."""

    def wire(self, state: str) -> TaskEntry:
        """The Task as `status` with debug answers it."""
        return {
            "id": self.id,
            "name": self.name,
            "workflow": self.workflow,
            "image": self.image,
            "command": list(self.command),
            "inputs": [list(pair) for pair in self.inputs],
            "outputs": [list(pair) for pair in self.outputs],
            "timeout": self.timeout,
            "state": state,
        }


class Reused(NamedTuple):
    """The Task whose results another one was given instead of a run."""

    workflow: str
    step: str
    task: str
    """Its id."""

    def __str__(self) -> str:
        return f"workflow {self.workflow!r}, Step {self.step!r}"

    def wire(self) -> ReusedEntry:
        """As answers have it."""
        return {"workflow": self.workflow, "step": self.step, "task": self.task}


BY_REQUEST = "terminated-by-request"
BY_TIMEOUT = "terminated-by-timeout"
