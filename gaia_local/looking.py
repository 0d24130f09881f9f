"""Looks at files for a workflow: what a decision needs to know, seen without a lock, and in no decision itself."""

from __future__ import annotations

from collections.abc import Iterable

from gaia_local.decision import Look, Observation, Saved
from gaia_local.errors import StorageError
from gaia_local.model import Fingerprint
from gaia_local.states import Intent
from gaia_local.storage import Storage
from gaia_local.workflow import Workflow

TRIES = 100
"""How often a directory is read anew that changes while it is read."""


def see(storage: Storage, looks: Iterable[Look]) -> list[Observation]:
    """Look at files, a stat first, contents where they are needed; what is as known is left out, unless it must be told."""
    seen = []
    for look in looks:
        quick, digest = storage.look(look.key, look.path), None
        known, same = look.state.digest is not None, quick == look.state.quick
        if quick is not None and not (same and known) and (look.read or known):
            now = _read(storage, look)
            quick, digest = (None, None) if now is None else (now.quick, now.digest)
        if not same or digest is not None or look.must:
            seen.append(Observation(look, quick, digest))
    return seen


def _read(storage: Storage, look: Look) -> Fingerprint | None:
    """The fingerprint of what lies there; what vanishes inside a directory that stays doesn't make that one vanish."""
    for _ in range(TRIES):
        now = storage.fingerprint(look.key, look.path)
        if now is not None or not storage.exists(look.key, look.path):
            return now
    raise StorageError(f"{look.key!r} can't be read: it changes all the time")


def load(saved: Saved, storage: Storage) -> Workflow:
    """A workflow from its rows, with what must be seen of its files to understand them."""
    workflow = Workflow.load(saved, lambda key: storage.path(saved.name, key))
    looks = workflow.needed_looks()
    while looks:
        looks = workflow.take_in(see(storage, looks)) + workflow.needed_looks()
    return workflow


def looked_at(saved: Saved, storage: Storage) -> Workflow:
    """A workflow for a trial: from its rows, with all its files as they are now. Nothing starts in it."""
    workflow = load(saved, storage)
    workflow.intent = Intent.HALT
    looks = workflow.looks(workflow.graph.keys.values())
    while looks:
        looks = workflow.take_in(see(storage, looks)) + workflow.needed_looks()
    return workflow
