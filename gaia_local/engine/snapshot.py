"""Reads the rows of a root if no owner can be asked: answers as `Scheduler` would."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gaia_local import interrupts
from gaia_local.engine.observing import load, load_for_trial
from gaia_local.engine.registry import no_such_workflow
from gaia_local.engine.results import RecordedResult, RecordedResults
from gaia_local.executors.results import Result
from gaia_local.model.tasks import Task
from gaia_local.model.workflows import WorkflowState
from gaia_local.state.buckets import Use, read_uses
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.decision import Saved
from gaia_local.workflow.states import Attempt, AttemptFigures
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry, LiveUsage

T = TypeVar("T")

POLL_SECONDS = 0.05
"""Between two reads of rows that another process changes."""


def unknown_images(images: Iterable[str]) -> Mapping[str, str | None]:
    """For readers that plan no runs: the ids of all images are unknown."""
    return {}


def unknown_identity(task: Task) -> str | None:
    """For readers that plan no runs: programs are unknown."""
    return None


class Snapshot:
    """The rows of one root, read anew at each question; without rows there are no workflows."""

    def __init__(
        self,
        path: Path,
        storage: Storage,
        images: Callable[[Iterable[str]], Mapping[str, str | None]] = unknown_images,
        identity: Callable[[Task], str | None] = unknown_identity,
    ) -> None:
        """`images` gives the present ids of image names (None: unknown)."""
        self._path, self._storage, self._images = path, storage, images
        self.identity = identity
        """As `Scheduler.identity`."""

    def workflows(self) -> dict[str, dict[str, Any]]:
        """As `Scheduler.workflows`."""
        return self._read(lambda database: database.workflows(), {})

    def boot(self) -> str:
        """As `Database.boot`."""
        return self._read(lambda database: database.boot(), "")

    def view(self, name: str, look: Callable[[Workflow], T]) -> T | None:
        """As `Scheduler.view`."""
        saved = self._saved(name)
        return None if saved is None else look(load(saved, self._storage, self.listing))

    def view_with_attempts(
        self, name: str, look: Callable[[Workflow, list[Attempt]], T]
    ) -> T | None:
        """As `Scheduler.view_with_attempts`."""
        nothing: tuple[Saved | None, list[Attempt]] = (None, [])
        saved, attempts = self._read(
            lambda database: (database.saved(name), database.attempts(name)), nothing
        )
        return None if saved is None else look(load(saved, self._storage, self.listing), attempts)

    def scratch(self, name: str) -> Workflow:
        """As `Scheduler.scratch`."""
        saved = self._saved(name)
        if saved is None:
            raise no_such_workflow(name, self._storage.root, self.workflows())
        return load_for_trial(saved, self._storage, self.listing)

    def images(self, names: Iterable[str]) -> Mapping[str, str | None]:
        """As `Scheduler.images`."""
        return self._images(names)

    def results(self, fingerprint: str) -> list[Result]:
        """As `Scheduler.results`."""
        return self._read(
            lambda database: list(RecordedResults(database, self._storage).find(fingerprint)), []
        )

    def with_results(self, name: str) -> list[RecordedResult]:
        """As `Scheduler.with_results`."""
        return self._read(
            lambda database: RecordedResults(database, self._storage).of_workflow(name), []
        )

    def doing(self, name: str) -> list[str]:
        """As `Scheduler.doing`: no rows tell, and nobody can be asked."""
        return []

    def usage(self, name: str) -> dict[str, LiveUsage]:
        """As `Scheduler.usage`, and as `doing`."""
        return {}

    def attempts(self, name: str, step: str | None = None) -> list[Attempt]:
        """As `Scheduler.attempts`."""
        return self._read(lambda database: database.attempts(name, step), [])

    def attempt_figures(self, name: str) -> dict[str, AttemptFigures]:
        """As `Scheduler.attempt_figures`."""
        return self._read(lambda database: database.attempt_figures(name), {})

    def workers(self, name: str, step: str) -> dict[str, int]:
        """As `Scheduler.workers`."""
        return self._read(lambda database: database.workers(name, step), {})

    def events(self, name: str) -> list[EventEntry]:
        """As `Scheduler.events`."""
        return self._read(lambda database: database.events(name), [])

    def listing(self, digest: str) -> bytes | None:
        """As `Scheduler.listing`."""
        return self._read(lambda database: database.listing(digest), None)

    def buckets(self) -> list[Use]:
        """The buckets that workflows use, with their directories."""
        return self._read(read_uses, [])

    def wait(self, name: str, timeout: float) -> bool:
        """As `Scheduler.wait`, but it may return early: the owner doesn't announce changes."""
        row = self._read(lambda database: database.workflow(name), None)
        if row is None or row["state"] != WorkflowState.RUNNING.value:
            return True
        time.sleep(min(timeout, POLL_SECONDS))
        interrupts.check()
        return False

    def _saved(self, name: str) -> Saved | None:
        return self._read(lambda database: database.saved(name), None)

    def _read(self, ask: Callable[[Database], T], nothing: T) -> T:
        if not self._path.exists():
            return nothing
        with (
            contextlib.closing(Database(self._path, readonly=True)) as database,
            database.transaction(),
        ):
            return ask(database)
