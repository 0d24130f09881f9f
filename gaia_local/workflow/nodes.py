"""The nodes of a graph: one for each storage key, and one for each Step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gaia_local.model.steps import Step
from gaia_local.workflow.fitness import Unfit
from gaia_local.workflow.states import ABSENT, Attempt, KeyState, StepState, VerdictKind

T = TypeVar("T")

READY, PENDING, MISSING = range(3)
"""The status of a key for its readers."""


@dataclass(eq=False, slots=True)
class KeyNode:
    """A storage key that some Step reads or makes."""

    key: str
    path: str
    """The path of its file: two keys with one path name the same file."""
    maker: StepNode | None = None
    readers: Sequence[StepNode] = ()
    state: KeyState = ABSENT
    unseen: bool = False
    """Its file must be inspected before a Step reads it."""
    version: int = 0
    """Counts the updates: an inspection is out of date if this has changed since."""
    overlapping_outputs: Sequence[KeyNode] = ()
    """Other keys that Steps make and that its path overlaps: it depends on them."""
    overlapping_inputs: Sequence[KeyNode] = ()
    """The inverse: no Step makes any of these, since two outputs can't overlap."""
    own: int = MISSING
    """Its status if no other key overlapped it."""
    pending: int = 0
    """The number of `overlapping_outputs` that are pending."""
    missing: int = 0
    """The number of `overlapping_outputs` that are missing."""
    status: int = MISSING
    """`READY`, `PENDING` or `MISSING`."""

    @property
    def external(self) -> bool:
        """No Step makes it, nor a part of it."""
        return self.maker is None and not self.overlapping_outputs

    @property
    def idle(self) -> bool:
        """No Step makes or reads it."""
        return self.maker is None and not self.readers

    @property
    def makers(self) -> Sequence[StepNode]:
        """The Steps that make it or a part of it."""
        own = () if self.maker is None else (self.maker,)
        if not self.overlapping_outputs:
            return own
        return (*own, *(key.maker for key in self.overlapping_outputs if key.maker is not None))

    @property
    def all_readers(self) -> Iterator[StepNode]:
        """The Steps that read it, or a key that overlaps it."""
        yield from self.readers
        for key in self.overlapping_inputs:
            yield from key.readers


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
    """Its last Task, also if that doesn't count any more."""
    reads: Mapping[str, str | None] | None = None
    """Input → its digest for the Step's Task, past, present or queued; None if it isn't known."""
    missing: int = 0
    """The number of its inputs that are missing."""
    pending: int = 0
    """The number of its inputs that are pending."""
    unfit: Unfit | None = None
    """The reason why it doesn't fit its Command, if so."""
    verdict: VerdictKind = VerdictKind.FRESH
    active: bool = False
    """As `verdict.active`."""
    depth: int = 0
    """The number of Steps on the longest path from it; see `Graph.ready`."""

    @property
    def rank(self) -> tuple[int, int]:
        """Its place in the order of start, the smallest first: before all that depends on it."""
        return (-self.depth, self.order)

    def successors(self) -> Iterator[StepNode]:
        """The Steps that read its outputs."""
        for key in self.outputs:
            yield from key.all_readers


def count_change(node: KeyNode | StepNode, before: int, after: int) -> None:
    """Update a node's counts after the status of one of its dependencies changed."""
    node.pending += (after == PENDING) - (before == PENDING)
    node.missing += (after == MISSING) - (before == MISSING)


# Most keys have few neighbours, and there may be very many keys: those without any share one empty
# tuple.


def with_neighbour(neighbours: Sequence[T], new: T) -> Sequence[T]:
    """One more neighbour."""
    if not isinstance(neighbours, list):
        return [new]
    neighbours.append(new)
    return neighbours


def without_neighbour(neighbours: Sequence[T], removed: T) -> Sequence[T]:
    """One neighbour less."""
    assert isinstance(neighbours, list)
    neighbours.remove(removed)
    return neighbours or ()
