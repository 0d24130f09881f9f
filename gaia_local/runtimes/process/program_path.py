"""Finds a program as the system would when it starts it."""

from __future__ import annotations

import functools
import os
import shutil


@functools.lru_cache(maxsize=256)
def program_path(name: str, path: bytes, _second: int) -> str | None:
    """The path of a program by PATH; None if it depends on the working directory, or is missing.

    NOTE: otherwise the child would look for it, with one failing exec per directory, while this
    whole process is blocked.
    """
    directories = os.fsdecode(path).split(os.pathsep)
    return (
        shutil.which(name, path=os.fsdecode(path))
        if "/" not in name and all(map(os.path.isabs, directories))
        else None
    )
