"""The queue of the Tasks that wait for a worker: workflows take turns, each by its Tasks' ranks.

Invariants:
- Taken is always a Task of the workflow that has the fewest running ones, of all that have waiting
  ones; of several such workflows, the one that has waited longest for that.
- Of one workflow, the smallest rank goes first, then what was put first. Ranks of different
  workflows are never compared.

So no workflow waits for another's Tasks but for one place, and a chain is never behind a crowd. To
put, take and forget costs no more, however many workflows there are.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from gaia_local.executors.contract import Observer
from gaia_local.model.assignment import Assignment


@dataclass(eq=False, slots=True)
class QueuedTask:
    """A Task that waits for a worker, or has been given to one."""

    assignment: Assignment
    observer: Observer
    waits: bool = field(default=False, init=False)
    """Whether it is in the queue; kept by that."""
    runs: bool = field(default=False, init=False)
    """Whether it was taken and not forgotten since; kept by the queue."""


Q = TypeVar("Q", bound=QueuedTask)
_Heap = list[tuple[tuple[int, int], int, Q]]


class _Share(Generic[Q]):
    """One workflow's Tasks. The first one of a heap waits."""

    __slots__ = ("plain", "requests", "running")

    def __init__(self) -> None:
        self.plain: _Heap[Q] = []
        self.requests: _Heap[Q] = []
        self.running = 0

    def first(self, requests: bool) -> _Heap[Q]:
        """The heap whose first Task goes first, of all or of those without a request."""
        if not requests or not self.requests:
            return self.plain
        return self.plain if self.plain and self.plain[0] < self.requests[0] else self.requests


class FairQueue(Generic[Q]):
    """See the module. Not thread-safe."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share[Q]] = {}
        """Of the workflows that have Tasks waiting or running."""
        self._turns: dict[int, OrderedDict[str, _Share[Q]]] = {}
        """Number of running Tasks → the workflows with waiting ones, in the order of their turns.
        None is empty."""
        self._numbers = itertools.count()
        self._length = 0

    def __len__(self) -> int:
        """How many Tasks wait."""
        return self._length

    def workflows(self) -> Collection[str]:
        """Those that have Tasks waiting or running."""
        return self._shares.keys()

    def has_newcomer(self) -> bool:
        """Whether a workflow has Tasks waiting and none running."""
        return 0 in self._turns

    def put(self, item: Q, request: bool = False) -> None:
        """Have a Task wait; a `request` is one that `take` may be told to pass over."""
        name, rank = item.assignment.task.workflow, item.assignment.rank
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = _Share()
        if not share.plain and not share.requests:
            self._turns.setdefault(share.running, OrderedDict())[name] = share
        heap = share.requests if request else share.plain
        heapq.heappush(heap, (rank, next(self._numbers), item))
        item.waits = True
        self._length += 1

    def take(self, requests: bool = True) -> Q | None:
        """The Task whose turn it is, running from now on; None where none waits."""
        for running in sorted(self._turns):
            for share in self._turns[running].values():
                if heap := share.first(requests):
                    item = heap[0][2]
                    item.runs = True
                    self._leave(item, share, running + 1)
                    return item
        return None

    def forget(self, item: Q) -> None:
        """The Task waits no more, or runs no more. Idempotent."""
        if not item.waits and not item.runs:
            return
        name = item.assignment.task.workflow
        share = self._shares[name]
        if item.waits:
            self._leave(item, share, share.running)
        else:
            item.runs = False
            self._go_on(name, share, bool(share.plain or share.requests), share.running - 1)

    def _leave(self, item: Q, share: _Share[Q], running: int) -> None:
        """A waiting Task leaves; so many of its workflow's Tasks run now."""
        item.waits = False
        self._length -= 1
        for heap in (share.plain, share.requests):
            while heap and not heap[0][2].waits:
                heapq.heappop(heap)
        self._go_on(item.assignment.task.workflow, share, True, running)

    def _go_on(self, name: str, share: _Share[Q], waited: bool, running: int) -> None:
        """Give a workflow its place among the turns, if any of its Tasks waits."""
        waits = bool(share.plain or share.requests)
        if waited and not (waits and running == share.running):
            turn = self._turns[share.running]
            del turn[name]
            if not turn:
                del self._turns[share.running]
            waited = False
        share.running = running
        if waits and not waited:
            self._turns.setdefault(running, OrderedDict())[name] = share
        elif not waits and not running:
            del self._shares[name]
