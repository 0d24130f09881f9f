"""The parts of one root, built when they are needed and closed in order; shared by all `Gaia` objects of this process.

The real client is stateless, so programs make several; here they reach one engine, as they would reach one server.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gaia_local import ownership
from gaia_local.config import Config
from gaia_local.database import Attempt, Database
from gaia_local.errors import Closed, InvalidInput, RootInUse, StorageError
from gaia_local.executor import ThreadExecutor
from gaia_local.ownership import Ownership
from gaia_local.recovery import recover
from gaia_local.runtime import Runtime
from gaia_local.scheduler import Scheduler, planned
from gaia_local.storage import Storage
from gaia_local.worker import Worker
from gaia_local.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.watcher import Watcher

logger = logging.getLogger("gaia_local")
T = TypeVar("T")


class Snapshot:
    """Reads a root that another process owns, or nobody; the questions of `Scheduler`, answered from the rows."""

    def __init__(self, path: Path, storage: Storage) -> None:
        self._path, self._storage = path, storage

    def workflows(self) -> dict[str, dict[str, Any]]:
        """As `Scheduler.workflows`."""
        return self._read(lambda database: database.workflows(), {})

    def view(self, name: str, look: Callable[[Workflow], T]) -> T | None:
        """As `Scheduler.view`."""

        def answer(database: Database) -> T | None:
            row = database.workflow(name)
            return None if row is None else look(Workflow.load(name, row, database, self._storage))

        return self._read(answer, None)

    def plan(self, name: str, change: Callable[[Workflow], None]) -> list[dict[str, str]]:
        """As `Scheduler.plan`, except that images are taken to be what they were."""
        return self.view(name, lambda scratch: planned(scratch, self._storage, change, {})) or []

    def attempts(self, name: str, step: str) -> list[Attempt]:
        """As `Scheduler.attempts`."""
        return self._read(lambda database: database.attempts(name, step), [])

    def events(self, name: str) -> list[dict[str, Any]]:
        """As `Scheduler.events`."""
        return self._read(lambda database: database.events(name), [])

    def _read(self, ask: Callable[[Database], T], nothing: T) -> T:
        if not self._path.exists():
            return nothing
        with contextlib.closing(Database(self._path, readonly=True)) as database, database.transaction():
            return nothing if database.blank else ask(database)


class Engine:
    """One root's parts. Reading works always; the first change makes this process the owner."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.storage = Storage(config.root, config.buckets)
        self._lock = threading.RLock()
        self.users = 0
        """How many `Gaia` objects share it; guarded by the registry's lock."""
        self._ownership: Ownership | None = None
        self._database: Database | None = None
        self._runtime: Runtime | None = None
        self._scheduler: Scheduler | None = None
        self._watcher: Watcher | None = None
        self._closing = False

    @property
    def scheduler(self) -> Scheduler:
        """The head; this process owns the root from here on. Raises `RootInUse` when another one does."""
        with self._lock:
            if self._closing:
                raise Closed("this Gaia was closed")
            if self._scheduler is None:
                self._own()
            assert self._scheduler is not None
            return self._scheduler

    @property
    def reader(self) -> Scheduler | Snapshot:
        """Whoever can answer questions: the scheduler, where this process owns the root or must clean up after a dead owner."""
        with self._lock:
            if self._closing:
                raise Closed("this Gaia was closed")
            if self._scheduler is not None:
                return self._scheduler
            snapshot = Snapshot(self._database_path, self.storage)
            interrupted = any(row["state"] == "running" for row in snapshot.workflows().values())
            if interrupted and ownership.owner(self.config.root) is None:
                with contextlib.suppress(RootInUse, StorageError):  # StorageError: a read-only root can still be read
                    return self.scheduler
            return snapshot

    def wait(self) -> None:
        """Block until every workflow is quiet."""
        with self._lock:
            scheduler = self._scheduler
        if scheduler is not None:
            scheduler.wait(None)

    def stop(self) -> None:
        """Halt what runs, so that `run` goes on with it later."""
        with self._lock:
            scheduler = self._scheduler
        if scheduler is not None:
            scheduler.stop()

    def close(self) -> None:
        """End the parts in order: Steps, threads, connections, the lock. Idempotent.

        A signal that comes meanwhile doesn't break into it: see `_unbroken`.
        """
        with self._lock:
            scheduler, self._closing = self._scheduler, True
        if self._watcher is not None:
            self._watcher.close()
        if scheduler is not None:
            scheduler.close()
        with self._lock:
            if self._runtime is not None:
                self._runtime.close()
            if self._database is not None:
                self._database.close()
            if self._ownership is not None:
                self._ownership.release()
            self._scheduler = self._runtime = self._database = self._ownership = None

    def hurry(self) -> None:
        """Whatever is stopped is killed without a grace. A signal handler may call it."""
        if (scheduler := self._scheduler) is not None:
            scheduler.hurry()

    def disown(self) -> None:
        """Forget the parts without ending them: another process's threads work with them."""
        self._lock = threading.RLock()
        self._closing = True
        self._scheduler = self._watcher = self._runtime = self._database = self._ownership = None

    @property
    def _database_path(self) -> Path:
        return self.config.root / "gaia.db"

    def _own(self) -> None:
        with contextlib.ExitStack() as undo:
            owned = Ownership(self.config.root)
            undo.callback(owned.release)
            database = Database(self._database_path)
            undo.callback(database.close)
            self.storage.create()
            recover(database, self.storage)
            runtime = _make_runtime(self.config)
            executor = ThreadExecutor(self.config.workers, Worker(self.storage, runtime).perform, self.config.docker.stop_grace)
            scheduler = Scheduler(database, self.storage, runtime, executor)
            if self.config.watch:
                from gaia_local.watcher import Watcher  # watchdog takes its time, and reading needs none

                self._watcher = Watcher(self.storage.tops(), scheduler.files_changed)
            self._scheduler = scheduler
            undo.pop_all()
        self._ownership, self._database, self._runtime = owned, database, runtime


def _make_runtime(config: Config) -> Runtime:
    from gaia_local.auto_runtime import AutoRuntime
    from gaia_local.docker_runtime import DockerRuntime
    from gaia_local.process_runtime import ProcessRuntime

    if config.runtime == "process":
        return ProcessRuntime()
    docker = DockerRuntime(config.docker, ownership.root_id(config.root))
    return docker if config.runtime == "docker" else AutoRuntime(docker, ProcessRuntime())


# -- sharing ------------------------------------------------------------------------------------------------------

_engines: dict[Path, Engine] = {}
_engines_lock = threading.Lock()


def share(config: Config) -> Engine:
    """The engine of a root, made for its first user; a later user may not ask for another configuration."""
    with _engines_lock:
        engine = _engines.get(config.root)
        if engine is None:
            engine = _engines[config.root] = Engine(config)
        for key in sorted(config.given - {"root"}):
            ours, theirs = getattr(config, key), getattr(engine.config, key)
            if ours != theirs:
                raise InvalidInput(
                    f"config, {key}",
                    f"root {config.root} is open in this process already, with another {key}",
                    "close that Gaia first, or give the same",
                )
        engine.users += 1
        return engine


def leave(engine: Engine, wait: bool) -> None:
    """One user less; the last one closes the engine. First `wait` until it is quiet, or stop what runs."""
    with _engines_lock:
        engine.users -= 1
        others = engine.users
    if wait and not others:
        engine.wait()
    with _unbroken(engine):
        if not wait:
            engine.stop()
        with _engines_lock:
            if engine.users <= 0:  # nobody joined while we waited
                engine.close()
                if _engines.get(engine.config.root) is engine:
                    del _engines[engine.config.root]


def hurry() -> None:
    """Kill what is being stopped, in all roots, without a grace. A signal handler may call it."""
    for engine in list(_engines.values()):
        engine.hurry()


@contextlib.contextmanager
def _unbroken(engine: Engine) -> Iterator[None]:
    """While inside, a signal that would raise an exception here hurries the end instead of breaking into it.

    An exception between any two instructions would leave a Task that nobody cancels, or a lock that nobody releases.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if callable(handler := signal.getsignal(number)):  # SIG_DFL and SIG_IGN are numbers
                before[number] = handler
                signal.signal(number, lambda *_: engine.hurry())
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _at_exit() -> None:
    """The script is over: wait for its Steps, as `concurrent.futures` does; after a Ctrl-C, or at one, stop them."""
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for engine in list(_engines.values()):
        try:
            if not interrupted:
                engine.wait()
        except KeyboardInterrupt:
            interrupted = True
        with _unbroken(engine):
            engine.close()


def _in_child() -> None:
    """A forked child has none of the threads: what it inherited is its parent's, and not to be waited for or stopped."""
    global _engines_lock  # noqa: PLW0603 whoever held it is not here
    _engines_lock = threading.Lock()
    for engine in _engines.values():
        engine.disown()
    _engines.clear()


os.register_at_fork(after_in_child=_in_child)

# NOTE: plain `atexit` is too late: Python 3.12 and later refuse to start threads and processes from there. This hook is
# the one that `concurrent.futures` uses; it runs when the main thread ends.
getattr(threading, "_register_atexit", atexit.register)(_at_exit)
