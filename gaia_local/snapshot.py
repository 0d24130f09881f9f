"""Reads a root that nobody owns, or whose owner can't be asked: the questions of `Scheduler`, answered from the rows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gaia_local.database import Attempt, Database
from gaia_local.garbage import held_back
from gaia_local.model import WorkflowState
from gaia_local.scheduler import planned
from gaia_local.storage import Storage
from gaia_local.workflow import Workflow

T = TypeVar("T")

PAUSE = 0.05
"""Seconds between two looks at rows that another process changes."""


class Snapshot:
    """The rows of one root, read anew at each question; where there are none, there are no workflows."""

    def __init__(self, path: Path, storage: Storage) -> None:
        self._path, self._storage = path, storage
        self._asked = False

    def workflows(self) -> dict[str, dict[str, Any]]:
        """As `Scheduler.workflows`."""
        return self._read(lambda database: database.workflows(), {})

    def view(self, name: str, look: Callable[[Workflow], T]) -> T | None:
        """As `Scheduler.view`."""

        def answer(database: Database) -> T | None:
            row = database.workflow(name)
            if row is None:
                return None
            # What is read at each question is garbage after it: from the second one on, that must be collected in between.
            with contextlib.nullcontext() if self._asked else held_back():
                self._asked = True
                workflow = Workflow.load(name, row, database, self._storage)
            return look(workflow)

        return self._read(answer, None)

    def plan(self, name: str, change: Callable[[Workflow], None]) -> list[dict[str, str]]:
        """As `Scheduler.plan`, except that images are taken to be what they were."""
        return self.view(name, lambda scratch: planned(scratch, self._storage, change, {})) or []

    def attempts(self, name: str, step: str | None = None) -> list[Attempt]:
        """As `Scheduler.attempts`."""
        return self._read(lambda database: database.attempts(name, step), [])

    def events(self, name: str) -> list[dict[str, Any]]:
        """As `Scheduler.events`."""
        return self._read(lambda database: database.events(name), [])

    def wait(self, name: str, timeout: float) -> bool:
        """As `Scheduler.wait`, except that it may give up earlier: nobody tells when rows change."""
        row = self._read(lambda database: database.workflow(name), None)
        if row is None or row["state"] != WorkflowState.RUNNING.value:
            return True
        time.sleep(min(timeout, PAUSE))
        return False

    def _read(self, ask: Callable[[Database], T], nothing: T) -> T:
        if not self._path.exists():
            return nothing
        with contextlib.closing(Database(self._path, readonly=True)) as database, database.transaction():
            return nothing if database.blank else ask(database)
