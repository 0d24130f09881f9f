"""A terminal on which a program runs, and a person who types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from gaia_local.monotonic import monotonic

_SECONDS = 60.0
_ON_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execvp(sys.argv[1], sys.argv[1:])"
)
"""The terminal becomes that of the program's session, as it is for a shell's programs."""


class Terminal:
    """Runs a program on a terminal. The end of a `with` block ends it."""

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        self.seen = ""
        """What the program wrote that no `expect` has taken."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._master)
        try:  # the program is told that its terminal is gone
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def resize(self, rows: int, columns: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self.press(line + "\r")

    def press(self, keys: str) -> None:
        """Press some keys."""
        os.write(self._master, keys.encode())

    def expect(self, pattern: str) -> str:
        """Wait for text that matches; answers all up to its end."""
        end = monotonic() + _SECONDS
        while not (found := re.search(pattern, self.seen)):
            assert monotonic() < end, f"no {pattern!r} in {self.seen!r}"
            assert self._read(end), f"no {pattern!r} in {self.seen!r}"
        taken, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return taken

    def end(self) -> tuple[int, str]:
        """Wait for the program's end; answers its exit status, and the rest that it wrote."""
        end = monotonic() + _SECONDS
        while self._read(end):
            assert monotonic() < end, self.seen
        return self._process.wait(_SECONDS), self.seen

    def _read(self, end: float) -> bool:
        """Take what there is; False when nobody has the other end any more."""
        if select.select([self._master], [], [], max(0.0, end - monotonic()))[0]:
            try:
                piece = os.read(self._master, 1 << 16)
            except OSError:
                return False
            self.seen += piece.decode(errors="replace").replace("\r\n", "\n")
            return bool(piece)
        return True


def converse(terminal: Terminal, transcript: str) -> tuple[int, str]:
    """Type what a transcript has after each ``$ ``, once there is a prompt.

    Answers the exit status, and all that the terminal showed, without control sequences.
    """
    shown = ""
    for line in transcript.splitlines():
        if line.startswith("$ "):
            shown += terminal.expect(r"[$#] (\x1b\[6n)?$")
            terminal.type(line[2:])
    status, rest = terminal.end()
    return status, re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown + rest)
