"""The logs of attempts: pieces by bytes, lines by numbers, a search, and the whole as a file."""

from __future__ import annotations

import codecs
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gaia_local.server.asking import Query, answering
from gaia_local.server.log_file import LogFile
from gaia_local.server.log_index import LineIndex, LineIndices, read_at
from gaia_local.server.log_lines import MAX_LINES, rows_from, style_at
from gaia_local.server.log_search import search
from gaia_local.server.wire import Refused

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import LogLines, LogMatches, LogPiece

MAX_PIECE_BYTES = 1024 * 1024
"""The most bytes of a log that one call answers."""
MAX_TEXT = 1000
"""The most characters of a text to search for."""
READERS = 4
"""Calls that read logs at once: others wait, and calls of other kinds find free threads."""
_UNFINISHED = ("queued", "running")


def routes(gaia: Gaia) -> list[BaseRoute]:
    """The addresses of logs. All take `step`, and `task`, the id of an earlier attempt."""
    logs = Logs(gaia)
    at = "/api/workflows/{name}/log"
    reading = partial(answering, limiter=logs.limiter)
    return [
        Route(at, reading(logs.piece)),
        Route(f"{at}/lines", reading(logs.lines)),
        Route(f"{at}/search", reading(logs.search)),
        Route(f"{at}/file", reading(logs.file)),
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
    """Answers for one `Gaia`; of the methods with a `Query`, each is one address."""

    def __init__(self, gaia: Gaia) -> None:
        self._gaia = gaia
        self._indices = LineIndices()
        self._limiter: CapacityLimiter | None = None

    def limiter(self) -> CapacityLimiter:
        """Of the calls that read logs."""
        self._limiter = self._limiter or CapacityLimiter(READERS)  # there is a loop only now
        return self._limiter

    def piece(self, query: Query) -> LogPiece:
        """From byte `from` on, at most `bytes` of them.

        `next` is the offset for the next call; `over` says that the log is complete; `task` is the
        attempt's id, which changes when the Step runs again, with a log of its own. A character
        whose last bytes aren't written yet, or don't fit, is left for the next call.
        """
        start = query.number("from", 0)
        # No character is longer, so each call gets on.
        most = min(query.number("bytes", MAX_PIECE_BYTES, least=4), MAX_PIECE_BYTES)
        with self._open(query) as log:
            size = os.fstat(log.file).st_size
            start = min(start, size)
            piece = read_at(log.file, start, min(most, size - start))
            over = log.ended and start + len(piece) >= size
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            text = decoder.decode(piece, final=over)
            behind = start + len(piece) - len(decoder.getstate()[0])
            return {"text": text, "next": behind, "over": over, "task": log.task, "size": size}

    def lines(self, query: Query) -> LogLines:
        """`count` lines from number `line` on, or with `last` that many at the end."""
        first = query.number("line", 1, least=1)
        count = min(query.number("count", MAX_LINES), MAX_LINES)
        last = min(query.number("last", 0), MAX_LINES)
        with self._open(query) as log:
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

    def search(self, query: Query) -> LogMatches:
        """One step of a search for `text` from byte `from` on; `skip` matches aren't listed."""
        text = query.asked("text")
        if not text or len(text) > MAX_TEXT or "\n" in text:
            raise query.refused(f"text: give 1 to {MAX_TEXT} characters of one line")
        case = query.number("case", 1) != 0
        start, skip = query.number("from", 0), query.number("skip", 0)
        with self._open(query) as log:
            wanted = text.encode("utf-8", "replace")
            found = search(log.file, wanted, start, case=case, skip=skip)
            index = self._indices.of(log.path, log.file)
            if found.offsets:
                _count_until(index, log.file, found.offsets[-1])
            return {
                "count": found.count,
                "matches": [[index.line(log.file, at), at] for at in found.offsets],
                "next": found.next,
                "over": found.size - found.next < len(wanted),
                "task": log.task,
                "size": found.size,
            }

    def file(self, query: Query) -> Response:
        """The whole log, or a range of it, as a file to keep."""
        with self._open(query) as log:
            if log.task is None:
                raise Refused(404, "there is no log of this Step: it hasn't run yet")
            name = f"{query.asked('step')}-{log.task}.log"
            size = os.fstat(log.file).st_size
            return LogFile(log.path, size, name, query.request.headers.get("range"))

    @contextlib.contextmanager
    def _open(self, query: Query) -> Iterator[_Log]:
        name, step = query.workflow, query.asked("step")
        attempt = self._gaia.attempt(name, step, query.get("task"))
        path = attempt["log"] or os.devnull
        if attempt["state"] is None:
            ended = self._gaia.progress(name)["state"] != "running"
        else:
            ended = attempt["state"] not in _UNFINISHED
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # nothing is written yet, or it was dropped just now
            path = os.devnull
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield _Log(attempt["task"], ended, path, file)
        finally:
            os.close(file)


def _count_until(index: LineIndex, file: int, offset: int) -> None:
    """Have the lines before a byte counted; of a log that was cut meanwhile, as far as it goes."""
    before, known = -1, 0
    while before < known <= offset:  # each call counts a part of a log that is very long
        before, known = known, index.extend(file).known
