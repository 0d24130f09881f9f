"""The private directories of shells in Steps: each belongs to one process for as long as it lives.

A shell's directory is ``shells/<id>/`` under the root, and its lock the file ``shells/<id>.lock``.
No owner of the root is needed for it, so engines begin and end beside it.

Invariant: whoever makes or removes the directory holds the lock, and the lock is there before the
directory and until after it. A process has the lock as long as it lives, so a directory whose lock
can be taken is a leftover.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gaia_local.store import own_directories, removal
from gaia_local.store.disk_errors import disk_errors

_LOCK = ".lock"


@contextlib.contextmanager
def shell_directory(root: Path) -> Iterator[Path]:
    """A new directory of this process, which is removed at the end; its name is the shell's id.

    Raises `StorageError` if the root can't be written.
    """
    with disk_errors(f"root {root} can't be written"):
        name, lock = _new_lock(root)
    directory = _top(root) / name
    try:
        with disk_errors(f"{directory} can't be made"):
            directory.mkdir(0o700)
        yield directory
    finally:
        _remove(directory, lock)


def is_living(root: Path, name: str) -> bool:
    """Whether the process of the shell with this id lives."""
    with _tried_lock(_lock_path(_top(root) / name), fcntl.LOCK_SH) as lock:
        return lock is _HELD


def dead(root: Path) -> list[Path]:
    """The directories whose processes are dead."""
    try:
        names = os.listdir(_top(root))
    except (FileNotFoundError, NotADirectoryError):
        return []
    shells = sorted(name.removesuffix(_LOCK) for name in names if name.endswith(_LOCK))
    return [_top(root) / name for name in shells if not is_living(root, name)]


def sweep(root: Path, end: Callable[[Path], object]) -> None:
    """Remove the directories of dead processes; `end` first ends what still runs in one."""
    for directory in dead(root):
        with _tried_lock(_lock_path(directory), fcntl.LOCK_EX) as lock:
            if isinstance(lock, int):
                end(directory)
                _remove(directory, os.dup(lock))


class _Held:
    """Another process has the lock."""


_HELD = _Held()


@contextlib.contextmanager
def _tried_lock(path: Path, kind: int) -> Iterator[int | _Held | None]:
    """The locked descriptor; `_HELD` if another process has the lock, None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        yield _HELD
    else:
        yield descriptor
    finally:
        os.close(descriptor)


def _new_lock(root: Path) -> tuple[str, int]:
    """The name of a new shell, and its lock, held.

    Who looks whether the shell lives may have the lock for an instant, and sweep it away.
    """
    while True:
        name = os.urandom(16).hex()
        path = _lock_path(_top(root) / name)
        try:
            own_directories.own_directory(str(_top(root)))
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the last shell's end removed the directory just now
            if root.is_dir():
                continue
            raise
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:
                return name, lock
        except BlockingIOError:
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _remove(directory: Path, lock: int) -> None:
    """Remove a directory, then its lock, which is closed."""
    try:
        removal.remove_or_warn(str(directory))
        if not os.path.lexists(directory):
            _lock_path(directory).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # there are others
                directory.parent.rmdir()
    finally:
        os.close(lock)


def _top(root: Path) -> Path:
    return root / "shells"


def _lock_path(directory: Path) -> Path:
    return directory.with_name(directory.name + _LOCK)
