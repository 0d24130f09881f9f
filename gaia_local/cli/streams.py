"""The program's streams: messages that stderr can't take are lost; a broken stdout ends it.

Both may be a pipe that nobody reads any more, or a file on a full disk. Messages are for people:
where they can't be read, the work goes on. Results were asked for.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

SIGPIPE_STATUS = 141
"""The exit status of programs whose reader went away; their shell says nothing then."""


class _Messages(io.FileIO):
    """A descriptor that takes everything."""

    def write(self, data: Any, /) -> int:
        """Write some of it, or lose all of it."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


class _Results(io.FileIO):
    """A descriptor that fails once, and remembers why."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write some of it. After an error, which the program ends with, lose all of it."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
                raise
        return memoryview(data).nbytes


def install() -> None:
    """Replace the streams that Python made. Exits where there is no stdout."""
    closed = sys.stdout is None
    for descriptor in range(3):
        _occupy(descriptor)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(_Messages, 2, sys.__stderr__)
    if closed:
        sys.stderr.write("gaia-local: stdout is closed\n")
        raise SystemExit(1)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(_Results, 1, sys.__stdout__)


def as_python_made_them() -> Callable[[], None]:
    """Take the replacements away; answers a function that puts them back."""
    ours = sys.stdout, sys.stderr
    for stream in ours:
        stream.flush()
    if isinstance(_raw(sys.stdout), _Results) and sys.__stdout__ is not None:
        sys.stdout = sys.__stdout__
    if isinstance(_raw(sys.stderr), _Messages) and sys.__stderr__ is not None:
        sys.stderr = sys.__stderr__

    def put_back() -> None:
        sys.stdout, sys.stderr = ours

    return put_back


def failure() -> int | None:
    """Flush stdout; if something of it was lost, say so, and answer the exit status."""
    raw = _raw(sys.stdout)
    if not isinstance(raw, _Results):
        return None
    try:
        sys.stdout.flush()
    except OSError as error:
        raw.error = raw.error or error
    if raw.error is None:
        return None
    if raw.error.errno == errno.EPIPE:
        return SIGPIPE_STATUS
    sys.stderr.write(f"gaia-local: stdout can't be written: {raw.error.strerror}\n")
    return 1


# ------------------------------------------------------------------------------------------- inside


def _occupy(descriptor: int) -> None:
    """Open nothing under a number that is closed: else a file of ours would become the stream."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)


def _stream(kind: type[io.FileIO], descriptor: int, made: TextIO | None) -> io.TextIOWrapper:
    """A text stream; a terminal that knows few characters shows '?' for the others."""
    raw = kind(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(made, "encoding", None),
        errors="replace",
        line_buffering=descriptor == 2 or raw.isatty(),
    )


def _raw(stream: Any) -> object:
    return getattr(getattr(stream, "buffer", None), "raw", None)
