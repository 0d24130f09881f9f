"""Looks at files for a workflow: what a decision needs to know, seen without a lock, and in no
decision itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from gaia_local.errors import StorageError
from gaia_local.model.tasks import Fingerprint
from gaia_local.store import fingerprints
from gaia_local.store.storage import Storage
from gaia_local.workflow.decision import Look, Observation, Saved
from gaia_local.workflow.states import Intent, KeyState
from gaia_local.workflow.workflow import Workflow

TRIES = 100
"""How often a directory is read anew that changes while it is read."""
Listings: TypeAlias = Callable[[str], bytes | None]
"""Digest of a directory → `Fingerprint.listing`, where that is recorded."""


def see(storage: Storage, looks: Iterable[Look], listings: Listings) -> list[Observation]:
    """Look at files, a stat first, contents where they are needed; what is as known is left out,
    unless it must be told.
    """
    seen = []
    for look in looks:
        quick, state = storage.quick_fingerprint(look.key, look.path, look.external), look.state
        known, same = state.digest is not None, quick == state.quick
        if quick is not None and not (same and known) and (look.read or known):
            now = _read(storage, look)
            lost = None if now is None else _lost(state, now, listings)
            seen.append(
                Observation(
                    look, *((None,) if now is None else (now.quick, now.digest, now.listing, lost))
                )
            )
        elif not same or look.must:
            seen.append(Observation(look, quick))
    return seen


def _lost(before: KeyState, now: Fingerprint, listings: Listings) -> str | None:
    """An entry that is missing of a directory that a Task made, where nothing else in it changed."""
    if before.made_by is None or before.digest in (None, now.digest) or now.listing is None:
        return None
    recorded = listings(before.digest)
    made, there = (
        fingerprints.listing_entries(recorded) if recorded is not None else {},
        fingerprints.listing_entries(now.listing),
    )
    return min(made.keys() - there.keys(), default=None) if there.items() <= made.items() else None


def _read(storage: Storage, look: Look) -> Fingerprint | None:
    """The fingerprint of what lies there; what vanishes inside a directory that stays doesn't make
    that one vanish.
    """
    for _ in range(TRIES):
        now = storage.fingerprint(look.key, look.path, look.external)
        if now is not None or not storage.exists(look.key, look.path):
            return now
    raise StorageError(f"{look.key!r} can't be read: it changes all the time")


def load(saved: Saved, storage: Storage, listings: Listings) -> Workflow:
    """A workflow from its rows, with what must be seen of its files to understand them."""
    workflow = Workflow.load(saved, lambda key: storage.path(saved.name, key))
    looks = workflow.needed_looks()
    while looks:
        looks = workflow.take_in(see(storage, looks, listings)) + workflow.needed_looks()
    return workflow


def looked_at(saved: Saved, storage: Storage, listings: Listings) -> Workflow:
    """A workflow for a trial: from its rows, with all its files as they are now. Nothing starts in
    it.
    """
    workflow = load(saved, storage, listings)
    workflow.intent = Intent.HALT
    looks = workflow.looks(workflow.graph.keys.values())
    while looks:
        looks = workflow.take_in(see(storage, looks, listings)) + workflow.needed_looks()
    return workflow
