"""What a graph is made of: a node for each storage key, and one for each Step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gaia_local.model.steps import Step
from gaia_local.workflow.states import ABSENT, Attempt, KeyState, StepState, VerdictKind

T = TypeVar("T")

READY, PENDING, LACKING = range(3)
"""What a key is for its readers."""


@dataclass(eq=False, slots=True)
class KeyNode:
    """A storage key that some Step reads or makes."""

    key: str
    path: str
    """Where it lies: two keys with one path name the same file."""
    maker: StepNode | None = None
    readers: Sequence[StepNode] = ()
    state: KeyState = ABSENT
    unseen: bool = False
    """What lies there must be looked at before anybody reads it."""
    version: int = 0
    """Counts what became known of it: a look at its file is out of date when this has changed
    since.
    """
    above: Sequence[KeyNode] = ()
    """Made keys that this key's path overlaps: those it depends on, itself apart."""
    below: Sequence[KeyNode] = ()
    """The inverse of `above`: no Step makes any of these, since two made keys can't overlap."""
    own: int = LACKING
    """What it would be if no other key overlapped it."""
    pending: int = 0
    """How many of `above` are pending."""
    lacking: int = 0
    """How many of `above` are lacking."""
    status: int = LACKING
    """`READY`, `PENDING` or `LACKING`."""

    @property
    def external(self) -> bool:
        """No Step makes it, nor a part of it."""
        return self.maker is None and not self.above

    @property
    def idle(self) -> bool:
        """No Step makes or reads it."""
        return self.maker is None and not self.readers

    @property
    def makers(self) -> Sequence[StepNode]:
        """The Steps it comes from."""
        own = () if self.maker is None else (self.maker,)
        return (
            (*own, *(each.maker for each in self.above if each.maker is not None))
            if self.above
            else own
        )

    @property
    def all_readers(self) -> Iterator[StepNode]:
        """Who reads it, or a key that overlaps it."""
        yield from self.readers
        for other in self.below:
            yield from other.readers


@dataclass(eq=False, slots=True)
class StepNode:
    """A Step in the graph."""

    step: Step
    order: int
    """Its place in the order of upload."""
    inputs: tuple[KeyNode, ...] = ()
    outputs: tuple[KeyNode, ...] = ()
    state: StepState = StepState.NEW
    attempt: Attempt | None = None
    """Its last Task, whether that counts or not."""
    reads: Mapping[str, str | None] | None = None
    """Input → digest of what its Task reads, read, or (queued) will read; None where that isn't
    known.
    """
    lacking: int = 0
    """How many of its inputs are lacking."""
    pending: int = 0
    """How many of its inputs are pending."""
    verdict: VerdictKind = VerdictKind.FRESH
    active: bool = False
    """As `verdict.active`."""
    depth: int = 0
    """How many Steps the longest way on from it has; see `Graph.ready`."""

    @property
    def rank(self) -> tuple[int, int]:
        """Its place among those that can start: the smallest goes first. Before all that depends on
        it.
        """
        return (-self.depth, self.order)

    def successors(self) -> Iterator[StepNode]:
        """The Steps that read what this one makes."""
        for key in self.outputs:
            yield from key.all_readers


def count_change(node: KeyNode | StepNode, before: int, after: int) -> None:
    """Something that a node depends on was `before`, and is `after`."""
    node.pending += (after == PENDING) - (before == PENDING)
    node.lacking += (after == LACKING) - (before == LACKING)


# Most keys have few neighbours of a kind, and there may be very many keys: those without any share
# one empty tuple.


def with_neighbour(some: Sequence[T], new: T) -> Sequence[T]:
    if not isinstance(some, list):
        return [new]
    some.append(new)
    return some


def without_neighbour(some: Sequence[T], gone: T) -> Sequence[T]:
    assert isinstance(some, list)
    some.remove(gone)
    return some or ()
