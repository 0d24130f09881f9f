"""A root's identity, different for all roots that use the same buckets."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

from gaia_local.store import disk_sync
from gaia_local.store.ownership import boot_id

logger = logging.getLogger("gaia_local")


def identify(root: Path) -> str:
    """The root's identity, made where it has none; a copy of another root gets one of its own.

    A copy has another inode, or is on another device: as long as the machine runs, since the
    numbers of devices may change when it starts again.
    """
    path, status, boot = identity_file(root), os.stat(root), boot_id()
    with contextlib.suppress(FileNotFoundError, ValueError):
        known, inode, device, then = f"{path.read_text()} {status.st_dev} {boot}".split()[:4]
        if int(inode) == status.st_ino and (int(device) == status.st_dev or then != boot):
            return known
        logger.warning("root %s is a copy: Tasks that ran in the other root are left to that", root)
    identity = os.urandom(16).hex()
    new = root / f"id.{identity}"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(f"{identity} {status.st_ino} {status.st_dev} {boot}\n")
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
