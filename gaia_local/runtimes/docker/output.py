"""The files that a container's output is written to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gaia_local.runtimes.docker.responses import STDERR, STDOUT, writing

_HEAD = 4096


class OutputFiles:
    """Writes the output of a run to its files: everything to `log`, stdout to `stdout` too. What
    came is readable at once.
    """

    def __init__(self, log: Path, stdout: Path | None, anew: bool = False) -> None:
        """With `anew`, what an earlier process wrote is written again."""
        self._paths = log, stdout
        self._anew = anew
        self._head = b""

    def __enter__(self) -> OutputFiles:
        log, stdout = self._paths
        with writing(log), contextlib.ExitStack() as files:
            self._log = files.enter_context(log.open("ab"))
            self._stdout = None if stdout is None else files.enter_context(stdout.open("wb"))
            self._files = files.pop_all()
        self._start = 0 if self._anew else self._log.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self._paths[0]):
            self._files.close()

    @property
    def head(self) -> str:
        """The beginning of stderr."""
        return self._head.decode("utf-8", "replace")

    def take(self, frames: Iterator[tuple[int, bytes]]) -> None:
        """Write all frames."""
        for stream, piece in frames:
            with writing(self._paths[0]):
                self._log.write(piece)
                self._log.flush()
                if stream == STDOUT and self._stdout is not None:
                    self._stdout.write(piece)
                    self._stdout.flush()
            if stream == STDERR and len(self._head) < _HEAD:
                self._head += piece[:_HEAD]

    def retake(self, frames: Iterator[tuple[int, bytes]]) -> None:
        """Write all frames in place of what was written."""
        with writing(self._paths[0]):
            self._log.truncate(self._start)
            if self._stdout is not None:
                self._stdout.seek(0)
                self._stdout.truncate()
        self._head = b""
        self.take(frames)
