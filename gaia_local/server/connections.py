"""The server's connections: their users, their timeouts, and the limits of their number.

A client without a permitted request is a stranger. If there are too many connections, the oldest
stranger is disconnected for the next one: so clients that only connect keep no others out.
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
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from gaia_local.monotonic import monotonic
from gaia_local.server import peers

logger = logging.getLogger("gaia_local.server")

KEY = "gaia_local.connection"
"""The key of the `Connection` in a request's state."""
HEAD_TIMEOUT_SECONDS = 10.0
"""Seconds within which a request's head must come, from its beginning or the connection's."""
MAX_CONNECTIONS, MAX_PER_ADDRESS = 500, 250
"""The most connections at a time, and the most from one address."""
ALWAYS_ALLOWED = 16
"""The number of connections allowed even if descriptors are scarce."""
RESERVED_DESCRIPTORS = 256
"""Descriptors that connections leave to Steps; at most a quarter of all."""
MAX_DESCRIPTOR_LIMIT = 65_536
"""The highest limit that is set: at their start, some programs close all possible descriptors."""
WARNING_PAUSE_SECONDS = 60.0
"""Seconds between two warnings that there are too many."""


def raise_limit() -> None:
    """Let this process have as many open files as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (
        MAX_DESCRIPTOR_LIMIT if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTOR_LIMIT)
    )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has another limit below this one
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(eq=False)
class _Client:
    connection: socket.socket
    host: str
    permitted: bool = False
    """Whether it has made a permitted request."""


class ListeningSocket(socket.socket):
    """A listening socket with limits on the number of its connections.

    uvicorn and asyncio accept all connections, and if descriptors run out, they log that some
    thousand times a second.
    """

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._clients: dict[int, _Client] = {}
        """By their descriptors, the oldest first."""
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        """Closed for a moment when no descriptor is left: refusing a client needs one."""
        self._made_room = False
        self._warned_at = -WARNING_PAUSE_SECONDS

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises `BlockingIOError` if none is there or may be accepted."""
        if self._made_room:  # the disconnected one must be closed before there are more
            self._made_room = False
            raise BlockingIOError(errno.EAGAIN, "one at a time")
        connection, address = self._accept_within_limits()
        client = _Client(connection, str(address[0]))
        if not self._make_room(client):
            connection.close()
            raise BlockingIOError(errno.EAGAIN, "there are too many connections")
        self._clients[connection.fileno()] = client
        return connection, address

    def mark_permitted(self, descriptor: int) -> None:
        """A connection has made a permitted request: it isn't closed in favour of others."""
        if descriptor in self._clients:
            self._clients[descriptor].permitted = True

    def close(self) -> None:
        """Take no more connections. Idempotent."""
        self._close_spare()
        super().close()

    def _accept_within_limits(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                raise
            self._warn("no file descriptors are left")
            self._close_spare()
            with contextlib.suppress(OSError):
                super().accept()[0].close()
            with contextlib.suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            raise BlockingIOError(errno.EAGAIN, "there is no file descriptor for it") from error

    def _make_room(self, new: _Client) -> bool:
        """Whether there is room for one more; may disconnect the oldest stranger for it."""
        self._clients = {
            number: client
            for number, client in self._clients.items()
            if client.connection.fileno() == number
        }
        neighbours = [client for client in self._clients.values() if client.host == new.host]
        if len(neighbours) >= MAX_PER_ADDRESS:
            self._warn(f"there are {MAX_PER_ADDRESS} from {new.host}")
        elif len(self._clients) >= MAX_CONNECTIONS:
            self._warn(f"there are {MAX_CONNECTIONS}")
        elif len(self._clients) >= ALWAYS_ALLOWED and _descriptors_are_scarce():
            self._warn("the remaining file descriptors are reserved for Steps")
        else:
            return True
        candidates = neighbours if len(neighbours) >= MAX_PER_ADDRESS else self._clients.values()
        stranger = next((client for client in candidates if not client.permitted), None)
        if stranger is not None:
            del self._clients[stranger.connection.fileno()]
            with contextlib.suppress(OSError):
                stranger.connection.shutdown(socket.SHUT_RDWR)  # its reader closes it
            self._made_room = True
        return stranger is not None

    def _warn(self, problem: str) -> None:
        now = monotonic()
        if now - self._warned_at >= WARNING_PAUSE_SECONDS:
            self._warned_at = now
            logger.warning(
                "too many connections: %s; those without a request are closed, then new ones are"
                " refused",
                problem,
            )

    def _close_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1


def _descriptors_are_scarce() -> bool:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit != resource.RLIM_INFINITY and limit - len(os.listdir("/dev/fd")) < min(
        RESERVED_DESCRIPTORS, limit // 4
    )


class Connection(H11Protocol):
    """One connection, closed when no request head comes in time."""

    def __init__(
        self, *, listening: ListeningSocket, app_state: dict[str, Any], **given: Any
    ) -> None:
        super().__init__(app_state={**app_state, KEY: self}, **given)
        self._listening = listening
        self._answering = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """See `asyncio.Protocol`, as the two below."""
        super().connection_made(transport)
        self._start_timeout()

    def data_received(self, data: bytes) -> None:
        if not self._answering:
            self._start_timeout()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timeout()
        super().connection_lost(exc)

    @contextlib.contextmanager
    def answering(self) -> Any:
        """While inside, a request whose head has come is answered."""
        self._answering = True
        self._stop_timeout()
        try:
            yield
        finally:
            self._answering = False

    def mark_permitted(self) -> None:
        """Note that it has made a permitted request."""
        self._listening.mark_permitted(self.transport.get_extra_info("socket").fileno())

    @functools.cached_property
    def is_same_user(self) -> bool:
        """Whether the client runs as the user of this process, or as root. Reads a file."""
        ours, theirs = (self.transport.get_extra_info(name) for name in ("sockname", "peername"))
        return bool(ours and theirs) and peers.is_same_user(ours[:2], theirs[:2])

    def _start_timeout(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(
                HEAD_TIMEOUT_SECONDS, self.transport.abort
            )

    def _stop_timeout(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
