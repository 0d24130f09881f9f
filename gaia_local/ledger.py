"""What is known of one workflow's keys and Tasks in memory, with notes of what changed since it was last written.

The counterpart of the rows in the database: decisions change the ledger, the scheduler has it written.
"""

from __future__ import annotations

import time
from typing import Any

from gaia_local.database import Attempt, Database, Datum
from gaia_local.model import DataState, Event, EventKind, Task


class Ledger:
    """The data and Tasks of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow
        self.data: dict[str, Datum] = {}
        self.latest: dict[str, Attempt] = {}
        """Step → its last Task."""
        self._changed_data: set[str] = set()
        self._changed_attempts: dict[str, Attempt] = {}
        self._new_attempts: list[Attempt] = []
        self._events: list[Event] = []

    def set(self, key: str, datum: Datum | None, state: DataState, why: str | None = None) -> None:
        """Record a key: `datum` (or, where that is None, nothing but) in this state; `why` it isn't complete."""
        datum = datum or Datum(state)
        datum.state, datum.why = state, why
        self.data[key] = datum
        self._changed_data.add(key)

    def forget(self, key: str) -> None:
        """Nothing is known of a key any more."""
        if self.data.pop(key, None) is not None:
            self._changed_data.add(key)

    def begin(self, attempt: Attempt) -> None:
        """A new Task."""
        self.latest[attempt.task.name] = attempt
        self._new_attempts.append(attempt)

    def changed(self, attempt: Attempt) -> None:
        """A Task's record changed."""
        self._changed_attempts[attempt.task.id] = attempt

    def supersede(self, step: str) -> None:
        """Whatever the last Task of a Step made doesn't count any more."""
        attempt = self.latest.get(step)
        if attempt is not None and not attempt.superseded:
            attempt.superseded = True
            self.changed(attempt)

    def note(self, event: EventKind, task: Task | None = None, **facts: Any) -> None:
        """Something happened just now."""
        who = {} if task is None else {"id": task.id, "task": task.name}
        self.record(Event(event, self._workflow, time.time(), {**who, **facts}))

    def record(self, event: Event) -> None:
        """Something happened."""
        self._events.append(event)

    @property
    def unwritten_events(self) -> list[Event]:
        """What happened since the last `written`."""
        return list(self._events)

    @property
    def unwritten(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._new_attempts or self._changed_attempts or self._changed_data or self._events)

    def unwritten_attempts(self, step: str | None = None) -> list[Attempt]:
        """The Tasks (of one Step) that are new or changed since the last `written`."""
        unwritten = (*self._new_attempts, *self._changed_attempts.values())
        return [each for each in unwritten if step is None or each.task.name == step]

    def write(self, database: Database) -> None:
        """Write all that changed since the last `written`; the caller holds the transaction."""
        if self._new_attempts:
            database.add_attempts(self._new_attempts)
        if self._changed_attempts:
            database.set_attempts(self._changed_attempts.values())
        if self._changed_data:
            database.set_data(self._workflow, {key: self.data.get(key) for key in self._changed_data})
        if self._events:
            database.add_events(self._events)

    def written(self) -> None:
        """The transaction of `write` was committed."""
        self._new_attempts, self._changed_attempts = [], {}
        self._changed_data, self._events = set(), []
