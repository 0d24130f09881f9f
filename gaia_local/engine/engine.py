"""The parts of one root, built when they are needed and closed in order."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gaia_local.config import Config
from gaia_local.engine.calls import REMOTE_CALLS, Changes, Questions
from gaia_local.engine.local_socket import Listener, Unreachable
from gaia_local.engine.recovery import recover
from gaia_local.engine.remote_root import remote_root
from gaia_local.engine.root_reader import RootReader
from gaia_local.engine.scheduler import Scheduler
from gaia_local.engine.snapshot import Snapshot
from gaia_local.errors import Closed, GaiaError, InvalidInput, RootInUse, StorageError, error_text
from gaia_local.executors.contract import Executor
from gaia_local.executors.limits import affordable_workers
from gaia_local.executors.threads import ThreadExecutor
from gaia_local.executors.worker import Worker
from gaia_local.forks import forget_in_child
from gaia_local.runtimes.choice import make_runtime
from gaia_local.runtimes.contract import Root, Runtime
from gaia_local.state.buckets import Use, read_uses, with_remembered
from gaia_local.state.database import Database
from gaia_local.store import ownership
from gaia_local.store.ownership import Ownership
from gaia_local.store.root_identity import identity_file, read_identity
from gaia_local.store.storage import Storage
from gaia_local.store.workspaces import LocalWorkspace

logger = logging.getLogger("gaia_local")
T = TypeVar("T")

ABSENT_OWNER_SECONDS, SILENT_OWNER_SECONDS, RETRY_SECONDS = 0.5, 15.0, 0.02
"""To try again where the owner has no socket, or doesn't listen: it begins, or ends."""


@dataclass(frozen=True)
class OwnedParts:
    """What there is only in the process that owns the root."""

    scheduler: Scheduler
    listener: Listener | None
    """None where the root's file system has no sockets."""
    ends: contextlib.ExitStack
    """Ends these and all that they work with, in order."""


class Engine:
    """One root's parts. Reading works always; the first change makes this process the owner.

    Where another process is the owner, it is asked.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        """With the buckets that the root remembers, as far as it was read."""
        self._given_config = config
        self.storage = Storage(config.root, config.buckets)
        given = {key: repr(value) for key, value in config.given_settings().items()}
        self._remote_root = remote_root(config.root, given)
        self._lock = threading.RLock()
        self.users = 0
        """How many `Gaia` objects share it; guarded by the registry's lock."""
        self._owned: OwnedParts | None = None
        """Set from the moment on when this process owns the root until all of them have ended."""
        self.lost: str | None = None
        """Why this process can't use the root any more, where another or none lies at its path."""
        self._closed = False
        self._close_lock = threading.Lock()
        forget_in_child(self)

    def ask(self, question: Callable[[Questions], T]) -> T:
        """Ask one question of the root. Raises what that raises."""
        with self._lock:
            ours = self._owned is not None or self._closed
        if not ours:
            with contextlib.suppress(Unreachable):
                return question(self._remote_root)
        return question(RootReader(self.reader, self.storage))

    def change(self, change: Callable[[Changes], T]) -> T:
        """Make one change, here or in the process that owns the root. Raises what that raises."""
        began = time.monotonic()
        while True:
            try:
                return change(self.scheduler)
            except RootInUse as refusal:
                try:
                    return change(self._remote_root)
                except Unreachable as error:
                    patience = ABSENT_OWNER_SECONDS if error.absent else SILENT_OWNER_SECONDS
                    if time.monotonic() - began > patience:
                        raise refusal from error
            # The owner begins, or ends: nothing tells us when it is through.
            time.sleep(RETRY_SECONDS)

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
            return call.make(RootReader(owned.scheduler, self.storage), arguments)
        self._refuse_other_settings(config)
        try:
            return call.make(owned.scheduler, arguments)
        except Closed as error:
            raise Unreachable(
                f"the owner of root {self.config.root} ended meanwhile", told_all=True
            ) from error

    def _refuse_other_settings(self, given: Mapping[str, str]) -> None:
        """Refuse a change of somebody who gave other settings than this process has."""
        ours = self.config.settings()
        for key in sorted(given):
            if key not in ours or repr(ours[key]) != given[key]:
                where = f"process {os.getpid()}"
                refuse_other_config(self.config.root, where, key, "end that process")

    @property
    def scheduler(self) -> Scheduler:
        """The head; this process owns the root now. Raises `RootInUse` when another does."""
        with self._lock:
            self._refuse_closed()
            return (self._owned or self._own()).scheduler

    @property
    def reader(self) -> Scheduler | Snapshot:
        """Who answers questions: the scheduler, where this process owns or must clean the root."""
        with self._lock:
            self._refuse_closed()
            if self._owned is not None:
                return self._owned.scheduler
            snapshot = Snapshot(self._database_path, self.storage, self._image_ids)
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
        """Halt what runs, so that `run` goes on with it later."""
        if (owned := self._parts()) is not None:
            owned.scheduler.stop()

    def drain(self) -> None:
        """Block until all workflows are quiet and no other process can start anything here."""
        self.wait()
        if (owned := self._parts()) is not None and owned.listener is not None:
            owned.listener.finish()
            self.wait()

    def close(self) -> None:
        """End the parts in order: Steps, threads, connections, the lock. Idempotent.

        A signal that comes meanwhile doesn't break into it: see `sharing`.
        """
        with self._close_lock:
            with self._lock:
                self._closed, owned = True, self._owned
            if owned is not None:
                owned.ends.close()
            with self._lock:
                self._owned = None

    def kill_now(self) -> None:
        """Whatever is stopped is killed without a grace. A signal handler may call it."""
        if (owned := self._owned) is not None:
            owned.scheduler.kill_now()

    def forget(self) -> None:
        """As `Inherited.forget`: the parts are the parent's, whose threads work with them."""
        self._lock, self._close_lock = threading.RLock(), threading.Lock()
        self._closed, self._owned = True, None

    def _parts(self) -> OwnedParts | None:
        """The parts, also while they end; None where this process doesn't own the root.

        Waits while they are made.
        """
        with self._lock:
            return self._owned

    @property
    def _database_path(self) -> Path:
        return self.config.root / "gaia.db"

    def _image_ids(self, images: Iterable[str]) -> dict[str, str | None]:
        """What the names of images mean now, asked by a process that doesn't run anything."""
        names = list(images)
        if not names or self.config.executor != "threads":
            return {}
        with contextlib.closing(_make_runtime(self.config)) as runtime:
            return {name: runtime.image_id(name) for name in names}

    def _own(self) -> OwnedParts:
        """Take the root over. Where that fails or is interrupted, all that was begun ends."""
        ends = contextlib.ExitStack()
        try:
            self._owned = owned = self._make_parts(ends)
        except BaseException:
            if self._owned is None:
                ends.__exit__(*sys.exc_info())
            raise
        return owned

    def _make_parts(self, ends: contextlib.ExitStack) -> OwnedParts:
        """Make the parts; note the end of each at once: they end in the opposite order."""
        lock = Ownership(self.config.root)
        ends.callback(self._end, lock.release)
        listener = self._listen()
        if listener is not None:
            ends.callback(self._end, listener.refuse)
        database = self._open_database_and_store(ends, lock)
        runtime, executor = _make_executor(self.config, self.storage)
        ends.callback(self._end, runtime.close)
        ends.callback(self._end, executor.close)
        if listener is not None:
            ends.push(lambda kind, *_: self._end_listener(listener, kind is None))
        scheduler = Scheduler(database, self.storage, runtime, executor, self.config.max_steps)
        ends.callback(self._end, scheduler.close)
        if self.config.watch:
            # Imported here: watchdog takes its time, and reading needs none.
            from gaia_local.store.watcher import Watcher

            def files_changed(paths: Collection[str] | None) -> None:
                if lock.is_lost():
                    self._lose_root(scheduler)
                else:
                    scheduler.loop.files_changed(paths)

            ends.callback(self._end, Watcher(self.storage.tops(), files_changed).close)
        if listener is not None:
            ends.callback(self._end, listener.refuse)
        return OwnedParts(scheduler, listener, ends)

    def _lose_root(self, scheduler: Scheduler) -> None:
        """The root has gone: stop what runs, and tell. Nothing of it could be written any more."""
        if self.lost is None:
            self.lost = (
                f"root {self.config.root} was removed or replaced while it was open: what ran was "
                "stopped; close this Gaia (end its process) and start again"
            )
            logger.error("%s", self.lost)
            scheduler.stop()
            scheduler.loop.subscribers.notify(list(scheduler.loop.workflows))

    def _open_database_and_store(self, ends: contextlib.ExitStack, lock: Ownership) -> Database:
        """Open both, with the buckets that workflows use, and set right what a dead owner left."""
        database = Database(self._database_path)
        ends.callback(self._end, database.close)
        self._map_buckets(uses := read_uses(database))
        for use in uses:
            if use.directory is None and use.bucket in self.config.buckets:
                database.set_buckets(
                    use.workflow, {use.bucket: str(self.config.buckets[use.bucket])}
                )
        # A disk with a bucket that nobody asked for now may be away: who needs that will miss it.
        self.storage.create(away=self.config.buckets.keys() - self._given_config.buckets.keys())
        # In another root at the same path these are another process's.
        ends.callback(self._end, lambda: None if lock.is_lost() else self.storage.close())
        recover(database, self.storage)
        return database

    def _end_listener(self, listener: Listener, began: bool) -> None:
        """Answer the calls that were taken, or, where the parts could not be made, let go of them.

        Those wait for the lock that is held while the parts are made: they are not waited for.
        """
        self._end(listener.close if began else listener.refuse)

    def _end(self, end: Callable[[], object]) -> None:
        """End one part; what the disk or the network says against it keeps none of the others."""
        try:
            end()
        except (OSError, GaiaError) as error:
            message = "root %s: the engine could not be shut down cleanly: %s"
            logger.error(message, self.config.root, error_text(error))

    def _map_buckets(self, uses: Iterable[Use]) -> None:
        """Serve this root's workflows' buckets, too. Raises `InvalidInput` for a contradiction."""
        mapped = with_remembered(self.config.root, self._given_config.buckets, uses)
        for name in sorted(mapped.keys() - self.config.buckets.keys()):
            logger.warning("bucket %r is %s, as its workflows were made with", name, mapped[name])
        self.config = self.config.with_buckets(mapped)
        self.storage.map(mapped)

    def _listen(self) -> Listener | None:
        """Let other processes make calls; one that comes before the scheduler waits for it."""
        try:
            return Listener(self.config.root, self._answer)
        except (OSError, RuntimeError) as error:  # pytest-socket raises the second
            logger.info(
                "root %s: other processes can only read it while this one owns it: %s",
                self.config.root,
                error,
            )
            return None


def _make_executor(config: Config, storage: Storage) -> tuple[Runtime, Executor]:
    """What runs Tasks, and where. Raises `InvalidInput` where a package for that is missing."""
    if config.executor == "threads":
        runtime = _make_runtime(config)
        return runtime, ThreadExecutor(
            affordable_workers(config.workers),
            Worker(LocalWorkspace(storage), runtime).perform,
            config.docker.stop_grace,
        )
    try:
        from gaia_local.executors.dask.executor import make_executor
    except ImportError as error:
        raise InvalidInput(
            "config, executor",
            f"'dask' needs a package that is not installed ({error})",
            "pip install 'gaia-local[dask]'",
        ) from error
    return make_executor(config, storage, _root(config))


def _make_runtime(config: Config) -> Runtime:
    return make_runtime(config.runtime, config.docker, _root(config))


def _root(config: Config) -> Root:
    identity = read_identity(config.root) if identity_file(config.root).exists() else ""
    return Root(str(config.root), identity)


def refuse_other_config(root: Path, where: str, key: str, first: str) -> NoReturn:
    """Say who has the root open (`where`), and what must be done `first` to open it otherwise."""
    raise InvalidInput(
        f"config, {key}",
        f"root {root} is open in {where} already, with another {key}",
        f"{first}, or give the same",
    )
