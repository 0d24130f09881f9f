"""Errors of the disk, with the failed action and advice."""

from __future__ import annotations

import errno
from contextlib import AbstractContextManager
from types import TracebackType

from gaia_local.errors import DiskError, error_text

_ADVICE = {
    errno.ENOSPC: "make room, then `run` goes on",
    errno.EDQUOT: "make room, then `run` goes on",
    errno.EACCES: "let this user read and write there, then `run` goes on",
    errno.EROFS: "make the disk writable, then `run` goes on",
}


def disk_errors(what: str) -> AbstractContextManager[None]:
    """Inside, an error of the system is raised as the `DiskError` that says `what` failed."""
    return _DiskErrors(what)


class _DiskErrors:
    """A class, since a generator takes thrice the time: a Step needs several of these."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Nothing is prepared."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            raise disk_error(self._what, error) from error


def disk_error(what: str, error: OSError) -> DiskError:
    """The error with the failed action `what`, its reason, and advice."""
    advice = _ADVICE.get(error.errno or 0)
    why = error_text(error) if error.strerror is None else error.strerror
    return DiskError(f"{what}: {why}" + (f"; {advice}" if advice else ""))
