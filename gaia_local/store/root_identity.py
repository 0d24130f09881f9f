"""A root's identity, different for all roots that use the same buckets."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from pathlib import Path

from gaia_local.store import disk_sync


def identify(root: Path) -> str:
    """The root's identity, made if it has none; a copy of another root gets one of its own."""
    path, inode = identity_file(root), os.stat(root).st_ino
    with contextlib.suppress(FileNotFoundError, ValueError):
        known, where = path.read_text().split()
        if int(where) == inode:
            return known
    identity = uuid.uuid4().hex
    descriptor, new = tempfile.mkstemp(prefix="id.", dir=root)  # its own, for this user alone
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(f"{identity} {inode}\n")
        file.flush()
        disk_sync.fsync(descriptor)
    os.rename(new, path)
    return identity


def read_identity(root: Path) -> str:
    """The identity that the root has."""
    return identity_file(root).read_text().split()[0]


def identity_file(root: Path) -> Path:
    """The file that holds it."""
    return root / "id"
