"""The state of all workflows in SQLite: rows in, rows out, no decisions.

Several changes that belong together are made inside `Database.transaction`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gaia_local.model.commands import Command
from gaia_local.model.events import Event
from gaia_local.model.names import as_stored
from gaia_local.model.steps import Step
from gaia_local.model.tasks import TaskState
from gaia_local.model.validation import NOTHING
from gaia_local.model.workflows import WorkflowState
from gaia_local.state.attempt_rows import AttemptRows
from gaia_local.state.connection import reads_rows
from gaia_local.state.definition_rows import DefinitionRows
from gaia_local.state.event_rows import event_rows, read_events
from gaia_local.state.flush_rows import FlushRows
from gaia_local.state.result_rows import ResultRows
from gaia_local.state.retention_rows import RetentionRows
from gaia_local.state.rows import (
    Made,
    read_attempt,
    read_key_state,
    read_made,
    task_json,
    to_json,
)
from gaia_local.workflow.decision import Changes, Saved
from gaia_local.workflow.states import ABSENT, Attempt, KeyState

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry

_IS_MADE = "(task is not null or why is not null) and data.state != 'absent'"
"""The condition for rows of `data` whose file isn't just the user's."""


class Database(DefinitionRows, AttemptRows, ResultRows, FlushRows, RetentionRows):
    """The state database of one root. Thread-safe."""

    # -- workflows ---------------------------------------------------------------------------------

    @reads_rows
    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → `state`, `properties`, `steps` (their number)."""
        rows = self._rows(
            "select name, state, properties, steps from workflows order by created, name"
        )
        return {
            name: {"state": state, "properties": json.loads(text), "steps": steps}
            for name, state, text, steps in rows
        }

    @reads_rows
    def workflow(self, name: str) -> dict[str, Any] | None:
        """One workflow's `state`, `properties` and `steps`."""
        rows = self._rows("select state, properties, steps from workflows where name = ?", (name,))
        for state, text, steps in rows:
            return {"state": state, "properties": json.loads(text), "steps": steps}
        return None

    def add_workflow(self, name: str, properties: Mapping[str, Any], time: float) -> None:
        """A new workflow, `initialized`."""
        self._write(
            "insert into workflows values (?, 'initialized', ?, 0, ?)",
            (name, json.dumps(properties), time),
        )

    def set_workflow(self, name: str, state: str, steps: int) -> None:
        """Its state and number of Steps."""
        self._write(
            "update workflows set state = ?, steps = ? where name = ?", (state, steps, name)
        )

    def delete_workflow(self, name: str, data: bool = False) -> None:
        """Delete all rows of a workflow; with `data`, also the records of its files' makers."""
        with self.transaction():
            for table in ("commands", "steps", "unfit", "tasks", "data", "events", "buckets"):
                self._write(f"delete from {table} where workflow = ?", (name,))
            self._write("delete from workflows where name = ?", (name,))
            if data:
                self._forget(name)
            self.forget_distrust()

    # -- the makers of deleted workflows' files ----------------------------------------------------

    def remember(self, workflow: str, place: Callable[[str], str | None]) -> None:
        """Record the makers of files before their Steps go, of all keys that have a `place`."""
        columns = "key, state, quick, digest, task, why"
        known = f"select {columns} from data where workflow = ? and {_IS_MADE}"
        rows = self._rows(known, (workflow,))
        with self.transaction():
            self._insert(
                "insert or replace into made values (?, ?, ?, ?, ?, ?)",
                ((at, *known) for key, *known in rows if (at := place(key)) is not None),
            )
            tasks = "select * from tasks where workflow = ? and id in (select task from made)"
            self._write(f"insert or replace into made_tasks {tasks}", (workflow,))

    def remembers(self) -> bool:
        """Whether there is any such record."""
        return bool(self._rows("select 1 from made limit 1"))

    @reads_rows
    def made(self, places: list[str], within: str) -> list[Made]:
        """The makers of files at `places`, and at places that begin with `within` (a ``…/``)."""
        marks = ", ".join("?" * len(places))
        return self._map_rows(
            read_made,
            "select place, made.state, quick, digest, task, why, made_tasks.* "
            "from made left join made_tasks on made_tasks.id = made.task "
            f"where place in ({marks}) or (place > ? and place < ?)",
            (*places, within, f"{within[:-1]}0"),
        )

    @reads_rows
    def made_by_others(
        self, workflow: str, bucket: str, keys: list[str], within: str
    ) -> list[Made]:
        """The same, of keys in a bucket shared with other workflows; each `place` is a key."""
        marks = ", ".join("?" * len(keys))
        return self._map_rows(
            read_made,
            "select key, data.state, quick, digest, task, why, tasks.* from buckets "
            "join data on data.workflow = buckets.workflow left join tasks on tasks.id = data.task "
            f"where bucket = ? and buckets.workflow != ? and {_IS_MADE} "
            f"and (key in ({marks}) or (key > ? and key < ?))",
            (bucket, workflow, *keys, within, f"{within[:-1]}0"),
        )

    def _forget(self, workflow: str) -> None:
        self._write(
            "delete from made where place > ? and place < ?", (f"{workflow}/", f"{workflow}0")
        )
        self._write(
            "delete from made_tasks where id not in (select task from made where task is not null)",
            (),
        )

    # -- one workflow as a whole -------------------------------------------------------------------

    @reads_rows
    def saved(self, name: str) -> Saved | None:
        """All rows of a workflow's present state; None if there is no such workflow."""
        with self._lock, as_stored():
            row = self.workflow(name)
            if row is None:
                return None
            return Saved(
                name,
                row["properties"],
                WorkflowState(row["state"]),
                row["steps"],
                self.definitions("commands", name, lambda given, _: Command.parse(name, given)),
                self.definitions("steps", name, lambda given, text: Step.parse(name, given, text)),
                self.latest(name),
                self.keys(name),
                self.unfit(name),
            )

    def save(self, name: str, changes: Changes) -> None:
        """Write the changes of a decision; the caller holds the transaction."""
        if changes.gone_steps or changes.gone_commands:
            self.remember(name, changes.remembered.get)
            self.remove_definitions(name, changes.gone_steps, changes.gone_commands)
        if changes.commands:
            rows = ((new.name, json.dumps(new.definition)) for new in changes.commands)
            self.define("commands", name, rows)
        if changes.steps:
            self.define("steps", name, ((step.name, step.text) for step in changes.steps))
        if changes.unfit:
            self.set_unfit(name, changes.unfit)
        if changes.begun:
            self.add_attempts(changes.begun)
        if changes.ended:
            self.set_attempts(changes.ended.values(), changes.fingerprints)
        if changes.distrusted:
            begun = next((attempt.task.id for attempt in changes.begun), None)
            self.distrust(changes.distrusted, before=begun)  # what these make counts
        if changes.keys:
            self.set_keys(name, changes.keys)
        if changes.buckets:
            self.set_buckets(name, changes.buckets)
        if changes.events:
            self.add_events(changes.events)
        if changes.listings:
            self._write_many(
                "insert or ignore into listings values (?, ?)", changes.listings.items()
            )
        if changes.state is not None:
            state, steps = changes.state
            self.set_workflow(name, state.value, steps)

    # -- tasks -------------------------------------------------------------------------------------

    @reads_rows
    def attempts(
        self, workflow: str, step: str | None = None, state: TaskState | None = None
    ) -> list[Attempt]:
        """The Tasks of a workflow (of one Step, in one state), oldest first."""
        where, values = "workflow = ?", [workflow]
        for column, value in (("step", step), ("state", state.value if state else None)):
            if value is not None:
                where += f" and {column} = ?"
                values.append(value)
        return self._map_rows(
            read_attempt, f"select * from tasks where {where} order by rowid", values
        )

    @reads_rows
    def latest(self, workflow: str, state: TaskState | None = None) -> list[Attempt]:
        """The last Task of each Step (with `state`, of those in that state)."""
        last = (
            "select * from tasks where rowid in "
            "(select max(rowid) from tasks where workflow = ? group by step)"
        )
        if state is not None:
            return self._map_rows(read_attempt, f"{last} and state = ?", (workflow, state.value))
        return self._map_rows(read_attempt, last, (workflow,))

    def add_attempts(self, attempts: Iterable[Attempt]) -> None:
        """New Tasks."""
        self._insert(
            "insert into tasks (id, workflow, step, state, reason, definition, superseded, created)"
            " values (?, ?, ?, ?, ?, ?, 0, ?)",
            (
                (
                    attempt.task.id,
                    attempt.task.workflow,
                    attempt.task.name,
                    attempt.state.value,
                    attempt.task.reason,
                    task_json(attempt.task),
                    attempt.created,
                )
                for attempt in attempts
            ),
        )

    def set_attempts(
        self, attempts: Iterable[Attempt], fingerprints: Mapping[str, str] = NOTHING
    ) -> None:
        """Record the states of Tasks, and the fingerprints of complete ones (id → fingerprint)."""
        self._write_many(
            "update tasks set state = ?, exit_code = ?, message = ?, image_id = ?, inputs = ?, "
            "superseded = ?, started = ?, ended = ?, reused = ?, usage = ?, "
            "fingerprint = coalesce(?, fingerprint) where id = ?",
            (
                (
                    attempt.state.value,
                    attempt.exit_code,
                    attempt.message,
                    attempt.image_id,
                    None if attempt.inputs is None else to_json(dict(attempt.inputs)),
                    attempt.superseded,
                    attempt.started,
                    attempt.ended,
                    attempt.reused and to_json(attempt.reused),
                    None if attempt.usage is None else attempt.usage.json(),
                    fingerprints.get(attempt.task.id),
                    attempt.task.id,
                )
                for attempt in attempts
            ),
        )

    # -- data and events ---------------------------------------------------------------------------

    @reads_rows
    def keys(self, workflow: str) -> dict[str, KeyState]:
        """Storage key → its recorded state."""
        rows = self._rows(
            "select key, state, quick, digest, task, why from data where workflow = ?", (workflow,)
        )
        return {key: read_key_state(*known) for key, *known in rows}

    def set_keys(self, workflow: str, keys: Mapping[str, KeyState]) -> None:
        """Set the states of keys; one that is just absent has no row."""
        self._insert(
            "insert or replace into data values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    workflow,
                    key,
                    known.kind.value,
                    known.quick,
                    known.digest,
                    known.made_by,
                    known.why and str(known.why),
                    self._epoch,
                )
                for key, known in keys.items()
                if known != ABSENT
            ),
        )
        gone = [(workflow, key) for key, known in keys.items() if known == ABSENT]
        if gone:
            self._write_many("delete from data where workflow = ? and key = ?", gone)

    def listing(self, digest: str) -> bytes | None:
        """The entries of a directory with this digest (`Fingerprint.listing`), if recorded."""
        rows = self._rows("select entries from listings where digest = ?", (digest,))
        return rows[0][0] if rows else None

    def forget_listings(self) -> int:
        """Remove those of directories that no key holds, and no last Task of a Step read.

        Answers the number of those that are left.
        """
        self._write(
            "delete from listings where "
            "digest not in (select digest from data where digest is not null) and digest not in "
            "(select value from tasks, json_each(inputs) "
            "where inputs is not null and value is not null "
            "and tasks.rowid in (select max(rowid) from tasks group by workflow, step))",
            (),
        )
        return len(self._rows("select digest from listings"))

    @reads_rows
    def events(self, workflow: str) -> list[EventEntry]:
        """The events of a workflow, oldest first."""
        rows = self._rows(
            "select event, time, facts, more from events where workflow = ? order by id",
            (workflow,),
        )
        return [entry for row in rows for entry in read_events(workflow, *row)]

    def add_events(self, events: Iterable[Event]) -> None:
        """Record events."""
        self._insert(
            "insert into events (workflow, time, event, facts, more) values (?, ?, ?, ?, ?)",
            event_rows(events),
        )

    # -- buckets -----------------------------------------------------------------------------------

    @reads_rows
    def buckets(self) -> list[tuple[str, str, str | None]]:
        """Workflow (empty: all), bucket that it uses, its directory (None: under the root)."""
        return [
            (workflow, bucket, directory)
            for workflow, bucket, directory in self._rows("select * from buckets")
        ]

    def set_buckets(self, workflow: str, buckets: Mapping[str, str | None]) -> None:
        """Record the buckets that a workflow uses, with their directories; see `buckets`."""
        self._write_many(
            "insert or replace into buckets values (?, ?, ?)",
            ((workflow, *bucket) for bucket in buckets.items()),
        )
