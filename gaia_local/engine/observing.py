"""Looks at files for the decisions about a workflow, without a lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from gaia_local.errors import StorageError
from gaia_local.model.tasks import Fingerprint
from gaia_local.store import fingerprints
from gaia_local.store.file_work import UNTOLD, FileWork, file_size
from gaia_local.store.storage import Storage
from gaia_local.terminal_text import escaped
from gaia_local.workflow.contents import inspections
from gaia_local.workflow.decision import Inspection, Observation, Saved
from gaia_local.workflow.states import Intent, KeyState
from gaia_local.workflow.workflow import Workflow

MOST_READS = 100
"""The most tries to read a directory that changes while it is read."""
Listings: TypeAlias = Callable[[str], bytes | None]
"""Digest of a directory → `Fingerprint.listing`, or None if that isn't recorded."""


def observe(
    storage: Storage,
    requests: Iterable[Inspection],
    listings: Listings,
    work: FileWork = UNTOLD,
) -> list[Observation]:
    """Inspect files: always by stat, and by their contents if these are needed.

    Files that are as recorded are left out, unless `Inspection.must`.
    """
    seen = []
    for request in requests:
        quick = storage.quick_fingerprint(request.key, request.path, request.external, work)
        state = request.state
        known, same = state.digest is not None, quick == state.quick
        if quick is not None and not (same and known) and (request.read or known):
            seen.append(_read(storage, request, listings, work))
        elif not same or request.must:
            seen.append(Observation(request, quick))
    return seen


def _read(storage: Storage, request: Inspection, listings: Listings, work: FileWork) -> Observation:
    """Read the content of a key.

    A directory still counts as present if entries in it vanish meanwhile: it is read again.
    """
    for _ in range(MOST_READS):
        work.begin(f"reading {request.key!r}", lambda: file_size(request.path))
        now = storage.fingerprint(request.key, request.path, request.external, work)
        if now is not None:
            lost = _lost_entry(request.state, now, listings)
            return Observation(request, now.quick, now.digest, now.listing, lost)
        if not storage.exists(request.key, request.path):
            return Observation(request, None)
    raise StorageError(f"{request.key!r} can't be read: it changes all the time")


def _lost_entry(before: KeyState, now: Fingerprint, listings: Listings) -> str | None:
    """A missing entry of a directory made by a Task, if missing entries are its only changes."""
    if before.made_by is None or before.digest in (None, now.digest) or now.listing is None:
        return None
    recorded = listings(before.digest)
    if recorded is None:
        return None
    made, found = fingerprints.listing_entries(recorded), fingerprints.listing_entries(now.listing)
    if not found.items() <= made.items():
        return None
    lost = min(made.keys() - found.keys(), default=None)
    return None if lost is None else escaped(lost)


def load(saved: Saved, storage: Storage, listings: Listings, work: FileWork = UNTOLD) -> Workflow:
    """A workflow from its rows, after the inspections that these require."""
    workflow = Workflow.load(saved, lambda key: storage.path(saved.name, key))
    _inspect(workflow, workflow.needed_inspections(), storage, listings, work)
    return workflow


def load_for_trial(
    saved: Saved, storage: Storage, listings: Listings, work: FileWork = UNTOLD
) -> Workflow:
    """A workflow for a trial: from its rows, with all its files as they are now.

    Nothing starts in it.
    """
    workflow = load(saved, storage, listings, work)
    workflow.intent = Intent.HALT
    _inspect(workflow, inspections(workflow.graph.keys.values()), storage, listings, work)
    return workflow


def _inspect(
    workflow: Workflow,
    requests: list[Inspection],
    storage: Storage,
    listings: Listings,
    work: FileWork,
) -> None:
    """Inspect files until no more inspections are needed."""
    while requests:
        seen = observe(storage, requests, listings, work)
        requests = workflow.record_observations(seen) + workflow.needed_inspections()
