"""What the status page asks: workflows with their progress, one workflow's Steps, a log piece by
piece.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gaia_local.errors import InvalidInput
from gaia_local.server.wire import Refused

if TYPE_CHECKING:
    from gaia_local import Gaia

MAX_LOG_BYTES = 1024 * 1024
"""The most bytes of a log that one call answers."""
_UNFINISHED = ("queued", "running")


def workflows(gaia: Gaia) -> dict[str, Any]:
    """``{"workflows": {name: {"name", "state", "properties", "step-count", "progress"}}}``."""
    found = ((name, entry(gaia, row)) for name, row in gaia.workflows()["workflows"].items())
    return {"workflows": {name: row for name, row in found if row is not None}}


def entry(gaia: Gaia, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """One workflow of the list, brought up to date; None when it was deleted meanwhile."""
    try:
        counts = gaia.progress(row["name"])
    except InvalidInput:
        return None
    state = counts.pop("state")
    return {**row, "state": state, "step-count": counts["steps"], "progress": counts}


def workflow(gaia: Gaia, name: str) -> dict[str, Any]:
    """``{"workflow", "state", "progress", "failures", "waiting-inputs"}``, and "error" where there
    is trouble.
    """
    counts = gaia.progress(
        name
    )  # refuses a name that nobody uploaded, which status answers as the server does
    inner = gaia.status(name)["status"]
    answer = {
        "workflow": name,
        "state": counts.pop("state"),
        "progress": counts,
        "failures": gaia.failures(name),
        "waiting-inputs": inner["waiting-inputs"],
    }
    return answer | ({"error": inner["error"]} if "error" in inner else {})


def log(gaia: Gaia, name: str, step: str, start: int) -> dict[str, Any]:
    """``{"text", "next", "over", "task"}``: the log of a Step's latest attempt from a byte on, at
    most `PIECE` bytes.

    `next` is where the next call goes on; `over` says that nothing will come after it; `task` is
    the attempt's id, which changes when the Step runs again, with a log of its own. A character
    whose end isn't written yet is left for later.
    """
    attempt = gaia.attempt(name, step)
    if attempt["task"] is None:
        return {
            "text": "",
            "next": 0,
            "over": gaia.progress(name)["state"] != "running",
            "task": None,
        }
    ended = (
        attempt["state"] not in _UNFINISHED
    )  # asked before the file is read: what it then holds is all
    try:
        with open(attempt["log"], "rb") as file:
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
