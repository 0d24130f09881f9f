"""Makes and moves directories: deeper ones than Python's stack, and read-only ones."""

from __future__ import annotations

import os
import stat


def make_directories(path: str, mode: int = 0o777) -> None:
    """Make a directory with this mode, and those around it; existing ones are fine.

    NOTE: `os.makedirs` and `Path.mkdir` call themselves for each level of a path.
    """
    missing = [path]
    while missing:
        innermost = missing[-1]
        try:
            os.mkdir(innermost, mode if len(missing) == 1 else 0o777)
        except FileNotFoundError:
            around = os.path.dirname(innermost)
            if around in ("", innermost):
                raise
            missing.append(around)
            continue
        except OSError:  # on a read-only disk, existing ones are no `FileExistsError`
            if not os.path.isdir(innermost):
                raise
        missing.pop()


def rename(source: str, target: str) -> None:
    """As `os.rename`, also for a read-only directory of this user's; it keeps its mode.

    NOTE: to change the parent of a directory is to write its entry ``..``.
    """
    try:
        os.rename(source, target)
        return
    except PermissionError:
        status = os.lstat(source)
        if not open_directory(source, status):
            raise
    at = source
    try:
        os.rename(source, target)
        at = target
    finally:
        os.chmod(at, stat.S_IMODE(status.st_mode))


def open_directory(path: str, status: os.stat_result | None = None) -> bool:
    """Let this user change a directory of its own; False if it isn't one, or open already.

    `status` is its `lstat`, if known.
    """
    status = status or os.lstat(path)
    mode = stat.S_IMODE(status.st_mode)
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not ours or mode & stat.S_IRWXU == stat.S_IRWXU:
        return False
    os.chmod(path, mode | stat.S_IRWXU)
    return True
