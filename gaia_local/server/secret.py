"""The token that a server made for itself: kept in the root, readable by its owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from gaia_local.errors import StorageError

NAME = "token"


def new() -> str:
    """A random token of 256 bits."""
    return secrets.token_urlsafe(32)


def write(root: Path, token: str) -> None:
    """Store a token in an existing root, in place of the last one."""
    try:
        # `mkstemp` makes a file that only this user can read.
        descriptor, made = tempfile.mkstemp(prefix=f".{NAME}-", dir=root)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(f"{token}\n")
                file.flush()
                os.fsync(descriptor)
            os.rename(made, root / NAME)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(made)
            raise
    except OSError as error:
        raise StorageError(
            f"{root / NAME}: the token can't be written there ({error.strerror})"
        ) from error
