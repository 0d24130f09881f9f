"""The Tasks that were submitted to the executor, and the order in which Dask starts them.

Dask starts what it has by a number that a Task keeps: what is ready later can go before it, but
nothing can be moved back. The number is made of the Task's place, then of its depth (its `rank`).

Invariants:
- While a workflow is alone, its Tasks have one place: the deepest goes first.
- Where several share the cluster, each batch of a workflow has the place behind its last one, so
  that their batches alternate. Within a place, which is one batch of each, depths are compared.
- The batch of a workflow of which Dask has nothing goes before all that Dask has.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gaia_local.executors.fair_queue import FairQueue, QueuedTask
from gaia_local.model.tasks import Task

_DEEPEST = (1 << 20) - 1


@dataclass(eq=False, slots=True)
class Submission(QueuedTask):
    """A Task from its submission to its `Outcome`."""

    lease: str = ""
    """Empty while it has none."""
    place: int | None = None
    """Its batch's among those that were given to Dask; None before."""
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


class SubmissionQueue(FairQueue[Submission]):
    """Submissions that wait; those that were given to Dask count as running."""

    def place(self, workflow: str, leased: Collection[Submission]) -> int:
        """The place of the next batch of a workflow."""
        known = [(one.place, one.task.workflow) for one in leased if one.place is not None]
        own = [place for place, name in known if name == workflow]
        if own:
            return max(own) + (len(self.workflows()) > 1)
        return min((place for place, _ in known), default=1) - 1


def priority(submission: Submission) -> int:
    """Dask's number: the largest goes first. It has room for 64 bits."""
    assert submission.place is not None
    return -(submission.place << 20) + min(-submission.assignment.rank[0], _DEEPEST)
