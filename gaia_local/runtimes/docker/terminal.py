"""Passes this process's streams through to a container, and its terminal if there is one.

All is done in the calling thread. Signals to this process are delivered while it waits.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gaia_local import interrupts
from gaia_local.runtimes.docker.responses import PIECE_BYTES, STDERR, NoAnswer

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_FRAME = struct.Struct(">BxxxL")


class Socket(Protocol):
    """What is used of a connected socket, which doesn't block."""

    def fileno(self) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: bytes, /) -> int: ...

    def shutdown(self, how: int, /) -> object: ...


_SHUT_WR = 1


def pass_through(connection: Socket, resize: Callable[[int, int], None] | None) -> None:
    """Copy stdin to the container, and its output here, until it closes the connection.

    With `resize` the container has a terminal, which is told rows and columns of this one whenever
    they change; without, its output comes in frames for stdout and stderr. Raises `NoAnswer`.
    """
    receive = _Frames().write if resize is None else _write_all
    size, waiting, reading = None, b"", True
    while True:
        if resize is not None and (now := _size()) not in (None, size):
            size = now
            resize(*now)
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN | (select.POLLOUT if waiting else 0))
        if reading and not waiting:
            poll.register(_STDIN, select.POLLIN)
        ready = dict(poll.poll(interrupts.CHECK_SECONDS * 1000))
        interrupts.check()
        try:
            if ready.get(connection.fileno(), 0) & ~select.POLLOUT:
                piece = connection.recv(PIECE_BYTES)
                if not piece:
                    return
                receive(_STDOUT, piece)
            if waiting and ready.get(connection.fileno(), 0) & select.POLLOUT:
                waiting = waiting[connection.send(waiting) :]
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):  # it has ended, with input unread
            return
        except OSError as error:
            raise NoAnswer(f"the connection to the container is lost: {error}") from error
        if _STDIN in ready:
            waiting = _read_stdin()
            if not waiting:
                reading = False
                with contextlib.suppress(OSError):  # its program has ended
                    connection.shutdown(_SHUT_WR)


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    """While inside, each key goes to the container as it is typed, Ctrl-C as well."""
    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN, termios.TCSADRAIN)  # what was typed before is for the container, too
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


def _size() -> tuple[int, int] | None:
    try:
        columns, rows = os.get_terminal_size(_STDIN)
    except OSError:  # the terminal is gone
        return None
    return rows, columns


def _read_stdin() -> bytes:
    try:
        return os.read(_STDIN, PIECE_BYTES)
    except OSError:  # a terminal that is gone, or a directory
        return b""


class _Frames:
    """Takes the engine's frames apart as they come, see `responses.frames`."""

    def __init__(self) -> None:
        self._header, self._stream, self._left = b"", 0, 0

    def write(self, _: int, data: bytes) -> None:
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                _write_all(_STDERR if self._stream == STDERR else _STDOUT, piece)
                continue
            missing = _FRAME.size - len(self._header)
            self._header, data = self._header + data[:missing], data[missing:]
            if len(self._header) == _FRAME.size:
                self._stream, self._left = _FRAME.unpack(self._header)
                self._header = b""


def _write_all(descriptor: int, data: bytes) -> Any:
    while data:
        data = data[os.write(descriptor, data) :]
