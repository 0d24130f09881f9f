"""For doit: one task a file, with an action for its shell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

COUNT, CHAIN = int(os.environ["COUNT"]), os.environ["SHAPE"] == "chain"
DOIT_CONFIG = {"verbosity": 0, "reporter": "zero"}


def task_echo() -> Iterator[dict[str, Any]]:
    """The trivial Steps."""
    for number in range(COUNT):
        before = [str(number - 1)] if CHAIN and number else []
        # Up to date if its target is there and its dependencies are the same; without this, doit
        # runs tasks without dependencies each time.
        done = {"file_dep": before, "targets": [str(number)], "uptodate": [True]}
        yield {"name": str(number), "actions": [f"echo hi > {number}"], **done}


def task_join() -> Iterator[dict[str, Any]]:
    """The task that reads all outputs."""
    if not CHAIN:
        names = [str(number) for number in range(COUNT)]
        yield {
            "name": "join",
            "actions": [f"cat {' '.join(names)} > joined"],
            "file_dep": names,
            "targets": ["joined"],
        }
