"""Recovery of a root after its engine died, before the next one starts anything."""

from __future__ import annotations

import logging
import os
import time

from gaia_local.engine.flushing import compare
from gaia_local.errors import GaiaError, StorageError
from gaia_local.model.events import Event, EventKind
from gaia_local.model.tasks import TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.runtimes.contract import Runtime
from gaia_local.runtimes.process.marked_processes import end_leftover
from gaia_local.runtimes.process.supervisor import RECORD
from gaia_local.state.database import Database
from gaia_local.store import kept_failures, shells
from gaia_local.store.attempt_logs import AttemptLogs
from gaia_local.store.ownership import another_boot, boot_id
from gaia_local.store.storage import Storage
from gaia_local.workflow.states import ABSENT, INTERRUPTED, Attempt, KeyKind, KeyState

logger = logging.getLogger("gaia_local")

MOST_NAMED = 10
"""The most lost outputs that a message names."""


def recover(database: Database, storage: Storage) -> None:
    """Running Tasks become `interrupted` and their workflows `halted`; their processes are ended.

    Their outputs may have been published without a record: they are marked as expired. After a
    power cut, so are all files that differ from their record; see `flushing`.
    """
    now = time.time()
    power_cut = another_boot(database.boot())
    for name, row in database.workflows().items():
        attempts = database.attempts(name, state=TaskState.RUNNING)
        if attempts or row["state"] == WorkflowState.RUNNING.value:
            _interrupt(database, storage, name, attempts, now)
    if power_cut:
        for name in database.workflows():
            _after_power_cut(database, storage, name)
    database.set_boot(boot_id())
    database.sync()  # before anything new is made under this boot
    database.forget_listings()
    logs = AttemptLogs(storage)
    if power_cut or logs.is_begun():
        for name in database.workflows():
            logs.sweep(name, database.task_ids(name))
        logs.end()
    kept = kept_failures.kept_failures(storage.root)
    wanted = {each.task for each in kept if database.is_last_failure(each.task)}
    kept_failures.free_others(storage.root, wanted)
    _remove_leftovers(database, storage)


def discard(runtime: Runtime, storage: Storage, task_id: str) -> None:
    """End and remove an earlier process's leftovers of a Task."""
    try:
        runtime.end(task_id)
    except GaiaError as error:
        logger.warning("processes or files of Task %s could not be removed: %s", task_id, error)
    storage.discard(task_id)


def _interrupt(
    database: Database, storage: Storage, name: str, attempts: list[Attempt], now: float
) -> None:
    """Set the running Tasks of a workflow to `interrupted`, and the workflow to `halted`."""
    row = database.workflow(name)
    assert row is not None
    keys = database.keys(name)
    suspects: dict[str, KeyState] = {}
    starts: list[Event] = []
    for attempt in attempts:
        starts += _unrecorded_start(attempt, storage)
        attempt.state, attempt.ended = TaskState.INTERRUPTED, now
        attempt.message = "the engine ended while it ran"
        for key, _ in attempt.task.outputs:
            state, quick = keys.get(key, ABSENT), _quick_fingerprint(storage, name, key)
            # The Task published it without a record, or else the user put it there meanwhile.
            if quick is not None and (state.kind is not KeyKind.THERE or quick != state.quick):
                why = state.why or INTERRUPTED
                suspects[key] = state._replace(kind=KeyKind.EXPIRED, quick=None, why=why)
    facts = {"reason": "interrupted", "message": "the engine ended while Steps ran"}
    with database.transaction():
        database.set_attempts(attempts)
        database.set_keys(name, suspects)
        database.set_workflow(name, WorkflowState.HALTED.value, row["steps"])
        database.add_events([*starts, Event(EventKind.FLOW_HALTED, name, now, facts)])


def _remove_leftovers(database: Database, storage: Storage) -> None:
    """End left processes, and remove their files.

    The files of interrupted Tasks without a process stay: a container may still use them, and `run`
    resumes or discards that.
    """
    interrupted = {
        attempt.task.id for name in database.workflows() for attempt in _interrupted(database, name)
    }
    spared = set()
    for directory in storage.left_staging():
        record = directory / RECORD
        if not end_leftover(record) and not record.exists() and directory.name in interrupted:
            spared.add(directory.name)
    storage.sweep(spared)
    shells.sweep(storage.root, lambda directory: end_leftover(directory / RECORD))


def _after_power_cut(database: Database, storage: Storage, workflow: str) -> None:
    """Expire the outputs that differ from their record."""
    before, keys = database.keys(workflow), compare(database, storage, workflow)
    expired = (key for key, state in keys.items() if state.kind is KeyKind.EXPIRED)
    lost = sorted(key for key in expired if before.get(key, ABSENT).kind is not KeyKind.EXPIRED)
    row = database.workflow(workflow)
    assert row is not None
    interrupted = _interrupted(database, workflow)
    for attempt in interrupted:
        attempt.inputs = None  # so it isn't resumed: its files may be torn
    with database.transaction():
        database.set_attempts(interrupted)
        database.set_keys(workflow, keys)
        if lost:
            database.set_workflow(workflow, WorkflowState.HALTED.value, row["steps"])
            message = (
                f"the machine stopped before these were on the disk: {', '.join(lost[:MOST_NAMED])}"
            )
            message += f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
            facts = {"reason": "interrupted", "message": message}
            database.add_events([Event(EventKind.FLOW_HALTED, workflow, time.time(), facts)])


def _quick_fingerprint(storage: Storage, workflow: str, key: str) -> str | None:
    """The quick fingerprint of a key, empty if unreadable: that must not block the whole root."""
    try:
        return storage.quick_fingerprint(key, storage.path(workflow, key))
    except (OSError, StorageError):
        return ""


def _unrecorded_start(attempt: Attempt, storage: Storage) -> list[Event]:
    """The start of a Task, by its directory, if the engine died before recording it."""
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
