"""The log of a Task, once it is written."""

from __future__ import annotations

import os
from pathlib import Path

TAIL_LINES = 100
_TAIL_BYTES = 100_000


def read_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, and of those at most the last 100,000 bytes."""
    try:
        with log.open("rb") as reader:
            size = reader.seek(0, os.SEEK_END)
            reader.seek(max(0, size - _TAIL_BYTES))
            text = reader.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
