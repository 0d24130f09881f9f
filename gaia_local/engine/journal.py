"""What was decided: in the rows of a root, or on its way there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gaia_local.errors import DatabaseError
from gaia_local.state.database import Database
from gaia_local.workflow.decision import Changes, Saved
from gaia_local.workflow.states import Attempt
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry


class Journal:
    """Writes decisions down, and keeps those it couldn't. The scheduler's lock guards it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unwritten: dict[str, Changes] = {}
        """Workflow → what was decided and could not be written down."""

    def __contains__(self, name: object) -> bool:
        """Whether something of a workflow could not be written down."""
        return name in self._unwritten

    def __bool__(self) -> bool:
        """Whether that is so for any workflow."""
        return bool(self._unwritten)

    def write(self, name: str, changes: Changes, new: Workflow | None = None) -> Changes:
        """Write down what was decided, with what could not be written before, in one transaction.

        `new` is a workflow that has no rows yet. Answers all that was written; raises
        `DatabaseError` where it stays unwritten.
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
        return changes

    def append(self, name: str, changes: Changes) -> None:
        """Add to what is unwritten of a workflow."""
        self._unwritten[name] = self._unwritten.get(name, Changes()).then(changes)

    def take(self, name: str) -> Changes | None:
        """What is unwritten of a workflow, which is forgotten here."""
        return self._unwritten.pop(name, None)

    def saved(self, name: str, workflow: Workflow | None) -> Saved | None:
        """A workflow's rows as they will be when all is written; None where it has none."""
        saved = self._database.saved(name)
        return None if saved is None else saved.then(self._not_in_rows(name, workflow))

    def attempts(self, name: str, step: str | None, workflow: Workflow | None) -> list[Attempt]:
        """All Tasks of a workflow, or of one Step of it, oldest first."""
        attempts = {attempt.task.id: attempt for attempt in self._database.attempts(name, step)}
        for attempt in self._not_in_rows(name, workflow).attempts():
            if step is None or attempt.task.name == step:
                attempts[attempt.task.id] = attempt
        return list(attempts.values())

    def events(self, name: str, workflow: Workflow | None) -> list[EventEntry]:
        """The events of a workflow, oldest first."""
        unwritten = self._not_in_rows(name, workflow).events
        return self._database.events(name) + [event.wire() for event in unwritten]

    def _not_in_rows(self, name: str, workflow: Workflow | None) -> Changes:
        """What happened in a workflow, and isn't written down yet."""
        unwritten = self._unwritten.get(name, Changes())
        return unwritten if workflow is None else unwritten.then(workflow.unwritten)
