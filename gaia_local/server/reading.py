"""Answers for the status page: workflows with progress, one workflow, a log piece by piece."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from gaia_local.errors import InvalidInput
from gaia_local.server.wire import Refused

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import (
        ListedWorkflow,
        LogPiece,
        WorkflowList,
    )

MAX_LOG_BYTES = 1024 * 1024
"""The most bytes of a log that one call answers."""
_UNFINISHED = ("queued", "running")


def workflows(gaia: Gaia) -> WorkflowList:
    """All workflows with their progress."""
    found = ((name, entry(gaia, name)) for name in gaia.workflows()["workflows"])
    return {"workflows": {name: row for name, row in found if row is not None}}


def entry(gaia: Gaia, name: str) -> ListedWorkflow | None:
    """One workflow of the list; None when it was deleted meanwhile."""
    try:
        return gaia.listed(name)
    except InvalidInput:
        return None


def log(gaia: Gaia, name: str, step: str, start: int) -> LogPiece:
    """The log of a Step's latest attempt from byte `start` on, at most `MAX_LOG_BYTES` bytes.

    `next` is the offset for the next call; `over` says that the log is complete; `task` is the
    attempt's id, which changes when the Step runs again, with a log of its own. A character whose
    last bytes aren't written yet is left for the next call.
    """
    attempt = gaia.attempt(name, step)
    path = attempt["log"]
    if path is None:
        return {
            "text": "",
            "next": 0,
            "over": gaia.progress(name)["state"] != "running",
            "task": None,
        }
    # Decided before the file is read: if the attempt had ended, the file is complete.
    ended = attempt["state"] not in _UNFINISHED
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            start = min(start, size)
            file.seek(start)
            piece = file.read(MAX_LOG_BYTES)
    except FileNotFoundError:
        size, start, piece = 0, 0, b""
    over = ended and start + len(piece) >= size
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(piece, final=over)
    return {
        "text": text,
        "next": start + len(piece) - len(decoder.getstate()[0]),
        "over": over,
        "task": attempt["task"],
    }


def offset(given: str) -> int:
    """A byte offset from a query string."""
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise Refused(400, f"from is {given[:40]!r}; give a number of bytes, 0 or more")
    return int(given)
