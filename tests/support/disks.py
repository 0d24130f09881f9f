"""A disk that may lose power at any moment: unflushed data are kept or lost at random."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local.state.database import Database
from gaia_local.store import disk_sync, fingerprints
from gaia_local.store.storage import Storage

LOG_HEADER = 32
"""Bytes of SQLite's log that are others after each beginning of it."""


class Disk:
    """Records the flushes of an engine in this process under one root, inside `watched`.

    These may be lost: the content of a file since its last flush, of which there is all, a part,
    zeroes or nothing; each name that was added to a directory, removed or changed since that was
    flushed; and the end of SQLite's log.
    """

    def __init__(self, root: Path, dice: random.Random) -> None:
        self.root, self._dice = root, dice
        self.lock = threading.RLock()
        """Held while something is flushed, renamed or committed: a cut comes in between."""
        self._contents: dict[int, tuple[int, int, bytes]] = {}
        """Inode → size, time and content when it was flushed."""
        self._names: dict[int, dict[str, int]] = {}
        """Inode of a directory → the names and their inodes when it was flushed."""
        self._log = (b"", 0)
        """The header of SQLite's log, and its flushed length."""
        self._database_time = 0
        self.happened: Callable[[], None] = lambda: None
        """Is called between any two operations."""

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """While inside, record flushes."""
        rename, fsync, opened = os.rename, os.fsync, Database.__init__

        def renamed(source: Any, target: Any, **rest: Any) -> None:
            self._between(lambda: rename(source, target, **rest))

        def fsynced(descriptor: int) -> None:
            self._between(lambda: self._flushed(descriptor))

        def synced(path: str) -> bool:
            self._between(self._all_flushed)
            return True

        def connected(database: Any, *rest: Any, **more: Any) -> None:
            opened(database, *rest, **more)
            database._connection = _Connection(database._connection, self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "rename", renamed)
            patch.setattr(os, "fsync", fsynced)
            patch.setattr(disk_sync, "sync_file_system", synced)
            patch.setattr(Database, "__init__", connected)
            self._fsync = fsync
            yield

    def committed(self, commit: Callable[[], Any]) -> None:
        """SQLite commits, and perhaps brings its log into the file: before that it flushes both."""

        def act() -> None:
            commit()
            time = (self.root / "gaia.db").stat().st_mtime_ns
            if time != self._database_time:
                self._database_time, self._log = time, self._log_now()
            elif self._log_now()[0] != self._log[0]:  # it began anew
                self._log = (self._log_now()[0], 0)

        self._between(act)

    def cut(self, target: Path) -> None:
        """Make a copy of the root as it is after a power cut now. The caller holds the lock."""
        same: set[str] = set()
        self._copy_directory(str(self.root), str(target), same)
        header, flushed = self._log
        size = self._log_now()[1]
        least = flushed if header == self._log_now()[0] else 0
        with contextlib.suppress(FileNotFoundError):
            os.truncate(target / "gaia.db-wal", self._dice.randint(least, size))
        (target / "gaia.db-shm").unlink(missing_ok=True)
        self._say_the_same(target, same)

    # -- inside ------------------------------------------------------------------------------------

    def _between(self, act: Callable[[], None]) -> None:
        with self.lock:
            self.happened()
            act()
            self.happened()

    def _flushed(self, descriptor: int) -> None:
        self._fsync(descriptor)
        status = os.fstat(descriptor)
        for known in (self._names, self._contents):  # another that is gone may have had the inode
            known.pop(status.st_ino, None)
        if stat.S_ISDIR(status.st_mode):
            self._names[status.st_ino] = {
                name: os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_ino
                for name in os.listdir(descriptor)
            }
            return
        if status.st_ino == self._inode("gaia.db-wal"):
            self._log = self._log_now()
        else:
            content = os.pread(descriptor, status.st_size, 0)
            self._contents[status.st_ino] = (status.st_size, status.st_mtime_ns, content)

    def _all_flushed(self) -> None:
        for top, _, names in os.walk(self.root):
            for path in (top, *(f"{top}/{name}" for name in names)):
                # Programs remove their files meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    if path == top or stat.S_ISREG(os.lstat(path).st_mode):
                        self._path_flushed(path)

    def _path_flushed(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self._flushed(descriptor)
        finally:
            os.close(descriptor)

    def _inode(self, name: str) -> int:
        try:
            return (self.root / name).stat().st_ino
        except FileNotFoundError:
            return -1

    def _log_now(self) -> tuple[bytes, int]:
        try:
            content = (self.root / "gaia.db-wal").read_bytes()
        except FileNotFoundError:
            return b"", 0
        return content[:LOG_HEADER], len(content)

    def _copy_directory(self, source: str, target: str, same: set[str]) -> None:
        """Copy a directory as it may be after the cut; `same` gets the paths that are unchanged."""
        os.makedirs(target)
        flushed = self._names.get(os.stat(source).st_ino, {})
        present = dict[str, os.stat_result]()
        for name in os.listdir(source):
            with contextlib.suppress(FileNotFoundError):  # workers remove private files meanwhile
                present[name] = os.lstat(f"{source}/{name}")
        for name in sorted({*flushed, *present}):
            now, then = present.get(name), flushed.get(name)
            ours = not name.startswith(("gaia.db", "owner")) and source != str(self.root)
            changed = ours and (now is None or now.st_ino != then)
            if now is not None and (not changed or self._dice.random() < 0.5):
                same.add(os.path.relpath(f"{source}/{name}", self.root))
                with contextlib.suppress(FileNotFoundError):
                    self._copy(f"{source}/{name}", now, f"{target}/{name}", same, torn=ours)
            elif changed and then is not None:
                self._restore(then, f"{target}/{name}")

    def _copy(
        self, source: str, status: os.stat_result, target: str, same: set[str], torn: bool
    ) -> None:
        if stat.S_ISDIR(status.st_mode):
            self._copy_directory(source, target, same)
        elif stat.S_ISREG(status.st_mode):
            content = Path(source).read_bytes()
            known = self._contents.get(status.st_ino, (-1, -1))
            if torn and known[:2] != (status.st_size, status.st_mtime_ns):
                half = len(content) // 2
                content = self._dice.choice(
                    [
                        content,
                        b"",
                        bytes(len(content)),
                        content[:half],
                        content[:half] + bytes(half),
                    ]
                )
            Path(target).write_bytes(content)

    def _restore(self, inode: int, target: str, around: tuple[int, ...] = ()) -> None:
        """Write the flushed content of an inode; an empty file if the inode was reused since."""
        if inode in self._names and inode not in around:
            os.makedirs(target)
            for name, inner in self._names[inode].items():
                self._restore(inner, f"{target}/{name}", (*around, inode))
        elif inode in self._contents:
            Path(target).write_bytes(self._contents[inode][2])
        else:
            Path(target).touch()

    def _say_the_same(self, target: Path, same: set[str]) -> None:
        """Adapt unchanged files' quick fingerprints in the rows to the copy, with other inodes."""
        original, copy = Storage(self.root, {}), Storage(target, {})
        with contextlib.closing(sqlite3.connect(target / "gaia.db")) as database, database:
            try:
                rows = database.execute(
                    "select workflow, key, quick from data where quick is not null"
                ).fetchall()
            except sqlite3.OperationalError:  # nothing of the database came to the disk
                return
            for workflow, key, quick in rows:
                path = original.path(workflow, key)
                if (
                    os.path.relpath(path, self.root) in same
                    and fingerprints.quick_fingerprint(path) == quick
                ):
                    now = fingerprints.quick_fingerprint(copy.path(workflow, key))
                    database.execute(
                        "update data set quick = ? where workflow = ? and key = ?",
                        (now, workflow, key),
                    )


class _Connection:
    """A connection to the state file that says when it commits."""

    def __init__(self, real: sqlite3.Connection, disk: Disk) -> None:
        self._real, self._disk = real, disk

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "commit":
            self._disk.committed(lambda: self._real.execute(sql))
            return None
        return self._real.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
