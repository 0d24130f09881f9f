"""What is on the disk, and when: the promise that a power cut never leaves a wrong result that is
called complete.

The promise:
- What a call answered is on the disk before it answers: its commit, and the outputs that it found
  in the store.
- What a Step made is on the disk at the latest half a second after its end, and before `wait`,
  `close` or `delete` is through; or the loss is found out by the next engine, and the Step runs
  again.

The invariant: *what was recorded up to the last flush point is on the disk as it was recorded*. A
key is recorded with the number of the present epoch. A flush point (`flush_point`) ends an epoch,
flushes the files of all keys that were recorded since the one before, with the directories on the
way to them, and only then writes the number of the epoch down. Steps wait for none of this: their
outputs are renamed into the store and their rows committed without a flush.

Rows are lost from the end only: SQLite's log is valid up to the end of some commit, the last one
that was flushed or a later one. So the rows that a power cut leaves tell of some moment at or after
the last flush point and the last answer, and the store has, of what was renamed into it since the
flush point, anything: the new, the old, nothing, or a torn file.

The rows hold, too, which boot of the machine an engine last had the root in, or that it ended in
order, all flushed. Under another boot, after anything else than an end in order, `compare` looks at
all that Steps make, and nothing of that is taken for the user's:
- recorded since the flush point, or of another quick fingerprint than recorded (its row may be
  lost): the content is compared with the recorded digest; what differs, or has none, must be made
  again;
- recorded before, with the same quick fingerprint: it is what was flushed, since the store is
  written by renames only;
- not recorded at all: it must be made again, since the start and the end of its Step may both be
  lost. Of the user's files, those recorded since the flush point are read at the next look,
  whatever their quick fingerprints say. What no Step makes any more goes on not to count, whatever
  lies there now. No container is taken up: what it left is no more on the disk than what was
  stored.

A crash between any two of these writes leaves the epoch of before: more is compared than must be.
An engine that dies while the machine goes on loses nothing; what it had recorded and not flushed,
the next one flushes.
"""

from __future__ import annotations

from dataclasses import replace

from gaia_local.errors import StorageError
from gaia_local.model.tasks import DOUBTFUL
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.nodes import KeyNode
from gaia_local.workflow.states import INTERRUPTED, KeyKind, KeyState
from gaia_local.workflow.workflow import Workflow


def flush_point(database: Database, storage: Storage) -> dict[str, tuple[list[str], Exception]]:
    """Have all that is recorded on the disk. Not to be called by two at a time.

    Answers the workflows whose files the disk refused, with the keys and what it said: then there
    is no flush point.
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
    """After a power cut: the keys of a workflow of which other is known now than is recorded."""
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
            state = replace(recorded, quick=None)
        elif recorded is not None and key.key in recent:
            state = replace(recorded, quick=DOUBTFUL)
        if state is not None and state != recorded:
            found[key.key] = state
    return found


def _compare_made(
    storage: Storage, key: KeyNode, recorded: KeyState | None, recent: bool
) -> KeyState | None:
    """What to record of a key that a Step makes; None where that is as it was, or where nothing
    lies there.
    """
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
    except (OSError, StorageError):  # what can't be read must not keep anybody from the root
        now = None
    if recorded is not None and now is not None and now.digest == recorded.digest:
        return replace(recorded, quick=now.quick)
    return (
        unknown
        if recorded is None
        else replace(recorded, kind=KeyKind.EXPIRED, quick=None, why=recorded.why or INTERRUPTED)
    )
