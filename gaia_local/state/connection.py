"""A connection to the state file: transactions, reads, writes, and the flush to the disk."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from gaia_local.errors import DatabaseError
from gaia_local.state import state_file
from gaia_local.store import disk_sync
from gaia_local.terminal_text import LINES, escaped, is_utf8

logger = logging.getLogger("gaia_local")

P = ParamSpec("P")
T = TypeVar("T")

_ROWS_PER_STATEMENT = 50


def reads_rows(method: Callable[P, T]) -> Callable[P, T]:
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


class Connection:
    """A connection with one lock around every use. Thread-safe."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        """Open the file; created or migrated unless `readonly`. Raises `DatabaseError`."""
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        """The number of open transactions, nested."""
        self._connection = state_file.open_file(path, readonly)
        self._file = None if readonly else os.stat(path)
        self._written, self._synced = 1, 0
        """The number of transactions, and of those that are known to be on the disk."""

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside happens, or nothing. One inside another is a part of it."""
        with self._lock:
            try:
                if not self._depth:
                    self._refuse_lost()
                    self._connection.execute("begin")
                self._depth += 1
                try:
                    yield
                    if self._depth == 1:
                        self._connection.execute("commit")
                        self._written += 1
                except BaseException:
                    if self._depth == 1:
                        self._connection.rollback()
                    raise
                finally:
                    self._depth -= 1
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
        """Raise if the file was removed or replaced: later writes to it would be lost."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self._path), self._file):
                return
        raise DatabaseError(
            f"the state database {self._path} was removed or replaced while it was open: "
            "move it back, or close this Gaia (end its process) and start again with the new file"
        )

    def sync(self) -> None:
        """Flush all that was written to the disk; unlike SQLite's own flush it holds up no writer.

        NOTE: all commits are in the log, or were flushed before they left it. SQLite holds no lock
        on this file that the `close` of another descriptor would take away.
        """
        written = self._written
        if written == self._synced:
            return
        try:
            descriptor = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # if SQLite can keep no such log, it flushes each commit
            return
        try:
            disk_sync.fsync(descriptor)
            if not self._synced:  # the file is there since this was opened
                disk_sync.flush_one(str(self._path.parent))
        except OSError as error:
            raise DatabaseError(
                f"the state database {self._path} can't be flushed ({error.strerror}): "
                "the last changes may be lost if the machine stops"
            ) from error
        finally:
            os.close(descriptor)
        self._synced = max(self._synced, written)

    def _map_rows(
        self, make: Callable[[tuple[Any, ...]], T], sql: str, values: Iterable[Any]
    ) -> list[T]:
        """The results of `make` for rows, read one at a time since there may be very many."""
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
        waiting = iter(rows)
        with self._lock, contextlib.nullcontext() if self._depth else self.transaction():
            try:
                while chunk := list(itertools.islice(waiting, _ROWS_PER_STATEMENT)):
                    try:
                        self._connection.executemany(sql, chunk)
                    except UnicodeEncodeError:  # earlier rows are written again, to no effect
                        self._connection.executemany(sql, map(_encodable, chunk))
            except sqlite3.Error as error:
                raise state_file.trouble(self._path, error) from error

    def _insert(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows, many with one statement: Python releases its global lock for each."""
        waiting = iter(rows)
        with self._lock, contextlib.nullcontext() if self._depth else self.transaction():
            try:
                while chunk := list(itertools.islice(waiting, _ROWS_PER_STATEMENT)):
                    statement = _for_rows(sql, len(chunk))
                    values = list(itertools.chain.from_iterable(chunk))
                    try:
                        self._connection.execute(statement, values)
                    except UnicodeEncodeError:
                        self._connection.execute(statement, _encodable(values))
            except sqlite3.Error as error:
                raise state_file.trouble(self._path, error) from error


@functools.lru_cache(maxsize=256)
def _for_rows(sql: str, count: int) -> str:
    """A statement that inserts one row, for so many."""
    into, _, places = sql.partition(" values ")
    return f"{into} values {', '.join([places] * count)}"


def _encodable(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values of a row, with those texts escaped that UTF-8, and so SQLite, can't hold.

    Names and keys are refused before they come here, and messages are escaped where they are made:
    this is for one that was forgotten, which must cost no decision.
    """
    return tuple(
        escaped(value, LINES) if isinstance(value, str) and not is_utf8(value) else value
        for value in values
    )
