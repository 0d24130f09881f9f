"""The file with the state of all workflows: opening it, and refusing files that can't be used."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path

from gaia_local.errors import DatabaseError
from gaia_local.monotonic import monotonic
from gaia_local.state import schema

LOCK_TIMEOUT_SECONDS = 10.0
"""For another process to release the file; only a foreign program ever holds it for long."""
_RETRY_SECONDS = 0.005
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


def open_file(path: Path, readonly: bool) -> sqlite3.Connection:
    """A connection to the file, which is created or migrated first, as needed.

    With `readonly` the file is left as it is: where it is older, or empty, the connection is to a
    migrated copy of it in memory. Raises `DatabaseError`, also for a file of a newer version.
    """
    try:
        _refuse_foreign(path, readonly)
        if not readonly and not path.exists():
            path.touch(mode=0o600)  # for the owner only, as SQLite's helping files will be
        try:
            return _open(path, "mode=ro" if readonly else "mode=rw", readonly)
        except sqlite3.OperationalError:
            # Without its helping files SQLite reads nothing from a read-only directory, unless
            # no process can write there.
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
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = f"{path}{suffix}"
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


def _open(path: Path, how: str, readonly: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(
        uri, uri=True, check_same_thread=False, timeout=LOCK_TIMEOUT_SECONDS
    )
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        if not readonly:
            _keep_a_log(connection)
            connection.execute("pragma synchronous=normal")
        version, known = schema.version(connection), len(schema.MIGRATIONS)
        if version > known:
            raise DatabaseError(
                f"{path} was written by a newer gaia_local (its schema has version {version}, and "
                f"this gaia_local knows {known}); upgrade gaia_local, or use another root"
            )
        if version < known:
            if readonly:
                return _migrated_copy(connection)  # and this one is closed
            schema.migrate(connection)
        undo.pop_all()
    return connection


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Have SQLite write to a log beside the file, so that nobody who reads waits for a writer."""
    deadline = monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode=wal")
            return
        # SQLite doesn't wait here while another process does the same to a new file.
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
        time.sleep(_RETRY_SECONDS)


def _migrated_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """A copy in memory of a file that can't be brought up to date; nobody can write to it."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    with contextlib.ExitStack() as undo:
        undo.callback(copy.close)
        # A transaction that has read holds a lock. Without it `backup` would wait without end for
        # another process that locks the file.
        connection.execute("begin")
        schema.version(connection)
        connection.backup(copy)
        schema.migrate(copy)
        copy.execute("pragma query_only = on")
        undo.pop_all()
    return copy
