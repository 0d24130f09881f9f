"""The schema of the state file: of a new one, of those that older versions wrote, of a newer one.

`recorded` holds state files of older versions as SQL, each named for the last migration it has.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils
from sqlite_utils.migrations import Migrations

from gaia_local import Gaia
from gaia_local.errors import DatabaseError
from gaia_local.model.workflows import WorkflowState
from gaia_local.state import schema, state_file
from gaia_local.state.database import Database
from gaia_local.state.schema import MIGRATION_SET, MIGRATIONS
from support.builders import command
from support.processes import python
from support.waiting import wait_until

RECORDED = Path(__file__).with_name("recorded")
OLD, CURRENT = "0001_first", "0006_unfit"
NEXT = "alter table workflows add column note text; update workflows set note = 'new'"


@pytest.fixture
def path(gaia_root: Path) -> Path:
    gaia_root.mkdir()
    return gaia_root / "gaia.db"


@pytest.fixture(params=[OLD, "0005_flushed", CURRENT])
def recorded(request: pytest.FixtureRequest, path: Path) -> Path:
    return restore(path, request.param)


def restore(path: Path, name: str) -> Path:
    """Make the recorded state file, in the mode in which it was written."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.executescript((RECORDED / f"{name}.sql").read_text())
    return path


def read(path: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def version(path: Path) -> int:
    ((found,),) = read(path, "pragma user_version")
    return int(found)


def noted(path: Path) -> list[str]:
    """The migrations that sqlite-utils has recorded."""
    with contextlib.closing(sqlite_utils.Database(path)) as db:
        return [migration.name for migration in Migrations(MIGRATION_SET).applied(db)]


def dump(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump())


def tables(path: Path) -> dict[str, str]:
    """Name → definition of our tables and indices, without case and white space."""
    found = read(path, "select name, sql from sqlite_master where tbl_name != '_sqlite_migrations'")
    return {name: re.sub(r"\s", "", sql or "").lower() for name, sql in found}


def contents(path: Path, columns: dict[str, str]) -> dict[str, list[Any]]:
    return {
        table: read(path, f"select {names} from {table} order by 1, 2, 3")
        for table, names in columns.items()
    }


def open_and_close(path: Path, readonly: bool = False) -> None:
    Database(path, readonly=readonly).close()


# --------------------------------------------------------------------------------------- a new file


def test_a_new_file_has_the_tables_that_sqlite_utils_makes(path: Path) -> None:
    open_and_close(path)
    assert (version(path), noted(path)) == (len(MIGRATIONS), [])
    made = path.with_name("made.db")
    with contextlib.closing(sqlite_utils.Database(made)) as db:
        migrations = Migrations(MIGRATION_SET)
        for name, script in MIGRATIONS.items():
            migrations(name=name)(lambda db, script=script: db.executescript(script))
        migrations.apply(db)
    assert tables(path) == tables(made)
    assert set(tables(path)) > {"workflows", "data_by_epoch", "flushed"}


def test_a_new_file_and_a_migrated_one_have_the_same_schema(recorded: Path) -> None:
    new = recorded.with_name("new.db")
    open_and_close(new)
    open_and_close(recorded)
    assert tables(recorded) == tables(new)
    assert version(recorded) == version(new) == len(MIGRATIONS)
    assert noted(recorded) == list(MIGRATIONS)


def test_a_file_whose_making_was_interrupted_is_made(path: Path) -> None:
    path.touch()
    reader = Database(path, readonly=True)
    assert (reader.workflows(), reader.boot(), path.stat().st_size) == ({}, "", 0)
    reader.close()
    open_and_close(path)
    assert version(path) == len(MIGRATIONS)


# ---------------------------------------------------------------------------------------- old files


def test_an_older_file_keeps_its_rows(recorded: Path) -> None:
    names = [name for (name,) in read(recorded, "select name from sqlite_master where rootpage")]
    columns = {
        name: ", ".join(row[1] for row in read(recorded, f"pragma table_info({name})"))
        for name in names
        if name in {"workflows", "commands", "steps", "tasks", "data", "events", "made"}
    }
    before = contents(recorded, columns)
    assert all(before.values())
    open_and_close(recorded)
    assert contents(recorded, columns) == before


@pytest.mark.parametrize("readonly", [False, True])
def test_a_workflow_of_an_older_file_is_read_back(recorded: Path, readonly: bool) -> None:
    with contextlib.closing(Database(recorded, readonly=readonly)) as database:
        saved = database.saved("w")
        assert saved is not None
        assert (saved.state, saved.steps, saved.properties) == (
            WorkflowState.ERROR,
            3,
            {"owner": "é"},
        )
        assert [given.name for given in saved.given] == ["first", "second", "third"]
        assert [given.name for given in saved.commands] == ["copy", "break"]
        assert [
            (attempt.task.name, attempt.task.reason, attempt.exit_code)
            for attempt in database.attempts("w")
        ] == [
            ("first", "new", 0),
            ("second", "new", 0),
            ("third", "new", 3),
            ("second", "expired", 0),
            ("third", "upstream second ran again", 3),
        ]
        assert saved.keys.keys() == {"d:given", "d:first", "d:second", "d:third"}
        assert len(database.events("w")) == 28
        assert database.buckets() == [("w", "d", None)]
        assert database.unflushed() == []


def test_a_workflow_of_an_older_file_goes_on(
    recorded: Path, make_gaia: Callable[..., Gaia]
) -> None:
    data = recorded.parent / "storage/w/d"
    data.mkdir(parents=True)
    for name in ("given", "first", "second"):
        (data / name).write_text("1\n")
    gaia = make_gaia()
    before = len(gaia.events("w"))
    gaia.command("w", [command("break", "cat /in/a > /out/x", "a")])
    assert gaia.wait("w", 20)["state"] == "complete"
    started = [entry for entry in gaia.events("w")[before:] if entry["event"] == "step-start"]
    assert [entry["task"] for entry in started] == ["third"]
    assert (data / "third").read_text() == "1\n"
    # What ran before has no fingerprint.
    assert [entry["command"] for entry in gaia.reusable()] == ["break"]


def test_reading_alone_leaves_an_older_file_as_it_is(path: Path) -> None:
    before = dump(restore(path, OLD))
    reader = Database(path, readonly=True)
    with reader.transaction():
        assert list(reader.workflows()) == ["w"]
    with pytest.raises(DatabaseError, match="readonly"):
        reader.set_workflow("w", "running", 1)
    reader.close()
    assert dump(path) == before


def test_an_older_file_that_another_process_locks_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore(path, OLD)
    monkeypatch.setattr(state_file, "LOCK_TIMEOUT_SECONDS", 0.02)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("pragma journal_mode=delete")
        foreign.execute("begin exclusive")
        with pytest.raises(DatabaseError, match="locked"):
            Database(path, readonly=True)


def test_no_other_process_can_lock_an_older_file_before_it_is_copied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copying would wait for it without end."""
    restore(path, OLD)
    look, looks = schema.version, list[int]()
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as foreign:
        foreign.execute("pragma journal_mode=delete")

        def lock_before_the_copying(connection: sqlite3.Connection) -> int:
            looks.append(look(connection))
            if len(looks) == 2:
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    foreign.execute("begin exclusive")
            return looks[-1]

        monkeypatch.setattr(schema, "version", lock_before_the_copying)
        with contextlib.closing(Database(path, readonly=True)) as reader:
            assert list(reader.workflows()) == ["w"]
    assert len(looks) > 1


@pytest.mark.parametrize("new", [False, True])
def test_a_later_migration_is_applied_to_a_file_of_today(
    path: Path, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    if new:
        with contextlib.closing(Database(path)) as database:
            database.add_workflow("w", {}, 1.0)
    else:
        restore(path, CURRENT)
    today = list(MIGRATIONS)
    monkeypatch.setitem(MIGRATIONS, "9999_next", NEXT)
    before = dump(path)
    with contextlib.closing(Database(path, readonly=True)) as reader:
        assert list(reader.workflows()) == ["w"]
    assert dump(path) == before
    open_and_close(path)
    assert (version(path), noted(path)) == (len(today) + 1, [*today, "9999_next"])
    assert read(path, "select name, note from workflows") == [("w", "new")]
    monkeypatch.delitem(MIGRATIONS, "9999_next")
    newer = rf"newer gaia_local .*version {len(today) + 1}, .* knows {len(today)}\b"
    with pytest.raises(DatabaseError, match=newer):
        Database(path)


# --------------------------------------------------------------------- interrupted, and concurrent


def test_migrations_that_fail_change_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(restore(path, OLD))
    monkeypatch.setitem(MIGRATIONS, "9999_next", f"{NEXT}; insert into nowhere values (1)")
    with pytest.raises(DatabaseError, match=r"gaia\.db can't be used: no such table: nowhere"):
        Database(path)
    assert dump(path) == before
    monkeypatch.delitem(MIGRATIONS, "9999_next")
    open_and_close(path)
    assert version(path) == len(MIGRATIONS)


@pytest.mark.parametrize("name", [OLD, None])
def test_a_process_that_dies_while_it_migrates_leaves_the_file_as_it_was(
    path: Path, name: str | None
) -> None:
    before = dump(restore(path, name)) if name else None
    dying = """
        import os, pathlib, sys
        from gaia_local.state import schema
        from gaia_local.state.database import Database
        run, scripts = schema._run, []
        def run_three(db, script):
            run(db, script)
            scripts.append(script)
            if len(scripts) == 3:
                os._exit(9)
        schema._run = run_three
        Database(pathlib.Path(sys.argv[1]))
    """
    assert subprocess.run(python(dying, str(path)), check=False).returncode == 9
    if before:
        assert dump(path) == before
    else:
        assert read(path, "select * from sqlite_master") == []
    open_and_close(path)
    assert version(path) == len(MIGRATIONS)


@pytest.mark.parametrize("name", [OLD, None])
def test_processes_that_open_it_at_the_same_time_all_work(
    path: Path, tmp_path: Path, name: str | None
) -> None:
    if name:
        restore(path, name)
    opening = """
        import pathlib, sys
        from gaia_local.state.database import Database
        path, own, go = map(pathlib.Path, sys.argv[1:])
        own.touch()
        while not go.exists():
            pass
        database = Database(path)
        database.add_workflow(own.name, {}, 1.0)
        database.close()
    """
    owns, go = [tmp_path / f"p{number}" for number in range(4)], tmp_path / "go"
    processes = [
        subprocess.Popen(python(opening, str(path), str(own), str(go)), stderr=subprocess.PIPE)
        for own in owns
    ]
    wait_until(lambda: all(own.exists() for own in owns))
    go.touch()
    assert [process.communicate()[1].decode() for process in processes] == [""] * len(owns)
    assert version(path) == len(MIGRATIONS)
    names = {name for (name,) in read(path, "select name from workflows")}
    assert names - {"w"} == {own.name for own in owns}


def test_a_process_that_waited_while_another_migrated_changes_nothing(path: Path) -> None:
    open_and_close(path)
    before = dump(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        schema.migrate(connection)
    assert dump(path) == before


# -------------------------------------------------------------------------------- a current file


def test_migrations_are_applied_once(path: Path) -> None:
    open_and_close(path)
    before = dump(path)
    open_and_close(path)
    open_and_close(path)
    assert dump(path) == before


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("new", [False, True])
def test_a_current_file_is_opened_and_made_without_sqlite_utils(
    path: Path, new: bool, readonly: bool
) -> None:
    if new:
        path.touch()
    else:
        open_and_close(restore(path, CURRENT))
    opening = f"""
        import pathlib, sys
        from gaia_local.state.database import Database
        Database(pathlib.Path(sys.argv[1]), readonly={readonly}).close()
        print("sqlite_utils" in sys.modules)
    """
    ran = subprocess.run(python(opening, str(path)), capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


# ------------------------------------------------------------------------------------- a newer file


@pytest.mark.parametrize("readonly", [False, True])
def test_a_newer_file_is_refused_and_left_unchanged(path: Path, readonly: bool) -> None:
    open_and_close(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma user_version = 99")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match=r"newer gaia_local .*version 99, ") as caught:
        Database(path, readonly=readonly)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
