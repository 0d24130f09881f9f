"""Finds a program as the system would when it starts it."""

from __future__ import annotations

import functools
import os


@functools.lru_cache(maxsize=256)
def program_path(name: str, path: bytes, _second: int) -> str | None:
    """The path of a program by PATH; None if it depends on the working directory, or is missing.

    NOTE: otherwise the child would look for it, with one failing exec per directory, while this
    whole process is blocked.
    """
    directories = os.fsdecode(path).split(os.pathsep)
    if "/" in name or not all(map(os.path.isabs, directories)):
        return None
    # As `shutil.which`, whose import brings four libraries for archives.
    places = (os.path.join(directory, name) for directory in directories)
    return next((at for at in places if os.access(at, os.X_OK) and not os.path.isdir(at)), None)
