"""Where the root is, for people who don't say it."""

from __future__ import annotations

import os
from pathlib import Path

NAME = "gaia-data"
"""The name of a root that nobody named."""


def root_above() -> Path | None:
    """The root that a call without one means, if it isn't in the current directory but above.

    It is found as git finds its own: the nearest directory `gaia-data` with a state file, on the
    same file system. Only one of this user's own: what another one left there could run programs.
    """
    if os.environ.get("GAIA_LOCAL_ROOT"):
        return None
    try:
        here = Path.cwd()
        if os.path.lexists(here / NAME):
            return None
        device = os.stat(here).st_dev
        for directory in here.parents:
            if os.stat(directory).st_dev != device:
                return None
            root = directory / NAME
            if (root / "gaia.db").is_file():
                return root if os.stat(root).st_uid == os.geteuid() else None
    except OSError:  # a directory that is closed to this user, or was removed
        return None
    return None


def default_root() -> Path:
    """The root of a call that names none."""
    return root_above() or Path(os.environ.get("GAIA_LOCAL_ROOT") or NAME).expanduser()
