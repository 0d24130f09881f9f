"""Answers with the bytes of files and of trees, sent piece by piece; ranges; and their headers.

A client that leaves ends the reading at once. What can't be sent to its declared end (a file became
shorter, or can't be read any more) ends the connection without one, so that the client notices.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from urllib.parse import quote

import anyio
from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

logger = logging.getLogger("gaia_local.server")

PIECE = 256 * 1024
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " form-action 'none'"
)


def apart(media_type: str, framed: bool = False) -> dict[str, str]:
    """Headers of a file: opened as a page, it has no origin, and runs and loads nothing.

    With `framed`, the status page may show it in a frame. A browser's own viewer of PDF loads the
    file once more, as an object.
    """
    viewer = "; object-src 'self'" if media_type == "application/pdf" else ""
    around = "'self'" if framed else "'none'"
    headers = {
        "content-type": media_type,
        "content-security-policy": f"{_POLICY}{viewer}; frame-ancestors {around}",
        "cache-control": "private, no-cache",
    }
    return headers | {"x-frame-options": "SAMEORIGIN"} if framed else headers


class Unfinished(Exception):
    """An answer that has begun can't be sent to its end."""


class Streamed(Response):
    """An answer of pieces that are made in a thread while the client takes them."""

    def __init__(self, pieces: Iterator[bytes], status: int, headers: dict[str, str]) -> None:
        """`pieces` is closed at the end, whatever happens."""
        super().__init__(status_code=status, headers=headers)
        if "content-length" not in headers:
            del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it to one client."""
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                return
            async with anyio.create_task_group() as group:

                async def until_gone() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(until_gone)
                if await self._send_pieces(send):
                    await send({"type": "http.response.body", "body": b""})
                group.cancel_scope.cancel()
        finally:
            # In a thread, as it waits for the piece that is being made.
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(_close, self._pieces)

    async def _send_pieces(self, send: Send) -> bool:
        """Whether all were sent. Otherwise the server ends the connection, as an end is missing."""
        while True:
            try:
                piece = await to_thread.run_sync(next, self._pieces, None)
            except (Unfinished, OSError) as error:
                logger.warning("a file wasn't sent to its end: %s", error)
                return False
            if piece is None:
                return True
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # a client that takes all at once mustn't hold up others


def file_answer(
    descriptor: int, status: os.stat_result, asked: Headers, headers: dict[str, str]
) -> Response:
    """A regular file, or the part of it that was asked for. Closes the descriptor in the end.

    Status 206 for one range of bytes, 416 for one behind the end. Several ranges, other units and
    ranges of an older file (``If-Range``) are answered with the whole, as HTTP allows.
    """
    size, tag = status.st_size, f'"{status.st_size:x}-{status.st_mtime_ns:x}"'
    headers = headers | {"accept-ranges": "bytes", "etag": tag}
    if tag in [each.strip() for each in asked.get("if-none-match", "").split(",")]:
        os.close(descriptor)
        return Response(status_code=304, headers=headers)
    wanted = asked_range(asked, size, tag)
    if wanted is None:
        begin, end, code = 0, size, 200
    elif wanted[0] >= wanted[1]:
        os.close(descriptor)
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{size}"})
    else:
        (begin, end), code = wanted, 206
        headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
    headers["content-length"] = str(end - begin)
    return Streamed(_Part(descriptor, begin, end), code, headers)


def asked_range(asked: Headers, size: int, tag: str) -> tuple[int, int] | None:
    """The bytes that a request asks for, as (begin, end); end <= begin: there are none of these.

    None: the whole file.
    """
    given = asked.getlist("range")
    if len(given) != 1 or asked.get("if-range", tag) != tag:
        return None
    found = _RANGE.fullmatch(given[0].strip())
    if found is None:
        return None
    first, last, tail = found.groups()
    if tail is not None:
        return (size, size) if int(tail) == 0 else (max(0, size - int(tail)), size)
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def attachment(name: str) -> str:
    """A ``Content-Disposition`` that has a browser store an answer under a file's name."""
    plain = re.sub(r"[^A-Za-z0-9 ._+=@-]", "_", name) or "file"
    exact = quote(os.fsencode(name) if _is_encodable(name) else plain, safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"


class _Part:
    """The pieces of a part of a file."""

    def __init__(self, descriptor: int, begin: int, end: int) -> None:
        self._descriptor, self._at, self._end = descriptor, begin, end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._at >= self._end:
            raise StopIteration
        piece = os.pread(self._descriptor, min(PIECE, self._end - self._at), self._at)
        if not piece:
            raise Unfinished("it became shorter while it was read")
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _close(pieces: Iterator[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True
