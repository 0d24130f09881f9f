"""Looks up who made the files that lie at the outputs of new Steps: without a lock, before these
are decided about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gaia_local.errors import StorageError
from gaia_local.model import paths
from gaia_local.model.keys import storage_key
from gaia_local.state.database import Database
from gaia_local.state.rows import Made
from gaia_local.store.storage import Storage
from gaia_local.workflow.origins import Origin
from gaia_local.workflow.states import KeyKind


def knows_any(database: Database, storage: Storage) -> bool:
    """Whether there is anything to `recall`: mostly not, and then no time is to be lost."""
    return len(storage.tops()) > 1 or database.remembers()


def recall(
    database: Database,
    storage: Storage,
    workflow: str,
    outputs: Mapping[str, str],
    seen: Mapping[str, str | None],
) -> dict[str, list[Origin]]:
    """Key → what the root knows of the file that lies there, of those `outputs` (key → path) of
    which it knows anything.

    `seen` has the quick fingerprints that are known. A file that changed since it was made is the
    user's, of no origin.
    """
    remembers, found = database.remembers(), {}
    for key, path in outputs.items():
        shared = storage.is_mapped(key)
        if not remembers and not shared:
            continue
        quick = seen[key] if key in seen else storage.quick_fingerprint(key, path)
        if quick is None:
            continue
        made = (
            [
                (storage.at(each.place), each)
                for each in database.made(*_around(storage.place(path)))
            ]
            if remembers
            else []
        )
        made += (
            [
                (storage.path(workflow, each.place), each)
                for each in _of_others(database, workflow, key)
            ]
            if shared
            else []
        )
        origins = [_origin(storage, each, path, quick) for place, each in made if place == path]
        known = [origin for origin in origins if origin is not None]
        if not known:  # perhaps of what it is a part of, or what is a part of it
            parts = (_origin(storage, each, place) for place, each in made if place != path)
            known = [replace(origin, whole=False) for origin in parts if origin is not None][:1]
        if known:
            found[key] = known
    return found


def _around(place: str) -> tuple[list[str], str]:
    """A place with those that it lies in, and how all begin that lie in it."""
    return [place, *paths.folders(place)], f"{place}/"


def _of_others(database: Database, workflow: str, key: str) -> list[Made]:
    """What other workflows know of a key in a bucket that they share."""
    parsed = storage_key(key)
    assert parsed.bucket is not None
    places, within = _around(paths.normalized(parsed.path))
    names = [f"{parsed.bucket}:{place}{end}" for place in places for end in ("", "/")]
    return database.made_by_others(workflow, parsed.bucket, names, f"{parsed.bucket}:{within}")


def _origin(storage: Storage, made: Made, path: str, quick: str | None = None) -> Origin | None:
    """What is known, if it is still what lies there; `quick` is its quick fingerprint, where that
    is known.
    """
    state = made.state
    try:
        quick = quick or storage.quick_fingerprint("", path)
        if quick is None:
            return None
        if state.quick is None:  # nobody could know what was left there, only that it doesn't count
            return Origin(state, made.maker, True) if state.kind is KeyKind.EXPIRED else None
        if quick != state.quick and state.digest is not None:
            now = storage.fingerprint("", path)
            if now is not None and now.digest == state.digest:
                quick = now.quick
                state = replace(state, quick=quick)
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}") from error
    return Origin(state, made.maker, True) if quick == state.quick else None
