"""The Tasks that were submitted to the executor, and their queue."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

from gaia_local.executors.contract import Observer
from gaia_local.model.assignment import Assignment
from gaia_local.model.tasks import Task


@dataclass(eq=False)
class Submission:
    """A Task from its submission to its `Outcome`."""

    assignment: Assignment
    observer: Observer
    lease: str = ""
    """Empty while it has none."""
    worker: str = ""
    """The address of the worker that took up the lease; empty until it is reported."""
    attempts: int = 0
    cleaned_up: bool = True
    """Whether the leftovers of lost workers have been ended."""
    cancelled: bool = False
    over: bool = False

    @property
    def task(self) -> Task:
        return self.assignment.task


class SubmissionQueue:
    """Submissions by their rank, then in the order of `put`."""

    def __init__(self) -> None:
        self._heap: list[tuple[tuple[int, int], int, Submission]] = []
        self._numbers = itertools.count()

    def put(self, submission: Submission) -> None:
        heapq.heappush(self._heap, (submission.assignment.rank, next(self._numbers), submission))

    def take(self) -> Submission | None:
        """Remove and return the first one that is not over; None if there is none."""
        while self._heap:
            submission = heapq.heappop(self._heap)[2]
            if not submission.over:
                return submission
        return None
