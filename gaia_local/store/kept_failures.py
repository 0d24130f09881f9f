"""Private directories that are kept of failed attempts, ``failed/<task>/`` under the root.

Each holds a record of its Step and its size, written before the one rename that brings it here; it
leaves by one rename, too. So what lies here is whole. Anybody may read; only the engine writes.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from gaia_local.store import own_directories, removal

NAME = "failed"
_RECORD = "kept.json"


class KeptFailure(NamedTuple):
    """One private directory: ``tree`` is what was the program's ``/``, ``work`` where it began."""

    path: str
    workflow: str
    step: str
    task: str
    bytes: int
    """The size of its files."""
    time: float
    """When the attempt had failed, in seconds since the epoch."""


def kept_failures(root: Path) -> list[KeptFailure]:
    """All that are kept, the oldest first."""
    found = []
    for name in _names(root):
        if (kept := _read(f"{root}/{NAME}/{name}")) is not None:
            found.append(kept)
    return sorted(found, key=lambda kept: kept.time)


def kept_failure(root: Path, workflow: str, step: str) -> Path | None:
    """The newest private directory that is kept of a Step; None if there is none."""
    for kept in reversed(kept_failures(root)):
        if (kept.workflow, kept.step) == (workflow, step):
            return Path(kept.path)
    return None


def keep(root: Path, directory: str, kept: KeptFailure) -> None:
    """Move a private directory to the place of `kept`. Raises `OSError` or `StorageError`."""
    record = {key: value for key, value in kept._asdict().items() if key != "path"}
    path = Path(directory, _RECORD)
    path.unlink(missing_ok=True)  # a link of the program's would lead to another file
    path.write_text(json.dumps(record), encoding="utf-8")
    own_directories.own_directory(f"{root}/{NAME}")
    os.rename(directory, kept.path)


def place(root: Path, task_id: str) -> str:
    """The path at which the directory of a Task is kept."""
    return f"{root}/{NAME}/{task_id}"


def free(root: Path, kept: KeptFailure) -> None:
    """Remove one. An absent one is fine; what can't be removed is logged."""
    aside = f"{root}/staging/{NAME}-{kept.task}"
    with contextlib.suppress(FileNotFoundError), removal.warning_only(kept.path):
        os.rename(kept.path, aside)
        removal.remove(aside)


def free_others(root: Path, known: set[str]) -> None:
    """Remove all that aren't of these Tasks."""
    for name in _names(root):
        if name not in known:
            removal.remove_or_warn(f"{root}/{NAME}/{name}")


def _names(root: Path) -> list[str]:
    try:
        return os.listdir(f"{root}/{NAME}")
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read(path: str) -> KeptFailure | None:
    """The record in a directory; None if there is none that makes sense."""
    try:
        found = json.loads(Path(path, _RECORD).read_text(encoding="utf-8"))
        return KeptFailure(path=path, **found)
    except (OSError, ValueError, TypeError):
        return None
