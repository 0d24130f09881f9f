"""The files of storage keys: facts, previews, directories, downloads and archives.

A key is one that a Step of the workflow reads or makes; what is below it is opened as
`store.opening` has it: through no link, and nothing but files and directories. Names in addresses
are bytes, percent-encoded, as they are on the disk; the answers have each one ready, as ``query``.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gaia_local.errors import StorageError
from gaia_local.monotonic import monotonic
from gaia_local.server import file_answers, previews
from gaia_local.server.archives import archive
from gaia_local.server.asking import Endpoint, Query, answering
from gaia_local.server.wire import Refused
from gaia_local.store.opening import Absent, Barred, Tree, kind_of
from gaia_local.terminal_text import escaped

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import KeyEntry

MOST_LISTED = 1000
"""The most entries of a directory that are answered."""
_MOST_LOOKED_AT = 100_000
"""The most names of a directory that are sorted."""
_MOST_MEASURED, _MEASURING_SECONDS = 10_000, 0.2
"""The most entries of one directory that are measured, and the time for those of one answer."""


def routes(gaia: Gaia) -> list[BaseRoute]:
    """The addresses of all this."""
    return [
        Route("/api/workflows/{name}/keys", _opening(lambda query: _keys(gaia, query))),
        Route("/api/workflows/{name}/directory", _opening(lambda query: _directory(gaia, query))),
        Route("/api/workflows/{name}/preview", _opening(lambda query: _preview(gaia, query))),
        Route("/files/{name}", _opening(lambda query: _file(gaia, query))),
        Route("/files/{name}/archive", _opening(lambda query: _archive(gaia, query))),
    ]


class _Place:
    """A place in a key's tree that a request asks for."""

    def __init__(self, gaia: Gaia, query: Query) -> None:
        self.entry = gaia.key(query.workflow, query.asked("key"))
        self.tree = Tree(self.entry["top"], str(gaia.root))
        self._key_path = _below(self.entry)
        inner = query.get("path") or ""
        self.path = (*self._key_path, *(inner.split("/") if inner else ()))
        self.name = self.path[-1] if self.path else query.workflow
        """What a file or an archive of it is called."""

    def query(self, *inner: str) -> str:
        """The parameters of an entry below this place."""
        parts = (*self.path[len(self._key_path) :], *inner)
        return _query_of(self.entry["key"], "/".join(parts))


def _opening(answer: Callable[[Query], Any]) -> Endpoint:
    """An endpoint: what isn't there is a 404, what may not be opened a 403."""

    def look(query: Query) -> Any:
        try:
            return answer(query)
        except Absent as error:
            raise Refused(404, str(error)) from error
        except Barred as error:
            raise Refused(403, str(error)) from error

    return answering(look, abandoned=False)  # What it opened would stay open.


def _keys(gaia: Gaia, query: Query) -> dict[str, Any]:
    """The keys of a Step, and what lies there."""
    until = monotonic() + _MEASURING_SECONDS
    found = gaia.keys(query.workflow, query.asked("step"))
    tops = {entry["top"] for keys in (found["inputs"], found["outputs"]) for entry in keys}
    trees = {top: Tree(top, str(gaia.root)) for top in tops}
    return {
        "inputs": [_facts(entry, trees[entry["top"]], until) for entry in found["inputs"]],
        "outputs": [_facts(entry, trees[entry["top"]], until) for entry in found["outputs"]],
    }


def _facts(entry: KeyEntry, tree: Tree, until: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        **{name: entry[name] for name in ("key", "state", "because", "digest")},
        "path": escaped(entry["path"]),
        "made_by": entry["made_by"],
        "read_by": entry["read_by"],
        "query": _query_of(entry["key"], ""),
        "kind": "missing",
    }
    path = _below(entry)
    try:
        status = tree.status(path)
        facts |= {"kind": kind_of(status), "modified": status.st_mtime}
        if stat.S_ISDIR(status.st_mode):
            measured = tree.measure(path, _MOST_MEASURED, until)
            facts |= {"size": measured.size, "files": measured.files, "more": measured.more}
        elif stat.S_ISREG(status.st_mode):
            facts["size"] = status.st_size
    except Absent:
        pass
    except StorageError as error:
        facts |= {"kind": "barred", "problem": str(error)}
    return facts


def _directory(gaia: Gaia, query: Query) -> dict[str, Any]:
    """The entries of a directory, sorted naturally."""
    place = _Place(gaia, query)
    with place.tree.directory(place.path) as opened:
        names = opened.names(_MOST_LOOKED_AT + 1)
        some = heapq.nsmallest(MOST_LISTED, names, key=natural)
        entries = list(opened.statuses(some))
    return {
        "entries": [
            {
                "name": escaped(name),
                "query": place.query(name),
                "kind": kind_of(status),
                "size": status.st_size if stat.S_ISREG(status.st_mode) else None,
                "modified": status.st_mtime,
            }
            for name, status in entries
        ],
        "total": min(len(names), _MOST_LOOKED_AT),
        "more": len(names) > MOST_LISTED,
    }


def _preview(gaia: Gaia, query: Query) -> dict[str, Any]:
    """What a file is, and the beginning of its text."""
    place = _Place(gaia, query)
    if stat.S_ISDIR(place.tree.status(place.path).st_mode):
        return {"kind": "directory"}
    descriptor, status = place.tree.open_file(place.path)
    try:
        beginning = previews.read_beginning(descriptor)
    finally:
        os.close(descriptor)
    whole = len(beginning) >= status.st_size
    seen = previews.look(place.name, beginning, whole)
    answer: dict[str, Any] = {"kind": seen.kind, "size": status.st_size}
    if seen.text is not None and seen.kind != "image":
        answer |= {"text": seen.text, "cut": not whole, "encoding": seen.encoding}
    return answer


def _file(gaia: Gaia, query: Query) -> Response:
    """A file's bytes; with ``frame`` as the status page shows it, with ``download`` to be kept."""
    place = _Place(gaia, query)
    if stat.S_ISDIR(place.tree.status(place.path).st_mode):
        raise Refused(400, f"{escaped(place.name)} is a directory: ask for its /archive")
    descriptor, status = place.tree.open_file(place.path)
    try:
        seen = previews.look(
            place.name,
            previews.read_beginning(descriptor, 4096),
            status.st_size <= 4096,
        )
        framed = query.get("frame") is not None
        media_type = seen.media_type
        if framed and seen.kind == "html":
            media_type = media_type.replace("text/plain", "text/html")
        headers = file_answers.apart(media_type, framed)
        if query.get("download") is not None or seen.kind == "binary":
            headers["content-disposition"] = file_answers.attachment(place.name)
        return file_answers.file_answer(descriptor, status, query.request.headers, headers)
    except BaseException:
        os.close(descriptor)
        raise


def _archive(gaia: Gaia, query: Query) -> Response:
    """A directory as a tar."""
    place = _Place(gaia, query)
    if not stat.S_ISDIR(place.tree.status(place.path).st_mode):
        raise Refused(400, f"{escaped(place.name)} is no directory: ask for the file itself")
    with place.tree.directory(place.path):
        pass  # One that can't be read is refused before the answer begins.
    headers = {
        **file_answers.apart("application/x-tar"),
        "content-disposition": file_answers.attachment(f"{place.name}.tar"),
    }
    return file_answers.Streamed(archive(place.tree, place.path, place.name), 200, headers)


def natural(name: str) -> list[str | int]:
    """A key for sorting: numbers in names by their values."""
    parts: list[str | int] = list(re.split("([0-9]+)", name))
    parts[1::2] = map(int, parts[1::2])
    return parts


def _below(entry: KeyEntry) -> tuple[str, ...]:
    """A key's path below its top."""
    inner = entry["path"].removeprefix(entry["top"].rstrip("/")).strip("/")
    return tuple(inner.split("/")) if inner else ()


def _query_of(key: str, path: str) -> str:
    query = f"key={_quoted(key)}"
    return f"{query}&path={_quoted(path)}" if path else query


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")
