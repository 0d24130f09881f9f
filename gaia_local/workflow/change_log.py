"""The order in which the Steps of a graph changed, for readers that ask for what is new."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from uuid import uuid4

from gaia_local.workflow.nodes import StepNode


class ChangeLog:
    """Tells each reader which Steps changed since it asked last. Not thread-safe.

    It keeps no reader: one that comes again brings the moment at which it asked last. Invariants:
    - A Step is noted in the decision in which its state, its verdict or its attempt changed. So who
      takes over all that `since` yields, decision or not, knows what the graph knows.
    - A moment of another log (the workflow was loaded anew, by this process or another one), and
      one from before a Step left the graph, mean: look at all Steps.

    Nothing is noted before the first question, so that a graph without readers pays nothing.
    """

    def __init__(self) -> None:
        self._id = ""
        """Names this log in its moments; empty before the first question."""
        self._count = 0
        """The number of changes so far."""
        self._whole_until = 0
        """Moments before this one mean all Steps."""
        self._last: dict[StepNode, int] = {}
        """Step → the count at its last change, the latest at the end."""

    @property
    def now(self) -> str:
        """This moment, for the next question."""
        if not self._id:
            self._id = uuid4().hex
        return f"{self._id}.{self._count}"

    def note(self, node: StepNode) -> None:
        """A Step came or changed."""
        if self._id:
            self._count += 1
            self._last.pop(node, None)
            self._last[node] = self._count

    def forget(self, node: StepNode) -> None:
        """A Step left the graph."""
        if self._id:
            self._count += 1
            self._whole_until = self._count
            self._last.pop(node, None)

    def since(self, moment: str | None) -> list[StepNode] | None:
        """The Steps that changed after a moment (see `now`); None: look at all of them."""
        log, _, count = (moment or "").rpartition(".")
        if log != self._id or not self._id or not count.isdecimal():
            return None
        known = int(count)
        return None if known < self._whole_until else list(self._later(known))

    def _later(self, count: int) -> Iterator[StepNode]:
        newest_first = reversed(self._last.items())
        return (node for node, _ in takewhile(lambda each: each[1] > count, newest_first))
