"""The parts of one root, built when they are needed and closed in order."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from gaia_local import interrupts
from gaia_local.config import Config
from gaia_local.engine import execution
from gaia_local.engine.calls import REMOTE_CALLS, Changes, Questions
from gaia_local.engine.failures import Failures
from gaia_local.engine.local_socket import Listener, Unreachable
from gaia_local.engine.recovery import recover
from gaia_local.engine.remote_root import remote_root
from gaia_local.engine.root_reader import RootReader
from gaia_local.engine.scheduler import Scheduler
from gaia_local.engine.snapshot import Snapshot
from gaia_local.errors import Closed, GaiaError, InvalidInput, RootInUse, StorageError, error_text
from gaia_local.forks import forget_in_child
from gaia_local.model.tasks import Task
from gaia_local.monotonic import monotonic
from gaia_local.state.buckets import Use, read_uses, recorded, with_remembered
from gaia_local.state.database import Database
from gaia_local.store import ownership
from gaia_local.store.ownership import Ownership
from gaia_local.store.storage import Storage

logger = logging.getLogger("gaia_local")
T = TypeVar("T")

ABSENT_OWNER_SECONDS, SILENT_OWNER_SECONDS, RETRY_SECONDS = 0.5, 15.0, 0.02
"""For tries again if the owner has no socket, or isn't listening: it is just starting or ending."""


class OwnedParts(NamedTuple):
    """The parts that exist only in the process that owns the root."""

    scheduler: Scheduler
    listener: Listener | None
    """None if the root's file system has no sockets."""
    ends: contextlib.ExitStack
    """Ends these and the parts they use, in order."""


class Engine:
    """One root's parts. Reading works always; the first change makes this process the owner.

    If another process is the owner, calls are sent to it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        """Includes the buckets recorded in the root, as soon as these were read."""
        self._given_config = config
        self.storage = Storage(config.root, config.buckets)
        given = {key: repr(value) for key, value in config.given_settings().items()}
        self._remote_root = remote_root(config.root, given)
        self._lock = threading.RLock()
        self.users = 0
        """The number of `Gaia` objects that share it; guarded by the lock in `sharing`."""
        self._owned: OwnedParts | None = None
        """Set once this process owns the root, until all parts have ended."""
        self.lost: str | None = None
        """The reason if the root was removed or replaced while this process owned it."""
        self._closed = False
        self._close_lock = threading.Lock()
        forget_in_child(self)

    def ask(self, question: Callable[[Questions], T]) -> T:
        """Ask one question of the root, with the question's own errors."""
        with self._lock:
            ours = self._owned is not None or self._closed
        if not ours:
            with contextlib.suppress(Unreachable):
                return question(self._remote_root)
        return question(RootReader(self.reader, self.storage, self.config.reuse))

    def change(self, change: Callable[[Changes], T]) -> T:
        """Make one change, here or in the process that owns the root, with the change's errors."""
        began = monotonic()
        while True:
            try:
                return change(self.scheduler)
            except RootInUse as refusal:
                try:
                    return change(self._remote_root)
                except Unreachable as error:
                    patience = ABSENT_OWNER_SECONDS if error.absent else SILENT_OWNER_SECONDS
                    if monotonic() - began > patience:
                        raise refusal from error
            # The owner is starting or ending, and doesn't announce when it is done.
            time.sleep(RETRY_SECONDS)
            interrupts.check()

    def own(self) -> None:
        """Own the root from here on. Raises `RootInUse` when another process does."""
        _ = self.scheduler

    def _answer(self, name: str, arguments: Mapping[str, Any], config: Mapping[str, str]) -> Any:
        """Answer another process. Runs in the listener's threads."""
        owned, call = self._parts(), REMOTE_CALLS.get(name)
        if owned is None:
            raise Unreachable(f"the owner of root {self.config.root} has just ended")
        if call is None:
            raise InvalidInput(
                "a call from another process",
                f"there is no call {name!r}",
                "use the same version of gaia_local",
            )
        if not call.changes:
            return call.make(
                RootReader(owned.scheduler, self.storage, self.config.reuse), arguments
            )
        self._refuse_other_settings(config)
        try:
            return call.make(owned.scheduler, arguments)
        except Closed as error:
            raise Unreachable(
                f"the owner of root {self.config.root} ended meanwhile", told_all=True
            ) from error

    def _refuse_other_settings(self, given: Mapping[str, str]) -> None:
        """Refuse a change by a process whose settings differ from this one's."""
        ours = self.config.settings()
        for key in sorted(given):
            if key not in ours or repr(ours[key]) != given[key]:
                where = f"process {os.getpid()}"
                refuse_other_config(self.config.root, where, key, "end that process")

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler: this process owns the root now. Raises `RootInUse` if another one does."""
        with self._lock:
            self._refuse_closed()
            return (self._owned or self._own()).scheduler

    @property
    def reader(self) -> Scheduler | Snapshot:
        """The source of answers: the scheduler if this process owns the root, else the rows.

        If an owner died, or after a power cut, this process takes the root over to recover it.
        """
        with self._lock:
            self._refuse_closed()
            if self._owned is not None:
                return self._owned.scheduler
            snapshot = Snapshot(self._database_path, self.storage, self._image_ids, self._identity)
            self._map_buckets(snapshot.buckets())
            interrupted = any(row["state"] == "running" for row in snapshot.workflows().values())
            if (interrupted or ownership.another_boot(snapshot.boot())) and ownership.owner(
                self.config.root
            ) is None:
                # StorageError: a read-only root can still be read.
                with contextlib.suppress(RootInUse, StorageError):
                    return self.scheduler
            return snapshot

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Closed("this Gaia was closed")

    def wait(self) -> None:
        """Block until every workflow is quiet."""
        if (owned := self._parts()) is not None:
            owned.scheduler.wait(None)

    def stop(self) -> None:
        """Halt all running workflows, so that `run` resumes them later."""
        if (owned := self._parts()) is not None:
            owned.scheduler.stop()

    def drain(self) -> None:
        """Block until all workflows are quiet, and accept no more calls of other processes."""
        self.wait()
        if (owned := self._parts()) is not None and owned.listener is not None:
            owned.listener.finish()
            self.wait()

    def close(self) -> None:
        """End the parts in order: Steps, threads, connections, the lock. Idempotent.

        No signal interrupts it: see `interrupts.deferred`.
        """
        with interrupts.deferred(urgent=True), self._close_lock:
            with self._lock:
                self._closed, owned = True, self._owned
            if owned is not None:
                owned.ends.close()
            with self._lock:
                self._owned = None

    def kill_now(self) -> None:
        """Kill Tasks that are being stopped, without a grace."""
        if (owned := self._owned) is not None:
            owned.scheduler.kill_now()

    def forget(self) -> None:
        """As `Inherited.forget`: the parts are the parent's, and its threads use them."""
        self._lock, self._close_lock = threading.RLock(), threading.Lock()
        self._closed, self._owned = True, None

    def owns(self) -> bool:
        """Whether this process owns the root. Waits while it takes the root over."""
        return self._parts() is not None

    def _parts(self) -> OwnedParts | None:
        """The parts, also while they end; None if this process doesn't own the root.

        Waits while they are made.
        """
        with self._lock:
            return self._owned

    @property
    def _database_path(self) -> Path:
        return self.config.root / "gaia.db"

    def _image_ids(self, images: Iterable[str]) -> dict[str, str | None]:
        """Image name → id at present, for a process that runs no Tasks."""
        names = list(images)
        if not names or self.config.executor != "threads":
            return {}
        with contextlib.closing(execution.runtime_of(self.config)) as runtime:
            return {name: runtime.image_id(name) for name in names}

    def _identity(self, task: Task) -> str | None:
        """As `Runtime.identity`, for a process that runs no Tasks."""
        if self.config.executor != "threads":
            return None
        with contextlib.closing(execution.runtime_of(self.config)) as runtime:
            return runtime.identity(task)

    def _own(self) -> OwnedParts:
        """Take the root over. If that fails or is interrupted, all parts made so far end."""
        ends = contextlib.ExitStack()
        try:
            self._owned = owned = self._make_parts(ends)
        except BaseException:
            if self._owned is None:
                with interrupts.deferred(urgent=True):
                    ends.__exit__(*sys.exc_info())
            raise
        return owned

    def _make_parts(self, ends: contextlib.ExitStack) -> OwnedParts:
        """Make the parts, and register each one's end at once: they end in reverse order."""
        ends.enter_context(interrupts.closing_at_signals(self))
        lock = Ownership(self.config.root)
        ends.callback(self._end, lock.release)
        listener = self._listen()
        if listener is not None:
            ends.callback(self._end, listener.refuse)
        database = self._open_database_and_store(ends, lock)
        most, most_bytes = self.config.keep_failed, self.config.keep_failed_bytes
        failures = Failures(self.config.root, database, most, most_bytes)
        runtime, executor = execution.make_executor(self.config, self.storage, failures)
        if self.config.reuse:
            executor = execution.with_reuse(executor, self.config, database, self.storage, runtime)
        ends.callback(self._end, runtime.close)
        ends.callback(self._end, executor.close)
        if listener is not None:
            ends.push(lambda kind, *_: self._end_listener(listener, kind is None))
        scheduler = Scheduler(
            database,
            self.storage,
            runtime,
            executor,
            failures,
            max_steps=self.config.max_steps,
            keep_attempts=self.config.keep_attempts,
            flush_each_step=self.config.durability == "step",
        )
        ends.callback(self._end, scheduler.close)
        if self.config.watch:
            # Imported here: watchdog is slow to import, and readers don't need it.
            from gaia_local.store.watcher import Watcher

            def files_changed(paths: Collection[str] | None) -> None:
                if lock.is_lost():
                    self._lose_root(scheduler)
                else:
                    scheduler.loop.files_changed(paths)

            ends.callback(self._end, Watcher(self.storage.tops(), files_changed).close)
            ends.callback(self._end, scheduler.refuse)  # its thread may look at a huge file
        if listener is not None:
            ends.callback(self._end, listener.refuse)
        return OwnedParts(scheduler, listener, ends)

    def _lose_root(self, scheduler: Scheduler) -> None:
        """Stop all Tasks of a root that was removed or replaced: nothing of it can be written."""
        if self.lost is None:
            self.lost = (
                f"root {self.config.root} was removed or replaced while it was open: what ran was "
                "stopped; close this Gaia (end its process) and start again"
            )
            logger.error("%s", self.lost)
            scheduler.stop()
            scheduler.loop.subscribers.notify(list(scheduler.loop.workflows))

    def _open_database_and_store(self, ends: contextlib.ExitStack, lock: Ownership) -> Database:
        """Open both, with the workflows' buckets, and recover from a dead owner."""
        database = Database(self._database_path)
        ends.callback(self._end, database.close)
        self._map_buckets(uses := read_uses(database))
        for use in uses:
            if use.directory is None and use.bucket in self.config.buckets:
                database.set_buckets(
                    use.workflow, {use.bucket: str(self.config.buckets[use.bucket])}
                )
        # A bucket that is recorded and wasn't given now may be on an unmounted disk: only the
        # Steps that need it fail.
        self.storage.create(away=self.config.buckets.keys() - self._given_config.buckets.keys())
        # In another root at the same path these are another process's.
        ends.callback(self._end, lambda: None if lock.is_lost() else self.storage.close())
        recover(database, self.storage)
        return database

    def _end_listener(self, listener: Listener, began: bool) -> None:
        """Answer the accepted calls; if the parts could not be made (not `began`), abandon them.

        Those wait for the lock that this thread holds while it makes the parts, so it can't wait
        for them.
        """
        self._end(listener.close if began else listener.refuse)

    def _end(self, end: Callable[[], object]) -> None:
        """End one part. Errors of the disk or the network are logged: the other parts end too."""
        try:
            end()
        except (OSError, GaiaError) as error:
            message = "root %s: the engine could not be shut down cleanly: %s"
            logger.error(message, self.config.root, error_text(error))

    def _map_buckets(self, uses: Iterable[Use]) -> None:
        """Map the buckets of this root's workflows. Raises `InvalidInput` for a contradiction."""
        uses = list(uses)
        mapped = with_remembered(self.config.root, self._given_config.buckets, uses)
        told = self.config.buckets.keys() | recorded(uses).keys()
        for name in sorted(mapped.keys() - told):
            logger.warning("bucket %r is %s, as its workflows were made with", name, mapped[name])
        self.config = self.config.with_buckets(mapped)
        self.storage.map(mapped)

    def _listen(self) -> Listener | None:
        """Let other processes make calls; those that come too early wait for the scheduler."""
        try:
            return Listener(self.config.root, self._answer)
        except (OSError, RuntimeError) as error:  # pytest-socket raises the second
            logger.info(
                "root %s: other processes can only read it while this one owns it: %s",
                self.config.root,
                error,
            )
            return None


def refuse_other_config(root: Path, where: str, key: str, first: str) -> NoReturn:
    """Raise `InvalidInput`: another value of `key` counts in `where`; do `first` first."""
    raise InvalidInput(
        f"config, {key}",
        f"root {root} is open in {where} already, with a different value",
        f"{first}, or give the same",
    )
