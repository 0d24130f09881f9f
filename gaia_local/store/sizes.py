"""The sizes of files and trees."""

from __future__ import annotations

import contextlib
import os
import stat

from gaia_local.store.file_work import UNTOLD, FileWork
from gaia_local.store.walking import path_status, walk


def total_size(path: str, work: FileWork = UNTOLD) -> int:
    """The sum of the sizes of all regular files at `path`, in bytes; 0 if nothing is there."""
    status = path_status(path)
    if status is None:
        return 0
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    return sum(
        entry.st_size
        for _, _, entry in walk(os.fspath(path), work=work)
        if stat.S_ISREG(entry.st_mode)
    )


def readable_size(top: str) -> int:
    """The sizes of all files below a directory in bytes, without those that can't be looked at."""
    size, waiting = 0, [top]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as found:
            for entry in found:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(entry.path)
                elif stat.S_ISREG(status.st_mode):
                    size += status.st_size
    return size
