"""Carries the output of programs into files: pipes, and files that are made late."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from types import TracebackType

from gaia_local.errors import RuntimeFailure
from gaia_local.runtimes.lines import LineWriter

_PIPE_BYTES = 1 << 16
"""The capacity of a pipe."""


class LazyFile:
    """A file that is made at the first write: most programs print nothing."""

    def __init__(self, path: str, flags: int, mode: int = 0o666) -> None:
        self._path, self._flags, self._mode = path, flags, mode
        self._descriptor = -1

    def __enter__(self) -> LazyFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def open(self) -> None:
        """Make it now."""
        try:
            self._descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | self._flags, self._mode
            )
        except OSError as error:
            raise RuntimeFailure(f"{self._path} cannot be written: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        """Write all of it."""
        if self._descriptor < 0:
            self.open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


class Pipe:
    """A pipe from a program, at its `write_end`, to each of `files`."""

    def __init__(self, files: tuple[LazyFile | LineWriter, ...]) -> None:
        self._files = files
        try:
            self.read_end, self.write_end = os.pipe()
        except OSError as error:
            raise RuntimeFailure(
                f"there is no pipe for the program's output: {error.strerror}"
            ) from error

    def __enter__(self) -> Pipe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.read_end)
        self.close_write_end()

    def close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def drain(self) -> None:
        """Copy the rest of the pipe, and no more: a writer can't keep it flowing."""
        rest = struct.unpack("i", fcntl.ioctl(self.read_end, termios.FIONREAD, b"\0" * 4))[0]
        while rest > 0 and (copied := self.copy(rest)):
            rest -= copied

    def copy(self, most: int = _PIPE_BYTES) -> int:
        """Copy at most `most` bytes and return their number; 0 at the end."""
        data = os.read(self.read_end, min(most, _PIPE_BYTES))
        try:
            for file in self._files if data else ():
                file.write(data)
        except OSError as error:
            raise RuntimeFailure(
                f"the program's output cannot be stored: {error.strerror}"
            ) from error
        return len(data)
