"""The token that a root's server was given by itself: kept in the root, for its owner alone."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path

from gaia_local.errors import StorageError

NAME = "token"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def new() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(32)


def read(root: Path) -> str | None:
    """The token of a root; None where there is none, or one that others could have read or put there."""
    try:
        descriptor = os.open(root / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        about = os.fstat(descriptor)
        private = stat.S_ISREG(about.st_mode) and not about.st_mode & 0o077 and about.st_uid == os.geteuid()
        text = os.read(descriptor, 100).decode("ascii", "replace").strip() if private else ""
    finally:
        os.close(descriptor)
    return text if _TOKEN.fullmatch(text) else None


def write(root: Path, token: str) -> None:
    """Keep a token in a root that is there."""
    if read(root) == token:
        return
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{NAME}-", dir=root)  # which only this user can read
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
        raise StorageError(f"{root / NAME}: the token can't be kept there ({error.strerror})") from error
