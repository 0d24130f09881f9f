"""The order to run a Task, with the data of this run only, and the outcome that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gaia_local.model.tasks import Fingerprint, Reused, Task, TaskState
from gaia_local.model.usage import Usage
from gaia_local.model.validation import NOTHING
from gaia_local.terminal_text import LINES, escaped


@dataclass(frozen=True, slots=True)
class Assignment:
    """One run of a Task. Only the Task is kept as a record after its end."""

    task: Task
    rank: tuple[int, int] = (0, 0)
    """Its place among the Tasks that wait for a worker: the smallest goes first."""
    known: Mapping[str, Fingerprint] = field(
        default_factory=lambda: NOTHING,
        compare=False,
        repr=False,
    )
    """Input key → the recorded fingerprint of its file."""
    adopted: bool = False
    """An earlier engine began it, and it is resumed instead of started anew."""
    gpus: tuple[str, ...] = ()
    """The GPUs that its executor gave it, by their ids; none where they aren't counted."""


class Output(NamedTuple):
    """An output that is ready to be published: on the target's file system, fingerprinted."""

    key: str
    source: str
    target: str
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Outcome:
    """The end of a Task, with its outputs."""

    state: TaskState
    """`COMPLETE`, `ERROR`, `EXCEPTION`, `CANCELLED`, or `INTERRUPTED` if the end is unknown."""
    outputs: tuple[Output, ...] = ()
    """Ready to be published: all of them on success, the ``>>`` logs on failure."""
    exit_code: int | None = None
    message: str | None = None
    """Any names in it are escaped here, as a program may give its files any."""
    exception: str | None = None
    reason: str | None = None
    """`terminated-by-timeout` if the timeout ended it."""
    image_id: str | None = None
    tail: str = ""
    """The last lines of its log."""
    inputs: Mapping[str, Fingerprint] = field(default_factory=dict)
    """Key → the fingerprint of the input that was read."""
    fingerprint: str | None = None
    """The Task's (`task_fingerprint`), if its results may be reused."""
    reused: Reused | None = None
    """The Task whose results it was given, if it didn't run."""
    usage: Usage | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.message is not None:
            object.__setattr__(self, "message", escaped(self.message, LINES))
