"""Looks up the makers of files at new Steps' outputs, without a lock, before a decision."""

from __future__ import annotations

from collections.abc import Mapping

from gaia_local.errors import StorageError
from gaia_local.model import paths
from gaia_local.model.keys import storage_key
from gaia_local.state.database import Database
from gaia_local.state.rows import Made
from gaia_local.store.file_work import FileWork
from gaia_local.store.storage import Storage
from gaia_local.workflow.origins import Origin
from gaia_local.workflow.states import KeyKind


def knows_any(database: Database, storage: Storage) -> bool:
    """Whether `recall` could find anything, which is seldom. Costs little."""
    return len(storage.tops()) > 1 or database.remembers()


def recall(
    database: Database,
    storage: Storage,
    workflow: str,
    outputs: Mapping[str, str],
    seen: Mapping[str, str | None],
    *,
    looks: FileWork,
) -> dict[str, list[Origin]]:
    """Key → the records of its file, of those `outputs` (key → path) that have any.

    `seen` has the quick fingerprints that are known. A file that changed since it was made is the
    user's, and has no origin.
    """
    remembers, found = database.remembers(), {}
    for key, path in outputs.items():
        shared = storage.is_mapped(key)
        if not remembers and not shared:
            continue
        quick = seen[key] if key in seen else storage.quick_fingerprint(key, path, False, looks)
        if quick is None:
            continue
        records: list[tuple[str, Made]] = []
        if remembers:
            for record in database.made(*_around(storage.place(path))):
                records.append((storage.at(record.place), record))
        if shared:
            for record in _made_by_others(database, workflow, key):
                records.append((storage.path(workflow, record.place), record))
        exact = [
            _origin(storage, made, path, looks, quick) for place, made in records if place == path
        ]
        known = [origin for origin in exact if origin is not None]
        if not known:  # perhaps there are records of a directory around it, or of a part of it
            parts = (
                _origin(storage, made, place, looks) for place, made in records if place != path
            )
            known = [origin._replace(whole=False) for origin in parts if origin is not None][:1]
        if known:
            found[key] = known
    return found


def _around(place: str) -> tuple[list[str], str]:
    """A place with all directories that hold it, and the prefix of all places inside it."""
    return [place, *paths.folders(place)], f"{place}/"


def _made_by_others(database: Database, workflow: str, key: str) -> list[Made]:
    """The records that other workflows have of a key in a shared bucket."""
    parsed = storage_key(key)
    assert parsed.bucket is not None
    places, within = _around(paths.normalized(parsed.path))
    names = [f"{parsed.bucket}:{place}{end}" for place in places for end in ("", "/")]
    return database.made_by_others(workflow, parsed.bucket, names, f"{parsed.bucket}:{within}")


def _origin(
    storage: Storage, made: Made, path: str, looks: FileWork, quick: str | None = None
) -> Origin | None:
    """The record as an origin, if the file has not changed; `quick`: its fingerprint, if known."""
    state = made.state
    try:
        quick = quick or storage.quick_fingerprint("", path, False, looks)
        if quick is None:
            return None
        if state.quick is None:  # the file is unknown, and doesn't count
            return Origin(state, made.maker, True) if state.kind is KeyKind.EXPIRED else None
        if quick != state.quick and state.digest is not None:
            now = storage.fingerprint("", path, False, looks)
            if now is not None and now.digest == state.digest:
                quick = now.quick
                state = state._replace(quick=quick)
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}") from error
    return Origin(state, made.maker, True) if quick == state.quick else None
