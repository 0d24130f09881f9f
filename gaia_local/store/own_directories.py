"""Directories that the engine makes for itself, and that no other user may have planted."""

from __future__ import annotations

import os
import stat

from gaia_local.errors import StorageError
from gaia_local.model.names import OWN


def own_directory(path: str) -> None:
    """Make a directory for this user alone, unless there is one.

    Raises `StorageError` for anything else at `path`: the engine writes and removes files there. A
    link may lead to other files, and a directory of another user may be a trap.
    """
    try:
        os.mkdir(path, 0o700)
        return
    except FileExistsError:
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "no directory"
        must = "must be a directory that gaia_local makes for itself: move it away"
        raise StorageError(f"{path} is {kind}, and {must}")
    if status.st_uid != os.geteuid() and not _shows_as(status.st_uid, path):
        whose = f"another user (uid {status.st_uid})"
        raise StorageError(f"{path} belongs to {whose}: move it away, or use another directory")


def _shows_as(user: int, directory: str) -> bool:
    """Whether files made here have `user` as owner: on some network disks, all have the same."""
    import tempfile  # it is slow to import, and seldom needed

    try:
        probe = tempfile.mkdtemp(prefix=OWN, dir=directory)
    except OSError:
        return False
    try:
        return os.lstat(probe).st_uid == user
    finally:
        os.rmdir(probe)
