"""The files that a container's output is written to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from gaia_local.runtimes.docker.responses import STDERR, STDOUT, disk_errors
from gaia_local.runtimes.lines import LineWriter

_HEAD_BYTES = 4096


class OutputFiles:
    """Writes the output of a run at once: everything to `log`, and stdout to `stdout`, too."""

    def __init__(self, log: str, stdout: str | None, anew: bool = False) -> None:
        """With `anew`, the output replaces that of an earlier process."""
        self._paths = log, stdout
        self._anew = anew
        self._head = b""

    def __enter__(self) -> OutputFiles:
        log, stdout = self._paths
        with disk_errors(log), contextlib.ExitStack() as files:
            self._log = files.enter_context(open(log, "ab"))
            self._stdout = None if stdout is None else files.enter_context(open(stdout, "wb"))
            self._files = files.pop_all()
        self._start = 0 if self._anew else self._log.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        with disk_errors(self._paths[0]):
            self._files.close()

    @property
    def head(self) -> str:
        """The beginning of stderr."""
        return self._head.decode("utf-8", "replace")

    def write(self, frames: Iterator[tuple[int, bytes]]) -> None:
        """Write all frames; lines stay whole in the log."""
        lines = {stream: LineWriter(self._add_to_log) for stream in (STDOUT, STDERR)}
        try:
            self._write(frames, lines)
        finally:
            with disk_errors(self._paths[0]):
                for line_writer in lines.values():
                    line_writer.finish()

    def _write(self, frames: Iterator[tuple[int, bytes]], lines: Mapping[int, LineWriter]) -> None:
        for stream, piece in frames:
            with disk_errors(self._paths[0]):
                lines[stream].write(piece)
                if stream == STDOUT and self._stdout is not None:
                    self._stdout.write(piece)
                    self._stdout.flush()
            if stream == STDERR and len(self._head) < _HEAD_BYTES:
                self._head += piece[:_HEAD_BYTES]

    def _add_to_log(self, data: bytes) -> None:
        self._log.write(data)
        self._log.flush()

    def rewrite(self, frames: Iterator[tuple[int, bytes]]) -> None:
        """Write all frames in place of those written before."""
        with disk_errors(self._paths[0]):
            self._log.truncate(self._start)
            if self._stdout is not None:
                self._stdout.seek(0)
                self._stdout.truncate()
        self._head = b""
        self.write(frames)
