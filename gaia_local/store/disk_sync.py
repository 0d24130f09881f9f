"""Has files and the names of them on the disk, whatever the file system can do for that."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable

from gaia_local.model.paths import is_inside
from gaia_local.store.walking import path_status, walk

MANY_FILES = 64
"""More than these are flushed with the whole file system: it is faster then."""
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EROFS)
"""What file systems say that have no such call: FUSE, some of the network, read-only ones."""
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
    """Have files and trees on the disk, with their names: all directories between them and `tops`.

    What isn't there any more, or may not be read (the user's), is left out. Raises `OSError` where
    the disk fails.
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
    """Have a file's content, or a directory's names, on the disk."""
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
    """As `os.fsync`, also where the file system has nothing like it: nothing more can be had."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def sync_file_system(path: str) -> bool:
    """Flush the file system of `path`, faster than many files; False where it isn't reached."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNREACHED:
            return False
        raise
    try:
        import ctypes  # it takes its time, and few need it

        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:  # no Linux
            os.sync()
        elif syncfs(descriptor) and (number := ctypes.get_errno()) not in _CANNOT_FLUSH:
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
    return True
