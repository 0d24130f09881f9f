"""Deletes a workflow's files under a root: renamed aside at once, then removed."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from gaia_local.errors import DiskError, error_text
from gaia_local.model.names import OWN
from gaia_local.store import disk_sync, removal

_DELETED = f"{OWN}-deleted-"
"""The prefix of the names of directories that are being deleted."""


def delete_workflow(workflow: str, tops: Sequence[str], root: Path) -> None:
    """Remove the directories of a workflow in `tops`, which are directories of the root.

    All of them are renamed aside first: so even if this is interrupted, no half of a directory
    counts. Raises `StorageError` with the path that can't be removed; nearly always all files are
    still in place then. Can be called again.
    """
    places = [(f"{top}/{workflow}", f"{top}/{_aside_name(workflow)}") for top in tops]
    with _removing(workflow, root):
        for place in itertools.chain(*places):
            removal.refuse_stuck(place)
        for place, aside in places:
            removal.remove(aside)  # an earlier call left it
            with contextlib.suppress(FileNotFoundError):
                os.rename(place, aside)
        for top in tops:
            disk_sync.flush_one(top)
    for _, aside in places:
        with _removing(workflow, aside):
            removal.remove(aside)


def remove_deleted(top: Path) -> None:
    """Remove the directories that interrupted deletions left."""
    for entry in top.glob(f"{_DELETED}*"):
        removal.remove_or_warn(str(entry))


@contextlib.contextmanager
def _removing(workflow: str, top: object) -> Iterator[None]:
    """Turn an error of the disk into one that names the path and the workflow."""
    try:
        yield
    except OSError as error:
        name = str(error.filename)
        which = repr(name) if os.path.isabs(name) else f"{name!r} in {str(top)!r}"
        problem = f"workflow {workflow!r} isn't deleted: {which} can't be removed: {error.strerror}"
        raise DiskError(
            error_text(DiskError(f"{problem}; fix that, then delete it again"))
        ) from error


def _aside_name(workflow: str) -> str:
    """A workflow's directory while it is deleted: always the same, for a later call to find."""
    return f"{_DELETED}{hashlib.blake2b(workflow.encode(), digest_size=16).hexdigest()}"
