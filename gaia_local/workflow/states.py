"""The state of a storage key and of a Step, and the verdict on a Step."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gaia_local.model.tasks import Reused, Task, TaskState
from gaia_local.model.usage import Usage


class Intent(enum.Enum):
    """The user's intent for a workflow."""

    NEW = "new"
    """It is stored, and no run was requested yet."""
    RUN = "run"
    HALT = "halt"


class ReasonKind(enum.Enum):
    """The reasons why Steps must run; the value is the text, with ``{}`` for the subject."""

    NEW = "new"
    EXPIRED = "expired"
    STEP_CHANGED = "step changed"
    COMMAND_CHANGED = "command changed"
    IMAGE_CHANGED = "image changed"
    INPUT_CHANGED = "input changed: {}"
    UPSTREAM = "upstream {} ran again"
    MISSING = "output missing: {}"
    RETRY = "retry after error"
    INTERRUPTED = "interrupted"
    UNMADE = "no Step makes it any more"


_TEXTS = [(kind, *kind.value.partition("{}")) for kind in ReasonKind]


class Reason(NamedTuple):
    """The reason why a Step must run, or a key must be made; its `str` is for people and rows."""

    kind: ReasonKind
    subject: str = ""
    """The key or the Step that it names."""

    def __str__(self) -> str:
        return self.kind.value.replace("{}", self.subject)

    @staticmethod
    def parse(text: str) -> Reason:
        """The reason whose `str` is `text`. Raises `ValueError` if there is none."""
        for kind, before, hole, after in _TEXTS:
            if text.startswith(before):
                reason = Reason(kind, text[len(before) : len(text) - len(after)] if hole else "")
                if str(reason) == text:
                    return reason
        raise ValueError(f"{text!r} is no reason to run")


NEW = Reason(ReasonKind.NEW)
EXPIRED = Reason(ReasonKind.EXPIRED)
RETRY = Reason(ReasonKind.RETRY)
INTERRUPTED = Reason(ReasonKind.INTERRUPTED)
UNMADE = Reason(ReasonKind.UNMADE)


class KeyKind(enum.StrEnum):
    """Whether the file of a storage key exists and counts."""

    ABSENT = "absent"
    """There is no file; if the user puts one there, it counts."""
    THERE = "complete"
    """The file counts."""
    UNSURE = "unsure"
    """The file may be read while the Step that makes it can't run, but that must run."""
    EXPIRED = "expired"
    """The file doesn't count: its Step must make it again, or no Step makes it any more."""


class KeyState(NamedTuple):
    """The state of a storage key: its row, unless it is `ABSENT`."""

    kind: KeyKind
    quick: str | None = None
    """The quick fingerprint of the file."""
    digest: str | None = None
    """The digest of its content; None if it wasn't needed yet."""
    made_by: str | None = None
    """The Task that made it; None for the user's own file."""
    why: Reason | None = None
    """The reason why it must be made."""

    @property
    def usable(self) -> bool:
        """Whether a Step may read it, unless the Step that makes it is going to run."""
        return self.kind is KeyKind.THERE or self.kind is KeyKind.UNSURE


ABSENT = KeyState(KeyKind.ABSENT)


class StepState(enum.StrEnum):
    """The state of a Step's last Task, if that still counts."""

    NEW = "new"
    """It never ran, or its last Task doesn't count any more."""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def alive(self) -> bool:
        """A Task of it runs or is queued."""
        return self is StepState.QUEUED or self is StepState.RUNNING


class VerdictKind(enum.StrEnum):
    """Whether a Step runs; see `Verdict`."""

    RUN = "run"
    """It can start, and must."""
    WAIT = "wait"
    """It waits for Steps that are going to run, and runs if its inputs differ then."""
    RUNNING = "running"
    BLOCKED = "blocked"
    """It must run, and can't: an input is missing that no Step is going to make."""
    FAILED = "failed"
    """It failed, and nothing changed since."""
    FRESH = "fresh"
    """All its outputs are complete, made from its inputs as they are now."""
    UNFIT = "unfit"
    """It doesn't fit its Command, and can't run before one of them changes."""

    @property
    def active(self) -> bool:
        """Whether the Step is going to run or may have to: its outputs are uncertain until then."""
        return self in _ACTIVE


_ACTIVE = frozenset({VerdictKind.RUN, VerdictKind.WAIT, VerdictKind.RUNNING})


class Verdict(NamedTuple):
    """Whether a Step runs, with the reason; None if there is no reason to run."""

    kind: VerdictKind
    reason: Reason | None = None


@dataclass(slots=True)
class Attempt:
    """A Task and its outcome: its row."""

    task: Task
    state: TaskState
    created: float
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str | None = None
    image_id: str | None = None
    inputs: Mapping[str, str] | None = None
    """Input key → the digest of the content that it read."""
    superseded: bool = False
    """Its outputs don't count any more."""
    reused: Reused | None = None
    """The Task whose results it was given, if it didn't run."""
    usage: Usage | None = None

    @property
    def step_state(self) -> StepState:
        """The state of a Step whose last Task this is."""
        if self.superseded:
            return StepState.NEW
        if self.state is TaskState.RUNNING:
            return StepState.QUEUED if self.started is None else StepState.RUNNING
        return _STEP_STATES[self.state]


class AttemptFigures(NamedTuple):
    """Of all attempts at a Step that are recorded."""

    number: int
    duration: float | None
    """The seconds that the latest complete one took; None if there is none."""


_STEP_STATES = {
    TaskState.COMPLETE: StepState.DONE,
    TaskState.ERROR: StepState.FAILED,
    TaskState.EXCEPTION: StepState.FAILED,
    TaskState.CANCELLED: StepState.CANCELLED,
    TaskState.INTERRUPTED: StepState.INTERRUPTED,
}
