"""Flushes files and their names to the disk, with the means that the file system has."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable

from gaia_local.model.paths import is_inside
from gaia_local.store.walking import path_status, walk

MANY_FILES = 64
"""If there are more files, the whole file system is flushed, which is faster then."""
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EROFS)
"""Errors of file systems that can't flush: FUSE, some network file systems, read-only ones."""
_UNREACHED = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,
    errno.EACCES,
    errno.EPERM,
)


def flush(paths: Iterable[str], tops: Collection[str]) -> None:
    """Flush files and trees, with their names: all directories between them and `tops`.

    Files that are gone, or that may not be read (the user's), are left out. Raises `OSError` if the
    disk fails.
    """
    found: dict[str, int] = {}
    """Path → device: contents, then the directories that hold their names."""
    around: dict[str, int] = {}
    for path in paths:
        status = path_status(path)
        if status is None:
            continue
        inside = walk(path) if stat.S_ISDIR(status.st_mode) else ()
        for inner, entry in ((path, status), *((inner, entry) for _, inner, entry in inside)):
            if stat.S_ISREG(entry.st_mode):
                found[inner] = entry.st_dev
            elif stat.S_ISDIR(entry.st_mode):
                around[inner] = entry.st_dev
        top = next((top for top in tops if is_inside(path, top)), path)
        while path != top and (path := os.path.dirname(path)) not in around:
            around[path] = status.st_dev
    found |= around
    systems = {device: path for path, device in found.items()}.values()
    if len(found) > MANY_FILES and all(map(sync_file_system, systems)):
        return
    for path in found:
        flush_one(path)


def flush_one(path: str) -> None:
    """Flush a file's content, or a directory's names."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNREACHED:
            return
        raise
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync(descriptor: int) -> None:
    """As `os.fsync`, without an error if the file system can't flush."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def sync_file_system(path: str) -> bool:
    """Flush the file system of `path`, faster than many files; False if it can't be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNREACHED:
            return False
        raise
    try:
        import ctypes  # it is slow to import, and seldom needed

        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:  # no Linux
            os.sync()
        elif syncfs(descriptor) and (number := ctypes.get_errno()) not in _CANNOT_FLUSH:
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
    return True
