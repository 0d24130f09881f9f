"""The state of all workflows in SQLite: rows in, rows out, no decisions.

One connection, one lock around every use of it (sqlite-utils has none of its own). Whoever must change several rows at
once wraps it in `Database.transaction`.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

from gaia_local.errors import DatabaseError
from gaia_local.given import shared_text
from gaia_local.model import NO_KEYS, DataState, Event, Task, TaskState
from gaia_local.resources import NONE, Resources

Defined: TypeAlias = Literal["commands", "steps"]
P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 10.0
"""Seconds to wait for another process that holds the file; only a foreign program ever does for long."""
_DAMAGED = "it is damaged: put a copy of it back, or move it away and upload again: what lies in the store is found there"
_ADVICE = {
    "locked": f"another process holds it, for more than {PATIENCE:g} s: find it (`fuser`, `lsof`) and end it",
    "full": "make room on its disk",
    "readonly": "its disk or its directory is read-only: make it writable",
    "unable to open": "see to it that its disk is there, and that this user may read and write it and its directory",
    "disk i/o": "its disk is full, read-only, gone or broken: see to that",
    "malformed": _DAMAGED,
    "not a database": _DAMAGED,
    "no such": _DAMAGED,
}
"""What stands in SQLite's text → what to do."""

SCHEMA = """
create table workflows (
    name text primary key, state text not null, properties text not null, steps integer not null, created real not null
);
create table commands (
    workflow text not null, name text not null, definition text not null, primary key (workflow, name)
);
create table steps (
    workflow text not null, name text not null, definition text not null, primary key (workflow, name)
);
create table tasks (
    id text primary key, workflow text not null, step text not null, state text not null, reason text not null,
    definition text not null, exit_code integer, message text, image_id text, inputs text, superseded integer not null,
    created real not null, started real, ended real
);
create index tasks_by_step on tasks (workflow, step);
create table data (
    workflow text not null, key text not null, state text not null, quick text, digest text, task text, why text,
    primary key (workflow, key)
) without rowid;
create table events (
    id integer primary key, workflow text not null, time real not null, event text not null, facts text not null
);
create index events_by_workflow on events (workflow);
"""

_AT_A_TIME = 50
"""Rows with one statement."""
MIGRATIONS, FIRST = "gaia_local", "0001_first"
"""What sqlite-utils calls the set of them, and each."""
_REGISTER = f"""
create table "_sqlite_migrations" ("id" integer primary key, "migration_set" text, "name" text, "applied_at" text);
create unique index "idx__sqlite_migrations_migration_set_name" on "_sqlite_migrations" ("migration_set", "name");
insert into "_sqlite_migrations" values (1, '{MIGRATIONS}', '{FIRST}', datetime('now') || '+00:00');
"""
"""Where sqlite-utils notes the migrations that a database has been through: a new one begins after the first."""


@dataclass(slots=True)
class Datum:
    """What is known of a storage key: its row in `data`."""

    state: DataState
    quick: str | None = None
    digest: str | None = None
    task: str | None = None
    """The Task that made it; None for the user's own file."""
    why: str | None = None
    """Why it is not complete."""


@dataclass(slots=True)
class Attempt:
    """A Task and what became of it: its row in `tasks`."""

    task: Task
    state: TaskState
    created: float
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    message: str | None = None
    image_id: str | None = None
    inputs: Mapping[str, str] | None = None
    """Key → content digest of what it read."""
    superseded: bool = False
    """Something changed since: its outputs don't count any more."""


def _reads(method: Callable[P, T]) -> Callable[P, T]:
    """A method that reads rows: rows without sense are an error of the database, too."""

    @functools.wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except (ValueError, TypeError, KeyError) as error:
            raise DatabaseError(f"a row of the state database makes no sense ({error}); {_DAMAGED}") from error

    return guarded


class Database:
    """The state database of one root. Thread-safe."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        """Open, and where it may write, create or migrate. Raises `DatabaseError` for a file that is no such database."""
        self.blank = False
        """Another process makes it just now, or would have to: it holds nothing yet."""
        self._path = path
        self._lock = threading.RLock()
        self._inside = 0
        """How many transactions are open, one in the other."""
        try:
            if not readonly and not path.exists():
                self._create()
            try:
                self._open(path, "mode=ro" if readonly else "mode=rwc", readonly)
            except sqlite3.OperationalError:
                # Without its helping files SQLite reads nothing from a read-only directory, unless nobody can write there.
                log = Path(f"{path}-wal")
                if not readonly or os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
                    raise
                self._open(path, "immutable=1", readonly)
        except sqlite3.Error as error:
            raise self._error(error) from error
        except OSError as error:
            if isinstance(error, DatabaseError):
                raise
            raise DatabaseError(f"the state database {path} can't be made: {error.strerror}") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside happens, or nothing. One inside another is a part of it."""
        with self._lock:
            try:
                if not self._inside:
                    self._connection.execute("begin")
                self._inside += 1
                try:
                    yield
                    if self._inside == 1:
                        self._connection.execute("commit")
                except BaseException:
                    if self._inside == 1:
                        self._connection.rollback()
                    raise
                finally:
                    self._inside -= 1
            except sqlite3.Error as error:
                raise self._error(error) from error

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        with self._lock:
            self._connection.close()

    # -- workflows ----------------------------------------------------------------------------------------------

    @_reads
    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → `state`, `properties`, `steps` (how many)."""
        rows = self._rows("select name, state, properties, steps from workflows order by created, name")
        return {name: {"state": state, "properties": json.loads(text), "steps": steps} for name, state, text, steps in rows}

    @_reads
    def workflow(self, name: str) -> dict[str, Any] | None:
        """One workflow's `state`, `properties` and `steps`."""
        rows = self._rows("select state, properties, steps from workflows where name = ?", (name,))
        for state, text, steps in rows:
            return {"state": state, "properties": json.loads(text), "steps": steps}
        return None

    def add_workflow(self, name: str, properties: Mapping[str, Any], time: float) -> None:
        """A new workflow, `initialized`."""
        self._write("insert into workflows values (?, 'initialized', ?, 0, ?)", (name, json.dumps(properties), time))

    def set_workflow(self, name: str, state: str, steps: int) -> None:
        """Its state and number of Steps."""
        self._write("update workflows set state = ?, steps = ? where name = ?", (state, steps, name))

    def delete_workflow(self, name: str) -> None:
        """All rows of a workflow."""
        with self.transaction():
            for table in ("commands", "steps", "tasks", "data", "events"):
                self._write(f"delete from {table} where workflow = ?", (name,))
            self._write("delete from workflows where name = ?", (name,))

    # -- commands and steps, as submitted -------------------------------------------------------------------------

    @_reads
    def definitions(self, table: Defined, workflow: str, read: Callable[[Any, str], T]) -> list[T]:
        """The `commands` or `steps` of a workflow as `read` makes them of what was submitted and its JSON, in order."""
        sql = f"select definition from {table} where workflow = ? order by rowid"
        return self._made(lambda row: read(json.loads(row[0]), row[0]), sql, (workflow,))

    def define(self, table: Defined, workflow: str, definitions: Iterable[tuple[str, str]]) -> None:
        """Add or replace `commands` or `steps`, each a name and its JSON; a replaced one keeps its place."""
        self._write_many(
            f"insert into {table} values (?, ?, ?) on conflict (workflow, name) do update set definition = excluded.definition",
            ((workflow, name, text) for name, text in definitions),
        )

    # -- tasks ----------------------------------------------------------------------------------------------------

    @_reads
    def attempts(self, workflow: str, step: str | None = None, state: TaskState | None = None) -> list[Attempt]:
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

    # -- data and events --------------------------------------------------------------------------------------------

    @_reads
    def data(self, workflow: str) -> dict[str, Datum]:
        """Storage key → what is known of it."""
        rows = self._rows("select key, state, quick, digest, task, why from data where workflow = ?", (workflow,))
        return {key: Datum(DataState(state), *rest) for key, state, *rest in rows}

    def set_data(self, workflow: str, data: Mapping[str, Datum | None]) -> None:
        """Add, replace or (None) remove what is known of keys."""
        self._insert(
            "insert or replace into data values (?, ?, ?, ?, ?, ?, ?)",
            (
                (workflow, key, each.state.value, each.quick, each.digest, each.task, each.why)
                for key, each in data.items()
                if each is not None
            ),
        )
        gone = [(workflow, key) for key, each in data.items() if each is None]
        if gone:
            self._write_many("delete from data where workflow = ? and key = ?", gone)

    @_reads
    def events(self, workflow: str) -> list[dict[str, Any]]:
        """The events of a workflow, oldest first."""
        rows = self._rows("select event, time, facts from events where workflow = ? order by id", (workflow,))
        return [Event(event, workflow, time, json.loads(facts)).wire() for event, time, facts in rows]

    def add_events(self, events: Iterable[Event]) -> None:
        """Record events."""
        self._insert(
            "insert into events (workflow, time, event, facts) values (?, ?, ?, ?)",
            ((each.workflow, each.time, each.event, json.dumps(each.facts)) for each in events),
        )

    # -- inside -------------------------------------------------------------------------------------------------

    def _open(self, path: Path, how: str, readonly: bool) -> None:
        uri = f"{path.absolute().as_uri()}?{how}"
        self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=PATIENCE)
        with contextlib.ExitStack() as undo:
            undo.callback(self._connection.close)
            if not readonly:
                self._connection.execute("pragma journal_mode=wal")
                self._connection.execute("pragma synchronous=normal")
            if not self._is_current():
                self._migrate(readonly)
            undo.pop_all()

    def _create(self) -> None:
        """Make it under another name: so nobody ever reads one that is half made."""
        new = self._path.with_name(self._path.name + ".new")
        try:
            # The log of a database that was taken away would be replayed into this one.
            for rest in (new, f"{new}-wal", f"{new}-shm", f"{self._path}-wal", f"{self._path}-shm"):
                Path(rest).unlink(missing_ok=True)
            new.touch(mode=0o600)  # for the owner only, as SQLite's helping files will be
            # NOTE: by hand, since the import of sqlite-utils would take most of the time to a new root's first Step.
            with contextlib.closing(sqlite3.connect(new)) as connection:
                connection.executescript(f"begin; {SCHEMA} {_REGISTER} commit;")
            new.rename(self._path)
        finally:
            new.unlink(missing_ok=True)

    def _is_current(self) -> bool:
        """Whether all migrations were applied, and no others: asked here, since sqlite-utils takes its time to import."""
        try:
            rows = self._connection.execute("select name from _sqlite_migrations where migration_set = ?", (MIGRATIONS,))
            return sorted(name for (name,) in rows) == [FIRST]
        except sqlite3.OperationalError:  # there is no such table yet; another trouble will show again
            return False

    def _migrate(self, readonly: bool) -> None:
        import sqlite_utils
        from sqlite_utils.migrations import Migrations

        db, migrations = sqlite_utils.Database(self._connection), Migrations(MIGRATIONS)

        @migrations(name=FIRST)
        def first(db: Any) -> None:
            for statement in SCHEMA.split(";"):
                db.execute(statement)

        unknown = {each.name for each in migrations.applied(db)} - {FIRST}
        if unknown:
            raise DatabaseError(
                f"{self._path} was written by a newer gaia_local (it has {', '.join(sorted(unknown))}); "
                "upgrade gaia_local, or use another root"
            )
        if not readonly:
            migrations.apply(db)
        else:
            self.blank = bool(migrations.pending(db))

    def _made(self, make: Callable[[tuple[Any, ...]], T], sql: str, values: Iterable[Any]) -> list[T]:
        """What is made of rows, of which there may be very many: one at a time."""
        with self._lock:
            try:
                return [make(row) for row in self._connection.execute(sql, tuple(values))]
            except sqlite3.Error as error:
                raise self._error(error) from error

    def _rows(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(sql, tuple(values)).fetchall()
            except sqlite3.Error as error:
                raise self._error(error) from error

    def _write(self, sql: str, values: Iterable[Any]) -> None:
        self._write_many(sql, (tuple(values),))

    def _write_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        # One inside a transaction is part of it: a savepoint for each would double the statements.
        with self._lock, contextlib.nullcontext() if self._inside else self.transaction():
            try:
                self._connection.executemany(sql, rows)
            except sqlite3.Error as error:
                raise self._error(error) from error

    def _insert(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows, many with each statement: for each, Python lets go of its global lock and has to get it back."""
        into, _, places = sql.partition(" values ")
        waiting = iter(rows)
        with self._lock, contextlib.nullcontext() if self._inside else self.transaction():
            try:
                while some := list(itertools.islice(waiting, _AT_A_TIME)):
                    statement = f"{into} values {', '.join([places] * len(some))}"
                    self._connection.execute(statement, list(itertools.chain.from_iterable(some)))
            except sqlite3.Error as error:
                raise self._error(error) from error

    def _error(self, error: sqlite3.Error) -> DatabaseError:
        advice = next((right for text, right in _ADVICE.items() if text in str(error).lower()), None)
        return DatabaseError(f"the state database {self._path} can't be used: {error}" + (f"; {advice}" if advice else ""))


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


def _attempt(row: tuple[Any, ...]) -> Attempt:
    (identity, workflow, step, state, reason, definition, code, message, image_id, inputs, superseded, *times) = row
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
