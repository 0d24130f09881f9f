"""The file system of a path: whether it is there, its type, and what files in it can share."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

_FICLONE = 0x40049409
"""Linux's ioctl that makes one file share another's blocks."""


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest of its parents that exists."""
    return next((candidate for candidate in (path, *path.parents) if exists(candidate)), Path("/"))


def exists(path: Path) -> bool:
    """Like `Path.exists`, and False below a directory that is closed to us."""
    return os.access(path, os.F_OK)


def kind(path: Path) -> str | None:
    """The type of the file system of `path`, on Linux; else None."""
    try:
        rows = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = [row.partition(" - ")[2].split()[0] for row in rows if row.split()[2] == wanted]
    return kinds[-1] if kinds else None


def reflink(directory: Path) -> bool | None:
    """Whether files in `directory` can share blocks; None if that can't be tried."""
    if sys.platform != "linux":
        return None
    import fcntl

    try:
        with (
            tempfile.TemporaryFile(dir=directory) as one,
            tempfile.TemporaryFile(dir=directory) as other,
        ):
            one.write(b"\0" * 4096)
            one.flush()
            try:
                fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
            except OSError:
                return False
            return True
    except OSError:
        return None
