"""A connection to a root's owner, which may be busy, or stopped: its caller is told, and waits."""

from __future__ import annotations

import contextlib
import logging
import math
import select
import socket
import struct
from pathlib import Path

from gaia_local import interrupts
from gaia_local.monotonic import monotonic
from gaia_local.store import ownership

logger = logging.getLogger("gaia_local")

SILENCE_SECONDS = 3.0
"""How long the owner may be silent before its caller's user is told."""
_PIECE = 1 << 16
"""Bytes of an answer that are read at a time."""


class OwnerConnection:
    """The owner at the other end is waited for as long as it lives; the user hears of that."""

    def __init__(self, connection: socket.socket, root: Path) -> None:
        self._connection, self._root = connection, root
        self._silent_at = monotonic() + SILENCE_SECONDS

    def send(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        while view:
            self._wait(select.POLLOUT)
            with contextlib.suppress(BlockingIOError):
                view = view[self._connection.send(view) :]

    def receive_line(self) -> bytes:
        """The line that it sends; without its end where the owner ended."""
        line = bytearray()
        while not line.endswith(b"\n"):
            self._wait(select.POLLIN)
            piece = self._connection.recv(_PIECE)
            if not piece:
                break
            line += piece
        return bytes(line)

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._connection, event)
        while not poll.poll(interrupts.CHECK_SECONDS * 1000):
            interrupts.check()
            if monotonic() > self._silent_at:
                self._silent_at = math.inf
                self._say()

    def _say(self) -> None:
        pid = peer(self._connection)[0] or ownership.owner(self._root)
        what, advice = "it is busy, or hangs", f"`kill {pid}` ends it"
        if ownership.is_stopped(pid or 0):
            what, advice = "it is stopped", f"`kill -CONT {pid}` lets it go on"
        logger.warning(
            "process %s, which owns root %s, doesn't answer: %s; %s. Waiting for it",
            pid,
            self._root,
            what,
            advice,
        )


def peer(connection: socket.socket) -> tuple[int | None, int | None]:
    """The pid and the user of the process at the other end; None where unknown."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None, None
    pid, user, _ = struct.unpack(
        "iii", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    )
    return pid, user
