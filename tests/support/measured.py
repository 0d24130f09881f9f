"""Attempts that are said to have taken something, for tests of what shows it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from gaia_local.model.usage import Usage


def write_usage(root: Path, workflow: str, usages: Mapping[str, Usage]) -> None:
    """Let the attempts at these Steps have taken this, and all others nothing that was measured.

    No engine may be open on the root.
    """
    with contextlib.closing(sqlite3.connect(root / "gaia.db")) as rows, rows:
        rows.execute("update tasks set usage = null where workflow = ?", (workflow,))
        for step, usage in usages.items():
            changed = rows.execute(
                "update tasks set usage = ? where workflow = ? and step = ?",
                (usage.json(), workflow, step),
            )
            assert changed.rowcount > 0, step
