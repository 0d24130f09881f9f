"""The server's connections: who is at the other end, how long one may be silent, and how many there
may be.

What hasn't asked anything that it may ask is a stranger. Where there are too many, the stranger
that has been there the longest makes room for the next: so nobody is kept out by others who merely
connect.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import resource
import socket
import time
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from gaia_local.server import peers

logger = logging.getLogger("gaia_local.server")

KEY = "gaia_local.connection"
"""Where the state of a request has its `Connection`."""
SILENCE = 10.0
"""Seconds in which a request's head must have come, from when it began, or since the connection was
made.
"""
MOST, MOST_OF_ONE = 500, 250
"""How many connections there may be, and how many from one address."""
FEW = 16
"""How many there may be in any case."""
RESERVE = 256
"""Descriptors that connections leave to Steps; a quarter of them all, where that is less."""
HIGHEST = 65_536
"""The limit of descriptors that is asked for at most: programs that close all there may be, one by
one, take their time.
"""
TELL_AGAIN = 60.0
"""Seconds after which it is told again that there are too many."""


def raise_limit() -> None:
    """Let this process have as many open files as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HIGHEST if hard == resource.RLIM_INFINITY else min(hard, HIGHEST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has another limit below this one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(eq=False)
class _Caller:
    connection: socket.socket
    host: str
    known: bool = False
    """Whether it has asked something that it may ask."""


class Door(socket.socket):
    """A socket that listens, and takes no more connections than there may be.

    uvicorn and asyncio accept whatever comes, and when descriptors run out, they say so some
    thousand times a second.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._callers: dict[int, _Caller] = {}
        """By their descriptors, in the order in which they came."""
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        """Given up for a moment when there is no other descriptor: what can't be taken can't be
        refused, either.
        """
        self._made_room = False
        self._told_at = -TELL_AGAIN

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises `BlockingIOError` where there is none, or none that is taken."""
        if self._made_room:  # let the one that had to go be closed before there are more
            self._made_room = False
            raise BlockingIOError(errno.EAGAIN, "one at a time")
        connection, address = self._take()
        caller = _Caller(connection, str(address[0]))
        if not self._make_room(caller):
            connection.close()
            raise BlockingIOError(errno.EAGAIN, "there are too many connections")
        self._callers[connection.fileno()] = caller
        return connection, address

    def know(self, descriptor: int) -> None:
        """A connection has asked something that it may ask: it doesn't make room for others."""
        if descriptor in self._callers:
            self._callers[descriptor].known = True

    def close(self) -> None:
        """Take no more connections. Idempotent."""
        self._drop_spare()
        super().close()

    def _take(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                raise
            self._tell("no file descriptors are left")
            self._drop_spare()
            with contextlib.suppress(OSError):
                super().accept()[0].close()
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            raise BlockingIOError(errno.EAGAIN, "there is no file descriptor for it") from error

    def _make_room(self, new: _Caller) -> bool:
        """Whether there is room for one more; a stranger that is there already may have to go."""
        self._callers = {
            number: each
            for number, each in self._callers.items()
            if each.connection.fileno() == number
        }
        neighbours = [each for each in self._callers.values() if each.host == new.host]
        if len(neighbours) >= MOST_OF_ONE:
            self._tell(f"there are {MOST_OF_ONE} from {new.host}")
        elif len(self._callers) >= MOST:
            self._tell(f"there are {MOST}")
        elif len(self._callers) >= FEW and _descriptors_are_scarce():
            self._tell("the remaining file descriptors are reserved for Steps")
        else:
            return True
        crowd = neighbours if len(neighbours) >= MOST_OF_ONE else self._callers.values()
        stranger = next((each for each in crowd if not each.known), None)
        if stranger is not None:
            del self._callers[stranger.connection.fileno()]
            with contextlib.suppress(OSError):
                stranger.connection.shutdown(socket.SHUT_RDWR)  # whoever reads from it closes it
            self._made_room = True
        return stranger is not None

    def _tell(self, what: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= TELL_AGAIN:
            self._told_at = now
            logger.warning(
                "too many connections: %s; those without a request are closed, then new ones are refused",
                what,
            )

    def _drop_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1


def _descriptors_are_scarce() -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit != resource.RLIM_INFINITY and limit - len(os.listdir("/dev/fd")) < min(
        RESERVE, limit // 4
    )


class Connection(H11Protocol):
    """One connection, closed when it doesn't say what it wants."""

    def __init__(self, *, door: Door, app_state: dict[str, Any], **given: Any) -> None:
        super().__init__(app_state={**app_state, KEY: self}, **given)
        self._door = door
        self._asked = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """See `asyncio.Protocol`, as the two below."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self._expect()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    @contextlib.contextmanager
    def asking(self) -> Any:
        """While inside, a request whose head has come is answered."""
        self._asked = True
        self._calm()
        try:
            yield
        finally:
            self._asked = False

    def know(self) -> None:
        """It has asked something that it may ask."""
        self._door.know(self.transport.get_extra_info("socket").fileno())

    @functools.cached_property
    def is_own(self) -> bool:
        """Whether who connected is the user of this process, or root. Reads a file."""
        ours, theirs = (self.transport.get_extra_info(name) for name in ("sockname", "peername"))
        return bool(ours and theirs) and peers.is_own(ours[:2], theirs[:2])

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(SILENCE, self.transport.abort)

    def _calm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
