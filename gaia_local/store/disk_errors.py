"""Errors of the disk: what could not be done, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from gaia_local.errors import DiskError, error_text

_ADVICE = {
    errno.ENOSPC: "make room, then `run` goes on",
    errno.EDQUOT: "make room, then `run` goes on",
    errno.EROFS: "make the disk writable, then `run` goes on",
}


@contextlib.contextmanager
def disk_errors(what: str, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Raise an error of the system, `but` one kind, as the `DiskError` that says `what` failed."""
    try:
        yield
    except but:
        raise
    except OSError as error:
        raise disk_error(what, error) from error


def disk_error(what: str, error: OSError) -> DiskError:
    """What could not be done, why, and what to do."""
    advice = _ADVICE.get(error.errno or 0)
    why = error_text(error) if error.strerror is None else error.strerror
    return DiskError(f"{what}: {why}" + (f"; {advice}" if advice else ""))
