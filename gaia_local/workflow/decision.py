"""A decision about one workflow: every call, end of a Task and observation leads to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from gaia_local.model.assignment import Assignment
from gaia_local.model.commands import AnyCommand
from gaia_local.model.events import Event
from gaia_local.model.steps import Step
from gaia_local.model.workflows import WorkflowState
from gaia_local.workflow.fitness import Unfit
from gaia_local.workflow.states import Attempt, KeyState

Definition = TypeVar("Definition", Step, AnyCommand)


@dataclass(slots=True)
class Changes:
    """Changed rows of a workflow. Attempts are live objects: they are written as they are then."""

    state: tuple[WorkflowState, int] | None = None
    """The state of the workflow and its number of Steps, if either changed."""
    commands: list[AnyCommand] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    """Steps as they were given."""
    begun: list[Attempt] = field(default_factory=list)
    ended: dict[str, Attempt] = field(default_factory=dict)
    """Task id → changed attempts that have a row already."""
    keys: dict[str, KeyState] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    listings: dict[str, bytes] = field(default_factory=dict)
    """Digest of a directory → `Fingerprint.listing`: written along with other changes only."""
    buckets: dict[str, str | None] = field(default_factory=dict)
    """Bucket that the workflow uses → its directory; None if that is under the root."""
    unfit: dict[str, Unfit | None] = field(default_factory=dict)
    """Submitted Step → why it doesn't fit any more; None if it fits again."""
    gone_steps: list[str] = field(default_factory=list)
    """Removed Steps, as they were given: removed before anything else is written."""
    gone_commands: list[str] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Task id → its fingerprint, by which its results are found."""
    distrusted: list[str] = field(default_factory=list)
    """Ids of Tasks that were expired: neither their results are reused, nor equal earlier ones."""
    remembered: dict[str, str] = field(default_factory=dict)
    """Key → the place of its file: its maker leaves, and is recorded before that."""

    def __bool__(self) -> bool:
        rows = (
            self.commands,
            self.steps,
            self.unfit,
            self.begun,
            self.ended,
            self.keys,
            self.events,
            self.buckets,
            self.gone_steps,
            self.gone_commands,
            self.distrusted,
        )
        return self.state is not None or any(rows)

    def then(self, later: Changes) -> Changes:
        """Both, in this order."""
        return Changes(
            later.state or self.state,
            _without(self.commands, later.gone_commands) + later.commands,
            _without(self.steps, later.gone_steps) + later.steps,
            self.begun + later.begun,
            {**self.ended, **later.ended},
            {**self.keys, **later.keys},
            self.events + later.events,
            {**self.listings, **later.listings},
            {**self.buckets, **later.buckets},
            {**self.unfit, **dict.fromkeys(later.gone_steps), **later.unfit},
            self.gone_steps + later.gone_steps,
            self.gone_commands + later.gone_commands,
            {**self.fingerprints, **later.fingerprints},
            self.distrusted + later.distrusted,
            {**self.remembered, **later.remembered},
        )

    def attempts(self) -> Iterable[Attempt]:
        """All new and changed attempts."""
        return (*self.begun, *self.ended.values())


class Inspection(NamedTuple):
    """A request to look at a key's file, and the state of the key at the time of the request."""

    key: str
    path: str
    state: KeyState
    version: int
    read: bool
    """A Task has read it, and its digest isn't known."""
    external: bool
    """No Step makes it, nor a part of it."""
    must: bool
    """An observation is required even if nothing changed."""


class Observation(NamedTuple):
    """The result of an inspection."""

    inspection: Inspection
    quick: str | None
    """The file's quick fingerprint; None if there is no file."""
    digest: str | None = None
    """Needed if one is recorded and `quick` isn't the recorded one, or if `inspection.read`."""
    listing: bytes | None = None
    """Along with the digest of a directory: `Fingerprint.listing`."""
    lost: str | None = None
    """A missing entry of a directory that a Step made, if missing entries are its only changes."""


@dataclass(slots=True)
class Decision:
    """Rows to write, and the actions after that."""

    changes: Changes = field(default_factory=Changes)
    start: list[Assignment] = field(default_factory=list)
    cancel: list[str] = field(default_factory=list)
    """Ids of Tasks that were submitted."""
    discard: list[str] = field(default_factory=list)
    """Ids of an earlier process's Tasks, whose leftovers are to be removed."""
    inspect: list[Inspection] = field(default_factory=list)
    """Keys to inspect, without the lock, before the next decision."""

    def drain(self) -> Decision:
        """Move all of it into a new decision."""
        drained = Decision(self.changes, self.start, self.cancel, self.discard, self.inspect)
        self.changes, self.start, self.cancel = Changes(), [], []
        self.discard, self.inspect = [], []
        return drained


class Saved(NamedTuple):
    """The rows of one workflow."""

    name: str
    properties: Mapping[str, object]
    state: WorkflowState
    steps: int
    commands: list[AnyCommand]
    given: list[Step]
    attempts: list[Attempt]
    """The last Task of each Step."""
    keys: dict[str, KeyState]
    unfit: dict[str, Unfit]
    """Submitted Step → why it doesn't fit."""

    def then(self, changes: Changes) -> Saved:
        """The rows after changes were written, with copies of their attempts: live ones change."""
        state, steps = changes.state or (self.state, self.steps)
        old_commands = _without(self.commands, changes.gone_commands)
        old_steps = _without(self.given, changes.gone_steps)
        commands = {command.name: command for command in (*old_commands, *changes.commands)}
        given = {step.name: step for step in (*old_steps, *changes.steps)}
        newer = (replace(attempt) for attempt in (*changes.ended.values(), *changes.begun))
        attempts = {attempt.task.name: attempt for attempt in (*self.attempts, *newer)}
        keys = {**self.keys, **changes.keys}
        merged = {**self.unfit, **dict.fromkeys(changes.gone_steps), **changes.unfit}
        unfit = {name: why for name, why in merged.items() if why is not None}
        return Saved(
            self.name,
            self.properties,
            state,
            steps,
            list(commands.values()),
            list(given.values()),
            list(attempts.values()),
            keys,
            unfit,
        )


def _without(definitions: list[Definition], gone: list[str]) -> list[Definition]:
    names = set(gone)
    return [each for each in definitions if each.name not in names] if names else definitions
