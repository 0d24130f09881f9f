"""The logs of attempts: pieces by bytes, lines by numbers, a search, and the whole as a file."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gaia_local.errors import InvalidInput
from gaia_local.server.log_file import LogFile
from gaia_local.server.log_index import LineIndices, read_at
from gaia_local.server.log_lines import MAX_LINES, rows_from, style_at
from gaia_local.server.log_search import search
from gaia_local.server.wire import Answer, Refused

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import LogLines, LogMatches, LogPiece

T = TypeVar("T")

MAX_PIECE_BYTES = 1024 * 1024
"""The most bytes of a log that one call answers."""
MAX_TEXT = 1000
"""The most characters of a text to search for."""
READERS = 4
"""Calls that read logs at once: others wait, and calls of other kinds find free threads."""
_UNFINISHED = ("queued", "running")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


def routes(gaia: Gaia) -> list[BaseRoute]:
    """The addresses of logs. All take `step`, and `task`, the id of an earlier attempt."""
    logs = Logs(gaia)
    at = "/api/workflows/{name}/log"
    return [
        Route(at, logs.reading(logs.piece)),
        Route(f"{at}/lines", logs.reading(logs.lines)),
        Route(f"{at}/search", logs.reading(logs.search)),
        Route(f"{at}/file", logs.reading(logs.file)),
    ]


@dataclass(frozen=True)
class _Log:
    """One attempt's log; an empty file as long as nothing is written."""

    task: str | None
    ended: bool
    """Whether the attempt had ended before the file was opened, which then is complete."""
    path: str
    file: int
    """A descriptor."""


class Logs:
    """Answers for one `Gaia`; of the methods with a `Request`, each is one address."""

    def __init__(self, gaia: Gaia) -> None:
        self._gaia = gaia
        self._indices = LineIndices()
        self._limiter: CapacityLimiter | None = None

    def reading(self, look: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint whose answer is made in a thread; of those, `READERS` at a time."""

        async def answer(request: Request) -> Response:
            self._limiter = self._limiter or CapacityLimiter(READERS)  # there is a loop only now
            try:
                made = await to_thread.run_sync(
                    lambda: look(request), abandon_on_cancel=True, limiter=self._limiter
                )
            except InvalidInput as error:  # an unknown name
                raise Refused(404, str(error)) from error
            return made if isinstance(made, Response) else Answer(made)

        return answer

    def piece(self, request: Request) -> LogPiece:
        """From byte `from` on, at most `bytes` of them.

        `next` is the offset for the next call; `over` says that the log is complete; `task` is the
        attempt's id, which changes when the Step runs again, with a log of its own. A character
        whose last bytes aren't written yet, or don't fit, is left for the next call.
        """
        start = _number(request, "from", 0)
        # No character is longer, so each call gets on.
        most = min(_number(request, "bytes", MAX_PIECE_BYTES, least=4), MAX_PIECE_BYTES)
        with self._open(request) as log:
            size = os.fstat(log.file).st_size
            start = min(start, size)
            piece = read_at(log.file, start, min(most, size - start))
            over = log.ended and start + len(piece) >= size
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            text = decoder.decode(piece, final=over)
            behind = start + len(piece) - len(decoder.getstate()[0])
            return {"text": text, "next": behind, "over": over, "task": log.task, "size": size}

    def lines(self, request: Request) -> LogLines:
        """`count` lines from number `line` on, or with `last` that many at the end."""
        first = _number(request, "line", 1, least=1)
        count = min(_number(request, "count", MAX_LINES), MAX_LINES)
        last = min(_number(request, "last", 0), MAX_LINES)
        with self._open(request) as log:
            index = self._indices.of(log.path, log.file)
            extent = index.extend(log.file)
            if last:
                first, count = max(1, extent.lines - last + 1), last
            first = min(first, extent.lines + 1)
            count = min(count, extent.lines + 1 - first)
            rows = list(rows_from(log.file, index, first, count, extent.known)) if count else []
            return {
                "lines": extent.lines,
                "size": extent.size,
                "over": log.ended and extent.known == extent.size,
                "task": log.task,
                "first": first,
                "style": style_at(log.file, rows[0]["offset"]) if rows else "",
                "rows": rows,
            }

    def search(self, request: Request) -> LogMatches:
        """One step of a search for `text` from byte `from` on; `skip` matches aren't listed."""
        text = _asked(request, "text")
        if not text or len(text) > MAX_TEXT or "\n" in text:
            raise Refused(400, f"text: give 1 to {MAX_TEXT} characters of one line")
        case = _number(request, "case", 1) != 0
        start, skip = _number(request, "from", 0), _number(request, "skip", 0)
        with self._open(request) as log:
            wanted = text.encode("utf-8", "replace")
            found = search(log.file, wanted, start, case=case, skip=skip)
            index = self._indices.of(log.path, log.file)
            while found.offsets and index.extend(log.file).known <= found.offsets[-1]:
                pass  # each call counts a part of a log that is very long
            return {
                "count": found.count,
                "matches": [[index.line(log.file, at), at] for at in found.offsets],
                "next": found.next,
                "over": found.size - found.next < len(wanted),
                "task": log.task,
                "size": found.size,
            }

    def file(self, request: Request) -> Response:
        """The whole log, or a range of it, as a file to keep."""
        with self._open(request) as log:
            if log.task is None:
                raise Refused(404, "there is no log of this Step: it hasn't run yet")
            name = f"{request.query_params['step']}-{log.task}.log"
            size = os.fstat(log.file).st_size
            return LogFile(log.path, size, name, request.headers.get("range"))

    @contextlib.contextmanager
    def _open(self, request: Request) -> Iterator[_Log]:
        name, step = str(request.path_params["name"]), _asked(request, "step")
        attempt = self._gaia.attempt(name, step, request.query_params.get("task"))
        path = attempt["log"] or os.devnull
        if attempt["state"] is None:
            ended = self._gaia.progress(name)["state"] != "running"
        else:
            ended = attempt["state"] not in _UNFINISHED
        if not os.path.exists(path):
            path = os.devnull
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield _Log(attempt["task"], ended, path, file)
        finally:
            os.close(file)


def _asked(request: Request, name: str) -> str:
    given = request.query_params.get(name)
    if given is None:
        raise Refused(
            400, f"GET {request.url.path}: the parameter {name!r} is missing; write ?{name}=…"
        )
    return given


def _number(request: Request, name: str, otherwise: int, least: int = 0) -> int:
    given = request.query_params.get(name)
    if given is None:
        return otherwise
    if not _WHOLE_NUMBER.fullmatch(given) or int(given) < least:
        raise Refused(400, f"{name} is {given[:40]!r}; give a whole number, {least} or more")
    return int(given)
