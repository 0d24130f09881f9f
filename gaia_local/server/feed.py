"""The feed of a server: what is new in its workflows, looked up once for all clients."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from gaia_local.server.known import Follow, Known, News

if TYPE_CHECKING:
    from gaia_local import Gaia

EVENT_PAUSE_SECONDS = 0.1
"""Seconds between two looks: all changes in that time come in one event."""


class Feed:
    """One for a server. Its methods are called in the server's event loop.

    It looks only while there are clients, in one task, which makes one round after the other: take
    the names of changed workflows, look, hand the news to all clients, and everything to those that
    have come meanwhile. Invariants:
    - A client gets everything first. From then on it gets the news of each round, in their order.
    - Names are taken before the look: a change during it is noted for the next round, and none is
      lost. So once all is quiet, the last round's news leave each client with what `Gaia` answers.
    - A client that takes its news slowly gets several at once, as one: it holds back nobody, and
      what waits for it is no more than everything.
    """

    def __init__(self, gaia: Gaia) -> None:
        self._gaia = gaia
        self._clients: set[Client] = set()
        """Those that have got everything."""
        self._new: list[Client] = []
        self._called, self._came = asyncio.Event(), asyncio.Event()
        """Set when there is a change or a new client, and when there is a new client."""
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def joined(self, follow: Follow) -> Iterator[Client]:
        """A client, as long as the block lasts."""
        client = Client(follow)
        self._new.append(client)
        self._called.set()
        self._came.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._ended)
        try:
            yield client
        finally:
            self._clients.discard(client)
            if client in self._new:
                self._new.remove(client)
            if self._task is not None and not self._clients and not self._new:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        """Serve until there is no client, or `Gaia` refuses to answer."""
        changed = ChangedNames(asyncio.get_running_loop(), self._called.set)
        try:
            await to_thread.run_sync(changed.begin, self._gaia, abandon_on_cancel=True)
            known = Known(self._gaia)
            while True:
                await self._called.wait()
                self._called.clear()
                self._came.clear()
                await self._round(known, changed.take())
                with anyio.move_on_after(EVENT_PAUSE_SECONDS):
                    await self._came.wait()
        finally:
            changed.end()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """An error ends all clients: the next one gets a new task, which looks at all anew."""
        error = None if task.cancelled() else task.exception()
        if error is not None and task is self._task:  # else its last client has left
            clients, self._clients, self._new = {*self._clients, *self._new}, set(), []
            self._task = None
            for client in clients:
                client.end(error)

    async def _round(self, known: Known, names: Collection[str]) -> None:
        old = {client.follow for client in self._clients}
        new = {client.follow for client in self._new}
        came = list(self._new)

        def look() -> tuple[News, dict[Follow, News]]:
            followed = {name for follow in old | new for name in follow.names}
            news = known.look(names, followed)
            everything = {follow: known.everything(follow) for follow in new}
            # Written here, since long texts would hold up the event loop.
            for follow in old:
                news.text(follow)
            for follow, whole in everything.items():
                whole.text(follow)
            return news, everything

        news, everything = await to_thread.run_sync(look, abandon_on_cancel=True)
        for client in self._clients:
            if news.is_for(client.follow):
                client.put(news)
        for client in came:
            if client in self._new:  # else it has left meanwhile
                self._new.remove(client)
                self._clients.add(client)
                client.put(everything[client.follow])


class Client:
    """The news that wait for one client. Used in the server's event loop."""

    def __init__(self, follow: Follow) -> None:
        self.follow = follow
        self._waiting: News | None = None
        self._error: BaseException | None = None
        self._called = asyncio.Event()

    def put(self, news: News) -> None:
        """More news."""
        self._waiting = news if self._waiting is None else self._waiting.then(news)
        self._called.set()

    def end(self, error: BaseException) -> None:
        """There will be no more news."""
        self._error = error
        self._called.set()

    async def wait(self) -> None:
        """Wait until there is something to `take`."""
        await self._called.wait()

    async def take(self) -> str:
        """The data of all that waits, as one event. Raises the error that ended the feed."""
        self._called.clear()
        if self._error is not None:
            raise self._error
        news, self._waiting = self._waiting, None
        assert news is not None
        if not news.is_written(self.follow):
            await to_thread.run_sync(news.text, self.follow)
        return news.text(self.follow)


class ChangedNames:
    """The names of workflows that changed, put by the engine's threads. Thread-safe."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
        """`call` is called in the loop when there are names to take."""
        self._loop, self._call = loop, call
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._ended = False
        self._unsubscribe: Callable[[], None] | None = None

    def begin(self, gaia: Gaia) -> None:
        """Note all changes from now on, until `end`, which may be called meanwhile."""
        unsubscribe = gaia.subscribe(self.put)
        with self._lock:
            self._unsubscribe, ended = unsubscribe, self._ended
        if ended:
            unsubscribe()

    def end(self) -> None:
        """Note no more changes."""
        with self._lock:
            self._ended, unsubscribe = True, self._unsubscribe
        if unsubscribe is not None:
            unsubscribe()

    def put(self, names: Collection[str]) -> None:
        """Note some names; never blocks."""
        with self._lock:
            first = not self._names
            self._names.update(names)
        if first:
            # The loop has ended, and with it the task that waited.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._call)

    def take(self) -> set[str]:
        """All names since the last time."""
        with self._lock:
            names, self._names = self._names, set()
        return names
