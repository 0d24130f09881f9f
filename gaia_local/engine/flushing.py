"""Flushes data to the disk, so that a power cut never leaves a wrong result called complete.

The promise:
- The changes of a call are on the disk before it answers: its commit, and the outputs that it found
  in the store.
- The outputs of a Step are on the disk at the latest half a second after its end, and before
  `wait`, `close` or `delete` returns; or the next engine detects the loss, and the Step runs again.
  With the configuration's `durability: "step"` they are there before its worker begins another one.

The invariant: *all records up to the last flush point are on the disk, with the files they
describe*. A key is recorded with the number of the present epoch. A flush point (`flush_point`)
ends an epoch, flushes the files of all keys that were recorded since the one before, with the
directories that hold them, and only then writes the number of the epoch. Steps wait for none of
this: their outputs are renamed into the store and their rows committed without a flush.

Rows are lost from the end only: SQLite's log is valid up to the end of some commit, the last one
that was flushed or a later one. So the rows after a power cut describe some moment at or after the
last flush point and the last answer. A file that was renamed into the store since the flush point
may be the new one, the old one, absent or torn.

The rows also hold the machine's boot id under the root's last engine, or that this ended in order,
with all flushed. Under another boot, unless it ended in order, `compare` checks all outputs of
Steps, and none of these is taken for the user's:
- recorded since the flush point, or of another quick fingerprint than recorded (its row may be
  lost): the content is compared with the recorded digest; the Step must make it again if it
  differs, or has no digest;
- recorded before, with the same quick fingerprint: it is the flushed file, since the store is
  written by renames only;
- not recorded: the Step must make it again, since the start and the end of it may both be lost.

The user's files that were recorded since the flush point are read at the next inspection, even if
their quick fingerprints are as recorded. Files that no Step makes any more still don't count. No
container is resumed: its files are no safer on the disk than those in the store.

A crash between any two of these writes leaves the epoch before: more is compared than necessary. If
an engine dies while the machine goes on, nothing is lost; the next engine flushes its unflushed
records.
"""

from __future__ import annotations

from gaia_local.errors import StorageError
from gaia_local.model.tasks import DOUBTFUL
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.nodes import KeyNode
from gaia_local.workflow.states import INTERRUPTED, KeyKind, KeyState
from gaia_local.workflow.workflow import Workflow


def flush_point(database: Database, storage: Storage) -> dict[str, tuple[list[str], Exception]]:
    """Flush all that is recorded to the disk. One call at a time.

    Returns the workflows whose files the disk refused, with the keys and the error: then there is
    no flush point.
    """
    epoch = database.next_epoch()
    keys: dict[str, list[str]] = {}
    for workflow, key in database.unflushed():
        keys.setdefault(workflow, []).append(key)
    failed: dict[str, tuple[list[str], Exception]] = {}
    for workflow, names in keys.items():
        try:
            storage.flush(workflow, names)
        except (OSError, StorageError) as error:
            failed[workflow] = names, error
    if failed:
        return failed
    if keys:
        database.set_flushed(epoch)
    database.sync()
    return {}


def compare(database: Database, storage: Storage, workflow: str) -> dict[str, KeyState]:
    """The keys of a workflow whose states must be corrected after a power cut."""
    saved = database.saved(workflow)
    assert saved is not None
    recent = {key for _, key in database.unflushed(workflow)}
    found: dict[str, KeyState] = {}
    for key in Workflow.load(saved, lambda key: storage.path(workflow, key)).graph.keys.values():
        recorded = saved.keys.get(key.key)
        state = None
        if key.maker is not None:
            state = _compare_made(storage, key, recorded, key.key in recent)
        elif recorded is not None and recorded.kind is KeyKind.EXPIRED:
            state = recorded._replace(quick=None)
        elif recorded is not None and key.key in recent:
            state = recorded._replace(quick=DOUBTFUL)
        if state is not None and state != recorded:
            found[key.key] = state
    return found


def _compare_made(
    storage: Storage, key: KeyNode, recorded: KeyState | None, recent: bool
) -> KeyState | None:
    """The new state of a key that a Step makes; None if it stays, or if there is no file."""
    if recorded is not None and recorded.kind is KeyKind.EXPIRED:
        return None
    unknown = KeyState(KeyKind.EXPIRED, why=INTERRUPTED)
    try:
        quick = storage.quick_fingerprint(key.key, key.path)
        if quick is None:
            return None
        if recorded is None:
            return unknown
        if quick == recorded.quick and not recent:
            return None
        now = storage.fingerprint(key.key, key.path) if recorded.digest is not None else None
    except (OSError, StorageError):  # an unreadable file must not block the whole root
        now = None
    if recorded is not None and now is not None and now.digest == recorded.digest:
        return recorded._replace(quick=now.quick)
    return (
        unknown
        if recorded is None
        else recorded._replace(kind=KeyKind.EXPIRED, quick=None, why=recorded.why or INTERRUPTED)
    )
