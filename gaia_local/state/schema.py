"""The schema of the state file, as migrations: a new file has them all, an older one gets the rest.

The file's `user_version` says how many it has; files from before that have only the record that
sqlite-utils keeps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATION_SET = "gaia_local"
"""The name of these migrations as a set."""
MIGRATIONS = {
    "0001_first": """
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
create index events_by_workflow on events (workflow)
""",
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
    "0006_unfit": """
create table unfit (
    workflow text not null, name text not null, problem text not null, commands text not null,
    primary key (workflow, name)
)
""",
    "0007_reuse": """
alter table tasks add column reused text;
alter table tasks add column fingerprint text;
create table distrusted (fingerprint text primary key, until integer not null) without rowid;
alter table made_tasks add column reused text;
alter table made_tasks add column fingerprint text
""",
    "0008_usage": """
alter table tasks add column usage text;
alter table made_tasks add column usage text
""",
    "0009_courses": """
alter table events add column more text
""",
}
"""Name → its SQL statements, in order. Never change one: add the next."""


def version(connection: sqlite3.Connection) -> int:
    """How many of the migrations a file has; 0 in an empty one, and in one that doesn't say it."""
    return int(connection.execute("pragma user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Apply all that the database lacks, or nothing. Waits while another process does the same."""
    with connection:
        connection.execute("begin immediate")
        applied = version(connection)
        if applied >= len(MIGRATIONS):  # another process was faster
            return
        if connection.execute("select 1 from sqlite_master").fetchone() is None:
            for script in MIGRATIONS.values():
                _run(connection, script)
        else:
            _migrate_old(connection, applied)
        connection.execute(f"pragma user_version = {len(MIGRATIONS)}")


def _migrate_old(connection: sqlite3.Connection, applied: int) -> None:
    """Apply the migrations that are neither among the first `applied` nor recorded."""
    # NOTE: their import takes 40 ms, and 330 where pandas is installed: a new file does without.
    import sqlite_utils
    from sqlite_utils.migrations import Migrations

    migrations = Migrations(MIGRATION_SET)
    for number, (name, script) in enumerate(MIGRATIONS.items()):
        # Those with which the file was made are recorded only now.
        migrations(name=name)(_runner("" if number < applied else script))
    # The plugins that a user has for sqlite-utils have no business here, and are slow to find.
    migrations.apply(
        sqlite_utils.Database(connection, recursive_triggers=False, execute_plugins=False)
    )


def _run(db: sqlite3.Connection | Database, script: str) -> None:
    for statement in script.split(";"):
        db.execute(statement)


def _runner(script: str) -> Callable[[Database], None]:
    return lambda db: _run(db, script)
