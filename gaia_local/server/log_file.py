"""A log as a file to keep: a stream of the bytes that it had when it was asked for."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gaia_local.server.log_index import read_at

_READ_BYTES = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class LogFile(Response):
    """An attachment, read as fast as the client takes it.

    One range of bytes can be asked for; what else a `Range` header may say is ignored, as HTTP
    permits. What a running Step writes meanwhile isn't in it.
    """

    def __init__(self, path: str, size: int, name: str, asked: str | None) -> None:
        """The first `size` bytes, called `name`; `asked` is the header `Range`."""
        self._path = path
        span = byte_range(asked, size)
        headers = {
            "accept-ranges": "bytes",
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file_name(name))}",
        }
        status, (start, stop) = 200, (0, size)
        if span is not None and span[0] < span[1]:
            status, (start, stop) = 206, span
            headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        elif span is not None:
            status, (start, stop) = 416, (0, 0)
            headers["content-range"] = f"bytes */{size}"
        self._start, self._stop = start, stop
        super().__init__(status_code=status, headers=headers, media_type="text/plain")
        self.headers["content-length"] = str(stop - start)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; the call is cancelled, or `send` fails, when the client leaves."""
        file = await to_thread.run_sync(os.open, self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            at = self._stop if scope["method"] == "HEAD" else self._start
            while at < self._stop:
                size = min(_READ_BYTES, self._stop - at)
                part = await to_thread.run_sync(read_at, file, at, size)
                if not part:
                    raise OSError("the log was cut while it was sent")
                at += len(part)
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            os.close(file)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last; None: the whole; nothing in it: none of it."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def file_name(name: str) -> str:
    """A name without characters that mean something in a path, or that no file has."""
    kept = re.sub(r"[^\w.+=@ -]", "_", name.encode("utf-8", "replace").decode("utf-8"))
    return kept.lstrip(".") or "log"
