"""The file that holds the state of all workflows: how it is made, opened and migrated."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

from gaia_local.errors import DatabaseError

LOCK_TIMEOUT_SECONDS = 10.0
"""For another process to release the file; only a foreign program ever holds it for long."""
DAMAGED = (
    "it is damaged: restore a copy of it, or move it away and upload again: "
    "the files in the store will be found and used"
)
_ADVICE = {
    "locked": f"another process has held it for more than {LOCK_TIMEOUT_SECONDS:g} s: "
    "find that process (`fuser`, `lsof`) and end it",
    "full": "make room on its disk",
    "readonly": "its disk or its directory is read-only: make it writable",
    "unable to open": "check that its disk is mounted, "
    "and that this user may read and write it and its directory",
    "disk i/o": "its disk is full, read-only, gone or broken: repair that",
    "malformed": DAMAGED,
    "not a database": DAMAGED,
    "no such": DAMAGED,
}
"""Part of SQLite's message → advice."""

SCHEMA = """
create table workflows (
    name text primary key, state text not null, properties text not null, steps integer not null,
    created real not null
);
create table commands (
    workflow text not null, name text not null, definition text not null,
    primary key (workflow, name)
);
create table steps (
    workflow text not null, name text not null, definition text not null,
    primary key (workflow, name)
);
create table tasks (
    id text primary key, workflow text not null, step text not null, state text not null,
    reason text not null, definition text not null, exit_code integer, message text, image_id text,
    inputs text, superseded integer not null, created real not null, started real, ended real
);
create index tasks_by_step on tasks (workflow, step);
create table data (
    workflow text not null, key text not null, state text not null, quick text, digest text,
    task text, why text, primary key (workflow, key)
) without rowid;
create table events (
    id integer primary key, workflow text not null, time real not null, event text not null,
    facts text not null
);
create index events_by_workflow on events (workflow);
"""

MIGRATIONS, FIRST = "gaia_local", "0001_first"
"""The name of the migrations as a set, and of the first, which creates the `SCHEMA`."""
LATER = {
    "0002_buckets": """
create table buckets (
    workflow text not null, bucket text not null, directory text, primary key (workflow, bucket)
) without rowid;
insert into buckets select distinct workflow, substr(key, 1, instr(key, ':') - 1), null from data
    where instr(key, ':') > 0 and key not like 'composite/%'
""",
    "0003_listings": """
create table listings (digest text primary key, entries blob not null) without rowid
""",
    "0004_made": """
create table made (
    place text primary key, state text not null, quick text, digest text, task text, why text
) without rowid;
create table made_tasks (
    id text primary key, workflow text not null, step text not null, state text not null,
    reason text not null, definition text not null, exit_code integer, message text, image_id text,
    inputs text, superseded integer not null, created real not null, started real, ended real
)
""",
    "0005_flushed": """
alter table data add column epoch integer not null default 0;
create index data_by_epoch on data (epoch);
create table flushed (epoch integer not null, boot text not null);
insert into flushed values (0, '')
""",
}
"""The later migrations: the tables they create, and fill from the older ones."""
_APPLIED = f"('{MIGRATIONS}', '{{}}', datetime('now') || '+00:00')"
_REGISTER = f"""
create table "_sqlite_migrations" (
    "id" integer primary key, "migration_set" text, "name" text, "applied_at" text
);
create unique index "idx__sqlite_migrations_migration_set_name"
    on "_sqlite_migrations" ("migration_set", "name");
insert into "_sqlite_migrations" (migration_set, name, applied_at) values
    {", ".join(_APPLIED.format(name) for name in (FIRST, *LATER))};
"""
"""The table of applied migrations, as sqlite-utils keeps it: a new database has them all."""


def open_file(path: Path, readonly: bool) -> tuple[sqlite3.Connection, bool]:
    """A connection to the file, which is created and migrated where it may be written.

    Answers also whether it is blank: another process is creating it, or would have to. Raises
    `DatabaseError` for any other file.
    """
    try:
        _refuse_foreign(path, readonly)
        if not readonly and not path.exists():
            _create(path)
        try:
            return _open(path, "mode=ro" if readonly else "mode=rwc", readonly)
        except sqlite3.OperationalError:
            # Without its helping files SQLite reads nothing from a read-only directory, unless
            # nobody can write there.
            log = Path(f"{path}-wal")
            if (
                not readonly
                or os.access(path.parent, os.W_OK)
                or (log.exists() and log.stat().st_size)
            ):
                raise
            return _open(path, "immutable=1", readonly)
    except sqlite3.Error as error:
        raise trouble(path, error) from error
    except UnicodeDecodeError as error:  # in SQLite's message about a damaged one
        raise DatabaseError(f"the state database {path} can't be used: {DAMAGED}") from error
    except OSError as error:
        raise DatabaseError(f"the state database {path} can't be made: {error.strerror}") from error


def _refuse_foreign(path: Path, readonly: bool) -> None:
    """Refuse links in the place of SQLite's files: they would be followed and written to."""
    for file in (
        path,
        Path(f"{path}-wal"),
        Path(f"{path}-shm"),
        path.with_name(path.name + ".new"),
    ):
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise DatabaseError(
                    f"{file} is a link, or not a regular file: "
                    "it must be one that gaia_local made; move it away"
                )
            if not readonly and status.st_uid not in (os.geteuid(), os.stat(path.parent).st_uid):
                raise DatabaseError(
                    f"{file} belongs to another user (uid {status.st_uid}): move it away"
                )


def trouble(path: Path, error: sqlite3.Error) -> DatabaseError:
    """SQLite's error about the file, with advice."""
    advice = next((right for text, right in _ADVICE.items() if text in str(error).lower()), None)
    return DatabaseError(
        f"the state database {path} can't be used: {error}" + (f"; {advice}" if advice else "")
    )


def _open(path: Path, how: str, readonly: bool) -> tuple[sqlite3.Connection, bool]:
    uri = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(
        uri, uri=True, check_same_thread=False, timeout=LOCK_TIMEOUT_SECONDS
    )
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        if not readonly:
            connection.execute("pragma journal_mode=wal")
            connection.execute("pragma synchronous=normal")
        blank = not _is_current(connection) and not _migrate(connection, path, readonly)
        undo.pop_all()
    return connection, blank


def _create(path: Path) -> None:
    """Create it under another name and rename it: nobody ever reads one that is incomplete."""
    new = path.with_name(path.name + ".new")
    try:
        # The log of a database that was taken away would be replayed into this one.
        for rest in (new, f"{new}-wal", f"{new}-shm", f"{path}-wal", f"{path}-shm"):
            Path(rest).unlink(missing_ok=True)
        new.touch(mode=0o600)  # for the owner only, as SQLite's helping files will be
        # NOTE: by hand, since the import of sqlite-utils would take most of the time to a new
        # root's first Step.
        with contextlib.closing(sqlite3.connect(new)) as connection:
            connection.executescript(
                f"begin; {SCHEMA} {';'.join(LATER.values())}; {_REGISTER} commit;"
            )
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)


def _is_current(connection: sqlite3.Connection) -> bool:
    """Whether just all migrations were applied; asked without sqlite-utils, slow to import."""
    try:
        rows = connection.execute(
            "select name from _sqlite_migrations where migration_set = ?", (MIGRATIONS,)
        )
        return sorted(name for (name,) in rows) == [FIRST, *LATER]
    except sqlite3.OperationalError:  # there is no such table yet; another error will show again
        return False


def _migrate(connection: sqlite3.Connection, path: Path, readonly: bool) -> bool:
    """Apply pending migrations; False where it can't be written and holds no tables to read."""
    import sqlite_utils
    from sqlite_utils.migrations import Migrations

    db, migrations = sqlite_utils.Database(connection), Migrations(MIGRATIONS)

    def add(name: str, script: str) -> None:
        @migrations(name=name)
        def apply(db: Any) -> None:
            for statement in script.split(";"):
                db.execute(statement)

    for name, script in {FIRST: SCHEMA, **LATER}.items():
        add(name, script)
    applied = {migration.name for migration in migrations.applied(db)}
    unknown = applied - {FIRST, *LATER}
    if unknown:
        raise DatabaseError(
            f"{path} was written by a newer gaia_local (it has {', '.join(sorted(unknown))}); "
            "upgrade gaia_local, or use another root"
        )
    if readonly:
        for name in LATER.keys() - applied if applied else ():
            for statement in LATER[name].split(";"):  # a new table reads as empty
                if statement.lstrip().startswith("create table"):
                    connection.execute(statement.replace("create table", "create temp table"))
        return bool(applied)
    migrations.apply(db)
    return True
