"""Server-sent events of changes, from the scheduler's notices: no file is read for them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gaia_local.errors import GaiaError
from gaia_local.server.feed import Feed
from gaia_local.server.known import Follow

if TYPE_CHECKING:
    from gaia_local import Gaia

logger = logging.getLogger("gaia_local.server")

HEARTBEAT_SECONDS = 15.0
"""Seconds between two signs of life in a stream without changes."""
RECONNECT_MILLISECONDS = 1000
"""Milliseconds after which a browser connects again."""


class EventStream(Response):
    """An endless answer: everything, then changes, until the client leaves or `closing` is set.

    If the server ends because its root was removed, the last event is ``gone`` and says so.
    """

    media_type = "text/event-stream"

    def __init__(self, gaia: Gaia, feed: Feed, follow: Follow, closing: asyncio.Event) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._gaia, self._closing = gaia, closing
        self._feed, self._follow = feed, follow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with anyio.create_task_group() as group:

            async def until_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            async def until_closing() -> None:
                await self._closing.wait()
                group.cancel_scope.cancel()

            group.start_soon(until_gone)
            group.start_soon(until_closing)
            try:
                await self._send_changes(send)
            except GaiaError as error:  # the client connects again and gets the error then
                logger.warning("an event stream ended: %s", error)
                group.cancel_scope.cancel()
        gone = self._gaia.lost() if self._closing.is_set() else None
        last = "" if gone is None else f"event: gone\ndata: {json.dumps(gone)}\n\n"
        await send({"type": "http.response.body", "body": last.encode("ascii")})

    async def _send_changes(self, send: Send) -> None:
        with self._feed.joined(self._follow) as client:
            begin = f"retry: {RECONNECT_MILLISECONDS}\n"
            while True:
                with anyio.move_on_after(HEARTBEAT_SECONDS) as patience:
                    await client.wait()
                if patience.cancelled_caught:
                    await self._send(send, ": nothing new\n\n")
                    continue
                data = await client.take()
                await self._send(send, f"{begin}event: changed\ndata: {data}\n\n")
                begin = ""

    async def _send(self, send: Send, text: str) -> None:
        await send({"type": "http.response.body", "body": text.encode("ascii"), "more_body": True})
