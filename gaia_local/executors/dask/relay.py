"""Passes workers' reports of Tasks on to observers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from gaia_local.executors.contract import Observer
from gaia_local.executors.dask.reporting import LeasedOutput
from gaia_local.model.assignment import Outcome, Output
from gaia_local.model.events import Event
from gaia_local.model.tasks import Task
from gaia_local.store.storage import Storage

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage

Report = TypeVar("Report", Event, Outcome, str, "LiveUsage")

logger = logging.getLogger("gaia_local")


class ObserverRelay:
    """Translates names of workers and paths, and catches the errors of observers.

    Used by one thread.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._tops = (storage.root, *storage.tops()[1:])
        self._worker_numbers: dict[tuple[str, int], int] = {}
        """Address of a worker and slot → the `worker` of events."""

    def happened(self, task: Task, observer: Observer, event: Event, slot: tuple[str, int]) -> None:
        """An event of a Task, in a slot of the worker of that address."""
        facts = {**event.facts, "id": task.id} if "id" in event.facts else dict(event.facts)
        if event.event.begins:
            number = self._worker_numbers.setdefault(slot, len(self._worker_numbers) + 1)
            facts |= {"worker": number, "host": slot[0]}
            self.notify(task, observer.started, event._replace(facts=facts))
        else:
            self.notify(task, observer.happened, event._replace(facts=facts))

    def notify(self, task: Task, method: Callable[[Task, Report], None], value: Report) -> None:
        """Call a method of an observer."""
        try:
            method(task, value)
        except Exception:  # a defect of the observer's must not cost other Tasks
            logger.exception(
                "workflow %r, Step %r: it could not be reported", task.workflow, task.name
            )

    def outputs(self, task: Task, leased: Iterable[LeasedOutput]) -> tuple[Output, ...]:
        """The outputs of a Task, at their paths on this machine."""
        outputs = []
        for key, top, below, fingerprint in leased:
            target = self._storage.path(task.workflow, key)
            outputs.append(Output(key, f"{self._tops[top]}/{below}", target, fingerprint))
        return tuple(outputs)
