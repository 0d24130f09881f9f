"""Decisions that are in a root's rows, or still to be written there."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from gaia_local.errors import DatabaseError
from gaia_local.state.database import Database
from gaia_local.workflow.decision import Changes, Saved
from gaia_local.workflow.states import Attempt
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry


class Journal:
    """Writes decisions to the rows, and keeps those it couldn't. Guarded by `Registry.lock`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unwritten: dict[str, Changes] = {}
        """Workflow → the changes that were decided and could not be written."""
        self.begun: dict[str, Counter[str]] = {}
        """Workflow → Step → the number of its attempts that were written; `Retention` clears it."""
        self.listings = 0
        """The number of listings that were written since `Retention` looked."""

    def __contains__(self, name: object) -> bool:
        """Whether changes of a workflow could not be written."""
        return name in self._unwritten

    def __bool__(self) -> bool:
        """Whether changes of any workflow could not be written."""
        return bool(self._unwritten)

    def write(self, name: str, changes: Changes, new: Workflow | None = None) -> Changes:
        """Write changes, after those that could not be written before, in one transaction.

        `new` is a workflow that has no rows yet. Returns all changes that were written; raises
        `DatabaseError` if they could not be, and keeps them.
        """
        if name in self._unwritten:
            changes = self._unwritten[name].then(changes)
        if not changes and new is None:
            return changes
        try:
            with self._database.transaction():
                if new is not None:
                    self._database.add_workflow(name, new.properties, time.time())
                self._database.save(name, changes)
        except DatabaseError:
            self._unwritten[name] = changes
            raise
        self._unwritten.pop(name, None)
        self.listings += len(changes.listings)
        if changes.begun:
            steps = self.begun.setdefault(name, Counter())
            for attempt in changes.begun:
                steps[attempt.task.name] += 1
        return changes

    def append(self, name: str, changes: Changes) -> None:
        """Add to the unwritten changes of a workflow."""
        self._unwritten[name] = self._unwritten.get(name, Changes()).then(changes)

    def take(self, name: str) -> Changes | None:
        """Remove and return the unwritten changes of a workflow."""
        return self._unwritten.pop(name, None)

    def saved(self, name: str, workflow: Workflow | None) -> Saved | None:
        """A workflow's rows as they will be when all is written; None if it has none."""
        saved = self._database.saved(name)
        return None if saved is None else saved.then(self._not_in_rows(name, workflow))

    def attempts(self, name: str, step: str | None, workflow: Workflow | None) -> list[Attempt]:
        """All Tasks of a workflow, or of one Step of it, oldest first."""
        attempts = {attempt.task.id: attempt for attempt in self._database.attempts(name, step)}
        for attempt in self._not_in_rows(name, workflow).attempts():
            if step is None or attempt.task.name == step:
                attempts[attempt.task.id] = attempt
        return list(attempts.values())

    def workers(self, name: str, step: str, workflow: Workflow | None) -> dict[str, int]:
        """Task id → the number of the worker that ran it, of the attempts at a Step."""
        events = (event.facts for event in self._not_in_rows(name, workflow).events)
        unwritten = {
            facts["id"]: facts["worker"]
            for facts in events
            if facts.get("task") == step and "worker" in facts
        }
        return self._database.workers(name, step) | unwritten

    def events(self, name: str, workflow: Workflow | None) -> list[EventEntry]:
        """The events of a workflow, oldest first."""
        unwritten = self._not_in_rows(name, workflow).events
        return self._database.events(name) + [event.wire() for event in unwritten]

    def _not_in_rows(self, name: str, workflow: Workflow | None) -> Changes:
        """The changes of a workflow that aren't written yet."""
        unwritten = self._unwritten.get(name, Changes())
        return unwritten if workflow is None else unwritten.then(workflow.unwritten)
