"""What an engine does first when it takes over a root: set right what a dead one left. Starts
nothing.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace

from gaia_local.engine.flushing import compare
from gaia_local.errors import StorageError
from gaia_local.model.events import Event, EventKind
from gaia_local.model.tasks import TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.runtimes.process.marked_processes import end_leftover
from gaia_local.runtimes.process.supervisor import RECORD
from gaia_local.state.database import Database
from gaia_local.store.ownership import another_boot, boot_id
from gaia_local.store.storage import Storage
from gaia_local.workflow.states import ABSENT, INTERRUPTED, Attempt, KeyKind, KeyState

NAMED = 10
"""So many lost outputs are named."""


def recover(database: Database, storage: Storage) -> None:
    """Tasks that were running become `interrupted`, their workflows `halted`; their processes and
    their staging go.

    Their outputs may be stored in part, without a record of it: they are marked as not counting.
    After a power cut, so is whatever isn't on the disk as it was recorded; see `flushing`.
    """
    now = time.time()
    cut_off = another_boot(database.boot())
    for name, row in database.workflows().items():
        attempts = database.attempts(name, state=TaskState.RUNNING)
        if not attempts and row["state"] != WorkflowState.RUNNING.value:
            continue
        keys = database.keys(name)
        suspects: dict[str, KeyState] = {}
        starts: list[Event] = []
        for attempt in attempts:
            starts += _unwritten_start(attempt, storage)
            attempt.state, attempt.ended, attempt.message = (
                TaskState.INTERRUPTED,
                now,
                "the engine ended while it ran",
            )
            for key, _ in attempt.task.outputs:
                state, quick = keys.get(key, ABSENT), _quick_fingerprint(storage, name, key)
                # The user put it there while the Task ran, unless the Task did and nobody could
                # write that down.
                if quick is not None and (state.kind is not KeyKind.THERE or quick != state.quick):
                    suspects[key] = replace(
                        state, kind=KeyKind.EXPIRED, quick=None, why=state.why or INTERRUPTED
                    )
        with database.transaction():
            database.set_attempts(attempts)
            database.set_keys(name, suspects)
            database.set_workflow(name, WorkflowState.HALTED.value, row["steps"])
            halted = Event(
                EventKind.FLOW_HALTED,
                name,
                now,
                {"reason": "interrupted", "message": "the engine ended while Steps ran"},
            )
            database.add_events([*starts, halted])
    if cut_off:
        for name in database.workflows():
            _after_power_cut(database, storage, name)
    database.set_boot(boot_id())
    database.sync()  # before anything is made that it is to tell of
    database.forget_listings()
    begun = {
        attempt.task.id for name in database.workflows() for attempt in _interrupted(database, name)
    }
    spared = set()
    for directory in storage.left_staging():
        if (
            not end_leftover(directory / RECORD)
            and not (directory / RECORD).exists()
            and directory.name in begun
        ):
            spared.add(
                directory.name
            )  # perhaps a container goes on with it: `run` takes it up, or discards it
    storage.sweep(spared)


def _after_power_cut(database: Database, storage: Storage, workflow: str) -> None:
    """What Steps made, and is not as it was recorded, doesn't count."""
    before, keys = database.keys(workflow), compare(database, storage, workflow)
    void = (key for key, state in keys.items() if state.kind is KeyKind.EXPIRED)
    lost = sorted(key for key in void if before.get(key, ABSENT).kind is not KeyKind.EXPIRED)
    row = database.workflow(workflow)
    assert row is not None
    interrupted = _interrupted(database, workflow)
    for attempt in interrupted:
        attempt.inputs = None  # so it isn't taken up: what it left may be torn
    with database.transaction():
        database.set_attempts(interrupted)
        database.set_keys(workflow, keys)
        if lost:
            database.set_workflow(workflow, WorkflowState.HALTED.value, row["steps"])
            message = (
                f"the machine stopped before these were on the disk: {', '.join(lost[:NAMED])}"
            )
            message += f" and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
            facts = {"reason": "interrupted", "message": message}
            database.add_events([Event(EventKind.FLOW_HALTED, workflow, time.time(), facts)])


def _quick_fingerprint(storage: Storage, workflow: str, key: str) -> str | None:
    """The quick fingerprint of a key, empty for what can't be looked at: that must not keep anybody
    from the root.
    """
    try:
        return storage.quick_fingerprint(key, storage.path(workflow, key))
    except (OSError, StorageError):
        return ""


def _unwritten_start(attempt: Attempt, storage: Storage) -> list[Event]:
    """The start of a Task that the engine died too soon after to write down: its private directory
    tells of it.
    """
    if attempt.started is not None:
        return []
    try:
        attempt.started = os.stat(storage.private_directory(attempt.task.id)).st_ctime
    except FileNotFoundError:
        return []
    task = attempt.task
    return [
        Event(
            EventKind.STEP_START,
            task.workflow,
            attempt.started,
            {"id": task.id, "task": task.name, "reason": task.reason},
        )
    ]


def _interrupted(database: Database, workflow: str) -> list[Attempt]:
    return [
        attempt
        for attempt in database.latest(workflow, TaskState.INTERRUPTED)
        if not attempt.superseded
    ]
