"""The server itself: one listening socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote

import uvicorn

from gaia_local import interrupts
from gaia_local.errors import InvalidInput
from gaia_local.server.app import create_app
from gaia_local.server.connections import Connection, ListeningSocket
from gaia_local.server.wire import MAX_BODY

if TYPE_CHECKING:
    from gaia_local import Gaia

PORT = 24442
"""The default port of the published client."""
BACKLOG = 128
"""The most connections that wait to be accepted, and that are accepted in one go."""
GRACE_SECONDS = 3
"""Seconds that running calls may still take when the server ends."""


class Server:
    """Serves one `Gaia` until `close`, in the caller's thread (`run`) or in its own (`start`).

    As a context manager it is started at the beginning of the block and closed at its end; `gaia`
    stays the caller's.
    """

    def __init__(
        self,
        gaia: Gaia,
        host: str = "127.0.0.1",
        port: int = PORT,
        *,
        token: str | None = None,
        no_token: bool = False,
        same_user: bool | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        """Bind the port (0: any that is free). Raises `InvalidInput`, as `create_app` does.

        If no `token` is given, one is made, and this user's own connections don't need it, unless
        `same_user` is False.
        """
        same_user = token is None if same_user is None else same_user
        app = create_app(
            gaia, host=host, token=token, no_token=no_token, same_user=same_user, max_body=max_body
        )
        self._socket = _bind(host, port)
        self.token: str | None = app.state.token
        """The token that requests must carry; None with `no_token`."""
        self.url = _url(host, self._socket.getsockname()[1])
        """The address of the status page, with a ``/`` at its end."""
        self.link = (
            self.url if self.token is None else f"{self.url}?token={quote(self.token, safe='')}"
        )
        """The same with the token: after opening it once, a browser has a cookie for it."""
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=functools.partial(Connection, listening=self._socket),  # type: ignore[arg-type] # it calls it, and no more
            backlog=BACKLOG,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # the application logs requests and errors itself
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Uvicorn(config, app.state.closing)
        self._thread: threading.Thread | None = None

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until one of `interrupts.SIGNALS`, which is raised again then; a second one kills.

        `ready` is called when connections are taken.
        """
        self._server.ready = ready
        try:
            self._server.run([self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Have `run` return. Any thread may call it."""
        self._server.should_exit = True

    def start(self) -> None:
        """Serve in a thread; returns when connections are taken."""
        with interrupts.deferred():
            up = threading.Event()
            self._thread = threading.Thread(
                target=self.run, args=(up.set,), name="gaia-local-server", daemon=True
            )
            self._thread.start()
            while not up.wait(interrupts.CHECK_SECONDS):
                if not self._thread.is_alive():
                    raise RuntimeError("the server ended before it began; its error is above")

    def close(self) -> None:
        """End it: open event streams too. Idempotent."""
        with interrupts.deferred():
            self.stop()
            if self._thread is not None:
                self._thread.join()
            self._socket.close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, that ends event streams at its end, and kills Tasks at a second signal."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self.ready: Callable[[], None] = lambda: None
        self._closing = closing
        self._signal: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing.set()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {}
        if threading.current_thread() is threading.main_thread():
            for number in interrupts.SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                    before[number] = signal.signal(number, self.handle_exit)
        try:
            interrupts.check()  # raise signals that were noted before
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self._signal is not None:
            signal.raise_signal(self._signal)
            interrupts.check()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
            interrupts.hurry(sig)
        self._signal = self._signal or sig
        self.should_exit = True


def _bind(host: str, port: int) -> ListeningSocket:
    where = f"serve, {host} port {port}"
    if not 0 <= port <= 65535:
        raise InvalidInput(
            where, "the port is out of range", "give a --port from 0 (any that is free) to 65535"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        bound = ListeningSocket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InvalidInput(
            where, f"it isn't an address ({error})", "give an address or a name of this machine"
        ) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            problem = "another program listens there, perhaps another `gaia-local serve`"
            right = "end that one, or give another --port (0: any that is free)"
        else:
            problem, right = (
                f"the server can't listen there ({os.strerror(error.errno or 0)})",
                "give another --host or --port",
            )
        raise InvalidInput(where, problem, right) from None
    return bound


def _url(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
