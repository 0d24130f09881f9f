"""The state of all workflows in SQLite: rows in, rows out, no decisions.

One connection, one lock around every use of it. Whoever must change several rows at once wraps it
in `Database.transaction`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast

from gaia_local.errors import DatabaseError
from gaia_local.model.commands import Command
from gaia_local.model.events import Event
from gaia_local.model.names import as_stored
from gaia_local.model.resources import NONE, Resources
from gaia_local.model.steps import Step
from gaia_local.model.tasks import NO_KEYS, Task, TaskState
from gaia_local.model.validation import shared_text
from gaia_local.model.workflows import WorkflowState
from gaia_local.state import state_file
from gaia_local.store import disk_sync
from gaia_local.workflow.decision import Changes, Saved
from gaia_local.workflow.states import ABSENT, Attempt, KeyKind, KeyState, Reason

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry

logger = logging.getLogger("gaia_local")

Defined: TypeAlias = Literal["commands", "steps"]
P = ParamSpec("P")
T = TypeVar("T")

_AT_A_TIME = 50
"""Rows with one statement."""
_IS_MADE = "(task is not null or why is not null) and data.state != 'absent'"
"""What holds of a row of `data` whose file isn't just the user's."""


class Made(NamedTuple):
    """Who made a file."""

    place: str
    state: KeyState
    maker: Attempt | None


def _reads(method: Callable[P, T]) -> Callable[P, T]:
    """A method that reads rows: rows without sense are an error of the database, too."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except (ValueError, TypeError, KeyError) as error:
            raise DatabaseError(
                f"a row of the state database makes no sense ({error}); {state_file.DAMAGED}"
            ) from error

    return guarded


class Database:
    """The state database of one root. Thread-safe."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        """Open, and where it may write, create or migrate. Raises `DatabaseError` for a file that
        is no such database.
        """
        self._path = path
        self._lock = threading.RLock()
        self._inside = 0
        """How many transactions are open, one in the other."""
        self._connection, self.blank = state_file.open_file(path, readonly)
        """`blank`: another process makes the file just now, or would have to; it holds nothing yet.
        """
        self._file = None if readonly else os.stat(path)
        self._written, self._synced = 1, 0
        """How many transactions there were, and how many of them are known to be on the disk."""
        self._epoch = 0
        """Which keys are recorded with: see `next_epoch`."""
        if not readonly:
            try:
                epochs = self._rows(
                    "select epoch from flushed union all select max(epoch) from data"
                )
            except DatabaseError:
                self._connection.close()
                raise
            self._epoch = 1 + max(epoch or 0 for (epoch,) in epochs)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside happens, or nothing. One inside another is a part of it."""
        with self._lock:
            try:
                if not self._inside:
                    self._refuse_lost()
                    self._connection.execute("begin")
                self._inside += 1
                try:
                    yield
                    if self._inside == 1:
                        self._connection.execute("commit")
                        self._written += 1
                except BaseException:
                    if self._inside == 1:
                        self._connection.rollback()
                    raise
                finally:
                    self._inside -= 1
            except sqlite3.Error as error:
                raise state_file.trouble(self._path, error) from error

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            self._connection.close()
            try:
                self._refuse_lost()
            except DatabaseError as error:
                logger.error("%s", error)
            self._file = None

    def _refuse_lost(self) -> None:
        """What is written to a file that has no name any more is lost when it is closed."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self._path), self._file):
                return
        raise DatabaseError(
            f"the state database {self._path} was removed or replaced while it was open: move it back, "
            "or close this Gaia (end its process) and start again with what is there now"
        )

    # -- workflows ---------------------------------------------------------------------------------

    @_reads
    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → `state`, `properties`, `steps` (how many)."""
        rows = self._rows(
            "select name, state, properties, steps from workflows order by created, name"
        )
        return {
            name: {"state": state, "properties": json.loads(text), "steps": steps}
            for name, state, text, steps in rows
        }

    @_reads
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
        """All rows of a workflow; with `data` its files are gone, and nothing of them is kept in
        mind.
        """
        with self.transaction():
            for table in ("commands", "steps", "tasks", "data", "events", "buckets"):
                self._write(f"delete from {table} where workflow = ?", (name,))
            self._write("delete from workflows where name = ?", (name,))
            if data:
                self._forget(name)

    # -- who made the files of workflows that were deleted -----------------------------------------

    def remember(self, workflow: str, place: Callable[[str], str | None]) -> None:
        """Keep in mind who made the files of a workflow, which is to be deleted, at those keys that
        have a `place`.
        """
        known = f"select key, state, quick, digest, task, why from data where workflow = ? and {_IS_MADE}"
        rows = self._rows(known, (workflow,))
        with self.transaction():
            self._insert(
                "insert or replace into made values (?, ?, ?, ?, ?, ?)",
                ((at, *known) for key, *known in rows if (at := place(key)) is not None),
            )
            tasks = "select * from tasks where workflow = ? and id in (select task from made)"
            self._write(f"insert or replace into made_tasks {tasks}", (workflow,))

    def remembers(self) -> bool:
        """Whether anything is kept in mind."""
        return bool(self._rows("select 1 from made limit 1"))

    @_reads
    def made(self, places: list[str], within: str) -> list[Made]:
        """Who made what lies at one of `places`, or at one that begins with `within`, which ends in
        ``/``.
        """
        marks = ", ".join("?" * len(places))
        return self._made(
            _origin,
            "select place, made.state, quick, digest, task, why, made_tasks.* "
            "from made left join made_tasks on made_tasks.id = made.task "
            f"where place in ({marks}) or (place > ? and place < ?)",
            (*places, within, f"{within[:-1]}0"),
        )

    @_reads
    def made_by_others(
        self, workflow: str, bucket: str, keys: list[str], within: str
    ) -> list[Made]:
        """The same, of keys in a bucket that `workflow` shares with others; each `place` is a key."""
        marks = ", ".join("?" * len(keys))
        return self._made(
            _origin,
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

    @_reads
    def saved(self, name: str) -> Saved | None:
        """All rows that say how a workflow stands; None where there is no such workflow."""
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
            )

    def save(self, name: str, changes: Changes) -> None:
        """Write down what was decided of a workflow; the caller holds the transaction."""
        if changes.commands:
            rows = ((each.name, json.dumps(each.definition)) for each in changes.commands)
            self.define("commands", name, rows)
        if changes.steps:
            self.define("steps", name, ((each.name, each.text) for each in changes.steps))
        if changes.begun:
            self.add_attempts(changes.begun)
        if changes.ended:
            self.set_attempts(changes.ended.values())
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

    # -- commands and steps, as submitted ----------------------------------------------------------

    @_reads
    def definitions(self, table: Defined, workflow: str, read: Callable[[Any, str], T]) -> list[T]:
        """The `commands` or `steps` of a workflow as `read` makes them of what was submitted and
        its JSON, in order.
        """
        sql = f"select definition from {table} where workflow = ? order by rowid"
        return self._made(lambda row: read(json.loads(row[0]), row[0]), sql, (workflow,))

    def define(self, table: Defined, workflow: str, definitions: Iterable[tuple[str, str]]) -> None:
        """Add or replace `commands` or `steps`, each a name and its JSON; a replaced one keeps its
        place.
        """
        self._write_many(
            f"insert into {table} values (?, ?, ?) on conflict (workflow, name) do update set definition = excluded.definition",
            ((workflow, name, text) for name, text in definitions),
        )

    # -- tasks -------------------------------------------------------------------------------------

    @_reads
    def attempts(
        self, workflow: str, step: str | None = None, state: TaskState | None = None
    ) -> list[Attempt]:
        """The Tasks of a workflow (of one Step, in one state), oldest first."""
        where, values = "workflow = ?", [workflow]
        for column, value in (("step", step), ("state", state.value if state else None)):
            if value is not None:
                where += f" and {column} = ?"
                values.append(value)
        return self._made(_attempt, f"select * from tasks where {where} order by rowid", values)

    @_reads
    def latest(self, workflow: str, state: TaskState | None = None) -> list[Attempt]:
        """The last Task of each Step (of those where it is in one state)."""
        last = "select * from tasks where rowid in (select max(rowid) from tasks where workflow = ? group by step)"
        if state is not None:
            return self._made(_attempt, f"{last} and state = ?", (workflow, state.value))
        return self._made(_attempt, last, (workflow,))

    def add_attempts(self, attempts: Iterable[Attempt]) -> None:
        """New Tasks."""
        self._insert(
            "insert into tasks values (?, ?, ?, ?, ?, ?, null, null, null, null, 0, ?, null, null)",
            (
                (
                    each.task.id,
                    each.task.workflow,
                    each.task.name,
                    each.state.value,
                    each.task.reason,
                    _task_json(each.task),
                    each.created,
                )
                for each in attempts
            ),
        )

    def set_attempts(self, attempts: Iterable[Attempt]) -> None:
        """What became of Tasks."""
        self._write_many(
            "update tasks set state = ?, exit_code = ?, message = ?, image_id = ?, inputs = ?, superseded = ?, "
            "started = ?, ended = ? where id = ?",
            (
                (
                    each.state.value,
                    each.exit_code,
                    each.message,
                    each.image_id,
                    None if each.inputs is None else json.dumps(dict(each.inputs)),
                    each.superseded,
                    each.started,
                    each.ended,
                    each.task.id,
                )
                for each in attempts
            ),
        )

    # -- data and events ---------------------------------------------------------------------------

    @_reads
    def keys(self, workflow: str) -> dict[str, KeyState]:
        """Storage key → what is known of it."""
        rows = self._rows(
            "select key, state, quick, digest, task, why from data where workflow = ?", (workflow,)
        )
        return {key: _key_state(*known) for key, *known in rows}

    def set_keys(self, workflow: str, keys: Mapping[str, KeyState]) -> None:
        """Add or replace what is known of keys; one that is just absent has no row."""
        self._insert(
            "insert or replace into data values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    workflow,
                    key,
                    each.kind.value,
                    each.quick,
                    each.digest,
                    each.made_by,
                    each.why and str(each.why),
                    self._epoch,
                )
                for key, each in keys.items()
                if each != ABSENT
            ),
        )
        gone = [(workflow, key) for key, each in keys.items() if each == ABSENT]
        if gone:
            self._write_many("delete from data where workflow = ? and key = ?", gone)

    def listing(self, digest: str) -> bytes | None:
        """What was in a directory of this digest (`Fingerprint.listing`), where that is recorded."""
        rows = self._rows("select entries from listings where digest = ?", (digest,))
        return rows[0][0] if rows else None

    def forget_listings(self) -> None:
        """Remove those of directories that no key holds, and no last Task of a Step read."""
        self._write(
            "delete from listings where digest not in (select digest from data where digest is not null) and digest not in "
            "(select value from tasks, json_each(inputs) where inputs is not null and value is not null "
            "and tasks.rowid in (select max(rowid) from tasks group by workflow, step))",
            (),
        )

    @_reads
    def events(self, workflow: str) -> list[EventEntry]:
        """The events of a workflow, oldest first."""
        rows = self._rows(
            "select event, time, facts from events where workflow = ? order by id", (workflow,)
        )
        # What they say is left as it is: another version may know kinds of events that this one
        # doesn't.
        recorded = [
            {"event": event, "workflow": workflow, "time": time, **json.loads(facts)}
            for event, time, facts in rows
        ]
        return cast("list[EventEntry]", recorded)

    def add_events(self, events: Iterable[Event]) -> None:
        """Record events."""
        self._insert(
            "insert into events (workflow, time, event, facts) values (?, ?, ?, ?)",
            (
                (each.workflow, each.time, each.event.value, json.dumps(each.facts))
                for each in events
            ),
        )

    # -- buckets -----------------------------------------------------------------------------------

    @_reads
    def buckets(self) -> list[tuple[str, str, str | None]]:
        """Which workflow uses which bucket, and the directory that serves it (None: it lies under
        the root).
        """
        return [
            (workflow, bucket, directory)
            for workflow, bucket, directory in self._rows("select * from buckets")
        ]

    def set_buckets(self, workflow: str, buckets: Mapping[str, str | None]) -> None:
        """A workflow uses buckets, with the directories that serve them."""
        self._write_many(
            "insert or replace into buckets values (?, ?, ?)",
            ((workflow, *each) for each in buckets.items()),
        )

    # -- what is on the disk -----------------------------------------------------------------------

    def sync(self) -> None:
        """Have all that was written on the disk. Who writes meanwhile isn't held up, as SQLite's
        own flush would.

        NOTE: all commits are in the log, or were flushed before they left it. SQLite holds no lock
        on this file that the `close` of another descriptor would take away.
        """
        written = self._written
        if written == self._synced:
            return
        try:
            descriptor = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except (
            FileNotFoundError
        ):  # a file system on which SQLite keeps no such log: there it flushes each commit
            return
        try:
            disk_sync.fsync(descriptor)
            if not self._synced:  # the file is there since this was opened
                disk_sync.flush_one(str(self._path.parent))
        except OSError as error:
            what = "what was written last may be lost if the machine stops"
            raise DatabaseError(
                f"the state database {self._path} can't be flushed ({error.strerror}): {what}"
            ) from error
        finally:
            os.close(descriptor)
        self._synced = max(self._synced, written)

    def next_epoch(self) -> int:
        """Keys are recorded with a new epoch from here on. Answers the one that is over."""
        with self._lock:
            self._epoch += 1
            return self._epoch - 1

    @_reads
    def unflushed(self, workflow: str | None = None) -> list[tuple[str, str]]:
        """Workflow and key (of one workflow) of all that lies in the store and was recorded since
        the last flush point.
        """
        sql = "select workflow, key from data where epoch > (select epoch from flushed) and quick is not null"
        if workflow is not None:
            return self._rows(f"{sql} and workflow = ?", (workflow,))
        return self._rows(sql)

    def set_flushed(self, epoch: int) -> None:
        """A flush point: what was recorded in this epoch and before is on the disk."""
        self._write("update flushed set epoch = ?", (epoch,))

    @_reads
    def boot(self) -> str:
        """In which boot of the machine an engine last had this file; empty where it ended in order."""
        rows = self._rows("select boot from flushed")
        return str(rows[0][0]) if rows else ""

    def set_boot(self, boot: str) -> None:
        """As `boot` answers it."""
        self._write("update flushed set boot = ?", (boot,))

    # -- inside ------------------------------------------------------------------------------------

    def _made(
        self, make: Callable[[tuple[Any, ...]], T], sql: str, values: Iterable[Any]
    ) -> list[T]:
        """What is made of rows, of which there may be very many: one at a time."""
        with self._lock:
            try:
                return [make(row) for row in self._connection.execute(sql, tuple(values))]
            except sqlite3.Error as error:
                raise state_file.trouble(self._path, error) from error

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(sql, tuple(values)).fetchall()
            except sqlite3.Error as error:
                raise state_file.trouble(self._path, error) from error

    def _write(self, sql: str, values: Iterable[Any]) -> None:
        self._write_many(sql, (tuple(values),))

    def _write_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        # One inside a transaction is part of it: a savepoint for each would double the statements.
        with self._lock, contextlib.nullcontext() if self._inside else self.transaction():
            try:
                self._connection.executemany(sql, rows)
            except sqlite3.Error as error:
                raise state_file.trouble(self._path, error) from error

    def _insert(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows, many with each statement: for each, Python lets go of its global lock and
        has to get it back.
        """
        into, _, places = sql.partition(" values ")
        waiting = iter(rows)
        with self._lock, contextlib.nullcontext() if self._inside else self.transaction():
            try:
                while some := list(itertools.islice(waiting, _AT_A_TIME)):
                    statement = f"{into} values {', '.join([places] * len(some))}"
                    self._connection.execute(statement, list(itertools.chain.from_iterable(some)))
            except sqlite3.Error as error:
                raise state_file.trouble(self._path, error) from error


def _task_json(task: Task) -> str:
    return json.dumps(
        {
            "image": task.image,
            "command": task.command,
            "inputs": task.inputs,
            "outputs": task.outputs,
            "stdout": task.stdout,
            "timeout": task.timeout,
            "external": sorted(task.external),
            **({"resources": dict(task.resources.items())} if task.resources else {}),
        }
    )


def _key_state(
    kind: str, quick: str | None, digest: str | None, task: str | None, why: str | None
) -> KeyState:
    return KeyState(KeyKind(kind), quick, digest, task, None if why is None else Reason.parse(why))


def _origin(row: tuple[Any, ...]) -> Made:
    place, kind, quick, digest, task, why, *maker = row
    return Made(
        place,
        _key_state(kind, quick, digest, task, why),
        None if maker[0] is None else _attempt(tuple(maker)),
    )


def _attempt(row: tuple[Any, ...]) -> Attempt:
    (
        identity,
        workflow,
        step,
        state,
        reason,
        definition,
        code,
        message,
        image_id,
        inputs,
        superseded,
        *times,
    ) = row
    facts = json.loads(definition)
    task = Task(
        identity,
        step,
        shared_text(workflow),
        shared_text(facts["image"]),
        tuple(map(shared_text, facts["command"])),
        tuple([(key, shared_text(path)) for key, path in facts["inputs"]]),
        tuple([(key, shared_text(path)) for key, path in facts["outputs"]]),
        facts["stdout"],
        facts["timeout"],
        shared_text(reason),
        frozenset(facts["external"]) if facts["external"] else NO_KEYS,
        resources=Resources(**facts["resources"]) if "resources" in facts else NONE,
    )
    created, started, ended = times
    return Attempt(
        task,
        TaskState(state),
        created,
        started,
        ended,
        code,
        message,
        image_id,
        None if inputs is None else json.loads(inputs),
        bool(superseded),
    )
