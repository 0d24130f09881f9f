"""The parts of one root, built when they are needed and closed in order; shared by all `Gaia`
objects of this process.

The real client is stateless, so programs make several; here they reach one engine, as they would
reach one server.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gaia_local.config import Config
from gaia_local.engine import local_socket
from gaia_local.engine.calls import CHANGES, ONCE, QUESTIONS, Calls, Questions, received, sent
from gaia_local.engine.local_socket import Listener, Unreachable
from gaia_local.engine.recovery import recover
from gaia_local.engine.scheduler import Scheduler
from gaia_local.engine.snapshot import Snapshot
from gaia_local.errors import (
    Closed,
    EngineUnavailable,
    GaiaError,
    InvalidInput,
    RootInUse,
    StorageError,
    error_text,
)
from gaia_local.executors.contract import Executor
from gaia_local.executors.threads import ThreadExecutor
from gaia_local.executors.worker import Worker
from gaia_local.forks import call_in_child, forget_in_child
from gaia_local.runtimes.choice import make_runtime
from gaia_local.runtimes.contract import Runtime
from gaia_local.state.buckets import Use, read_uses, with_remembered
from gaia_local.state.database import Database
from gaia_local.store import ownership
from gaia_local.store.ownership import Ownership
from gaia_local.store.storage import Storage

if TYPE_CHECKING:
    from gaia_local.store.watcher import Watcher

logger = logging.getLogger("gaia_local")

ABSENT_PATIENCE, PATIENCE, PAUSE = 0.5, 15.0, 0.02
"""How many seconds to try again where the owner has no socket, or has one and doesn't listen: it
begins, or it ends.
"""


class Engine:
    """One root's parts. Reading works always; the first change makes this process the owner.

    Where another process is the owner, it is asked.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        """With the buckets that the root remembers, as far as it was read."""
        self._asked = config
        self.storage = Storage(config.root, config.buckets)
        self._lock = threading.RLock()
        self.users = 0
        """How many `Gaia` objects share it; guarded by the registry's lock."""
        self._ownership: Ownership | None = None
        self._database: Database | None = None
        self._runtime: Runtime | None = None
        self._scheduler: Scheduler | None = None
        self._watcher: Watcher | None = None
        self._listener: Listener | None = None
        self._closing = False
        self._close_lock = threading.Lock()
        forget_in_child(self)

    def call(self, name: str, /, **arguments: Any) -> Any:
        """Make one of the calls of `Calls`, here or in the process that owns the root. Raises what
        that raises.
        """
        return self._change(name, arguments) if name in CHANGES else self._ask(name, arguments)

    def own(self) -> None:
        """Own the root from here on. Raises `RootInUse` when another process does."""
        _ = self.scheduler

    def _change(self, name: str, arguments: Mapping[str, Any]) -> Any:
        began = time.monotonic()
        while True:
            try:
                return getattr(Calls(self.scheduler, self.storage), name)(**arguments)
            except RootInUse as refusal:
                try:
                    return local_socket.call(self.config.root, name, arguments, self._given, sent)
                except Unreachable as error:
                    if error.told_all and name in ONCE:
                        raise EngineUnavailable(
                            f"{error}; check with `status` whether it took effect"
                        ) from error
                    if time.monotonic() - began > (ABSENT_PATIENCE if error.absent else PATIENCE):
                        raise refusal from error
            time.sleep(PAUSE)  # the owner begins, or ends: nobody tells us when it is through

    def _ask(self, name: str, arguments: Mapping[str, Any]) -> Any:
        with self._lock:
            ours = self._scheduler is not None or self._closing
        if not ours:
            with contextlib.suppress(Unreachable):
                return local_socket.call(self.config.root, name, arguments, {}, sent)
        return getattr(Questions(self.reader, self.storage), name)(**arguments)

    def _answer(self, name: str, arguments: Mapping[str, Any], config: Mapping[str, str]) -> Any:
        """Answer another process. Runs in the listener's threads."""
        with self._lock:
            scheduler = self._scheduler
        if scheduler is None:
            raise Unreachable(f"the owner of root {self.config.root} has just ended")
        if name in CHANGES:
            ours = _settings(self.config)
            for key in sorted(config):
                if key not in ours or repr(ours[key]) != config[key]:
                    _refuse_other(
                        self.config.root, f"process {os.getpid()}", key, "end that process"
                    )
            try:
                return getattr(Calls(scheduler, self.storage), name)(**received(arguments))
            except Closed as error:
                raise Unreachable(
                    f"the owner of root {self.config.root} ended meanwhile", told_all=True
                ) from error
        if name in QUESTIONS:
            return getattr(Questions(scheduler, self.storage), name)(**arguments)
        raise InvalidInput(
            "a call from another process",
            f"there is no call {name!r}",
            "use the same version of gaia_local",
        )

    @property
    def _given(self) -> dict[str, str]:
        """What the user gave for this engine's configuration."""
        return {key: repr(value) for key, value in _given_settings(self._asked).items()}

    @property
    def scheduler(self) -> Scheduler:
        """The head; this process owns the root from here on. Raises `RootInUse` when another one
        does.
        """
        with self._lock:
            if self._closing:
                raise Closed("this Gaia was closed")
            if self._scheduler is None:
                self._own()
            assert self._scheduler is not None
            return self._scheduler

    @property
    def reader(self) -> Scheduler | Snapshot:
        """Whoever can answer questions: the scheduler, where this process owns the root or must
        clean up after a dead owner.
        """
        with self._lock:
            if self._closing:
                raise Closed("this Gaia was closed")
            if self._scheduler is not None:
                return self._scheduler
            snapshot = Snapshot(self._database_path, self.storage, self._image_ids)
            self._map_buckets(snapshot.buckets())
            interrupted = any(row["state"] == "running" for row in snapshot.workflows().values())
            if (interrupted or ownership.another_boot(snapshot.boot())) and ownership.owner(
                self.config.root
            ) is None:
                with contextlib.suppress(
                    RootInUse, StorageError
                ):  # StorageError: a read-only root can still be read
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

    def drain(self) -> None:
        """Block until every workflow is quiet and no other process can start anything here any
        more.
        """
        self.wait()
        if self._listener is not None:
            self._listener.finish()
            self.wait()

    def close(self) -> None:
        """End the parts in order: Steps, threads, connections, the lock. Idempotent.

        A signal that comes meanwhile doesn't break into it: see `_unbroken`.
        """
        with self._close_lock:
            self._close()

    def _close(self) -> None:
        with self._lock:
            scheduler, self._closing = self._scheduler, True
        listener, watcher, owned = self._listener, self._watcher, self._ownership
        ends = [
            None if listener is None else listener.refuse,
            None if watcher is None else watcher.close,
            None if scheduler is None else scheduler.close,
            None if listener is None else listener.close,
            None if self._runtime is None else self._runtime.close,
            None if self._runtime is None else self.storage.close,
            None if self._database is None else self._database.close,
            None if owned is None else owned.release,
        ]
        for end in ends:
            if end is not None:
                self._whatever(end)
        with self._lock:
            self._scheduler = self._runtime = self._database = self._ownership = self._listener = (
                None
            )

    def _whatever(self, end: Callable[[], object]) -> None:
        """End one part; what the disk or the network says against it keeps none of the others."""
        try:
            end()
        except (OSError, GaiaError) as error:
            logger.error(
                "root %s: the engine could not be shut down cleanly: %s",
                self.config.root,
                error_text(error),
            )

    def hurry(self) -> None:
        """Whatever is stopped is killed without a grace. A signal handler may call it."""
        if (scheduler := self._scheduler) is not None:
            scheduler.hurry()

    def forget(self) -> None:
        """As `Inherited.forget`: the parts are not to be waited for or stopped, since the parent's
        threads work with them.
        """
        self._lock, self._close_lock = threading.RLock(), threading.Lock()
        self._closing = True
        self._scheduler = self._watcher = self._runtime = self._database = self._ownership = (
            self._listener
        ) = None

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

    def _own(self) -> None:
        with contextlib.ExitStack() as undo:
            owned = Ownership(self.config.root)
            undo.callback(owned.release)
            listener = self._listen()
            if listener is not None:
                undo.callback(listener.refuse)
            database = Database(self._database_path)
            undo.callback(database.close)
            self._map_buckets(uses := read_uses(database))
            for use in uses:
                if use.directory is None and use.bucket in self.config.buckets:
                    database.set_buckets(
                        use.workflow, {use.bucket: str(self.config.buckets[use.bucket])}
                    )
            # A disk with a bucket that nobody asked for now may be away: who needs that will miss
            # it.
            self.storage.create(away=self.config.buckets.keys() - self._asked.buckets.keys())
            recover(database, self.storage)
            runtime, executor = _make_hands(self.config, self.storage)
            scheduler = Scheduler(database, self.storage, runtime, executor, self.config.max_steps)
            if self.config.watch:
                from gaia_local.store.watcher import (
                    Watcher,  # watchdog takes its time, and reading needs none
                )

                self._watcher = Watcher(self.storage.tops(), scheduler.files_changed)
            self._scheduler = scheduler
            undo.pop_all()
        self._ownership, self._database, self._runtime, self._listener = (
            owned,
            database,
            runtime,
            listener,
        )

    def _map_buckets(self, uses: Iterable[Use]) -> None:
        """Serve the buckets that this root's workflows were made with, too. Raises `InvalidInput`
        for a contradiction.
        """
        mapped = with_remembered(self.config.root, self._asked.buckets, uses)
        for name in sorted(mapped.keys() - self.config.buckets.keys()):
            logger.warning("bucket %r is %s, as its workflows were made with", name, mapped[name])
        self.config = self.config.with_buckets(mapped)
        self.storage.map(mapped)

    def _listen(self) -> Listener | None:
        """Let other processes make calls. The first may come before there is a scheduler: it waits
        for that.
        """
        try:
            return Listener(self.config.root, self._answer)
        except OSError as error:
            logger.info(
                "root %s: other processes can only read it while this one owns it: %s",
                self.config.root,
                error,
            )
            return None


def _make_hands(config: Config, storage: Storage) -> tuple[Runtime, Executor]:
    """What runs Tasks, and where. Raises `InvalidInput` where a package for that is missing."""
    if config.executor == "threads":
        runtime = _make_runtime(config)
        return runtime, ThreadExecutor(
            config.workers, Worker(storage, runtime).perform, config.docker.stop_grace
        )
    try:
        from gaia_local.executors.dask.executor import make_hands
    except ImportError as error:
        raise InvalidInput(
            "config, executor",
            f"'dask' needs a package that is not installed ({error})",
            "pip install 'gaia-local[dask]'",
        ) from error
    return make_hands(config, storage, ownership.root_id(config.root))


def _make_runtime(config: Config) -> Runtime:
    return make_runtime(config.runtime, config.docker, ownership.root_id(config.root))


# -- sharing ---------------------------------------------------------------------------------------

_engines: dict[Path, Engine] = {}
_engines_lock = threading.Lock()
_ending: set[Engine] = set()
"""Engines without users, until they are closed."""


def share(config: Config) -> Engine:
    """The engine of a root, made for its first user; a later user may not ask for another
    configuration.
    """
    with _engines_lock:
        engine = _engines.get(config.root)
        if engine is None:
            engine = _engines[config.root] = Engine(config)
        ours = _settings(engine.config)
        for key, value in sorted(_given_settings(config).items()):
            if key not in ours or ours[key] != value:
                _refuse_other(config.root, "this process", key, "close that Gaia first")
        engine.users += 1
        return engine


def _refuse_other(root: Path, where: str, key: str, first: str) -> NoReturn:
    raise InvalidInput(
        f"config, {key}",
        f"root {root} is open in {where} already, with another {key}",
        f"{first}, or give the same",
    )


def _settings(config: Config) -> dict[str, Any]:
    """A configuration as it is compared with another's, each bucket by itself. The `repr` of a
    value tells nothing secret.
    """
    buckets = {f"bucket {name!r}": path for name, path in config.buckets.items()}
    return {
        each.name: getattr(config, each.name) for each in fields(config) if each.name != "buckets"
    } | buckets


def _given_settings(config: Config) -> dict[str, Any]:
    """What the user gave of it, without the root."""
    settings = _settings(config)
    return {
        key: value
        for key, value in settings.items()
        if key in config.given - {"root"} or key.startswith("bucket ")
    }


def leave(engine: Engine, wait: bool) -> None:
    """One user less; the last one closes the engine. First `wait` until it is quiet, or stop what
    runs.
    """
    with _engines_lock:
        engine.users -= 1
        others = engine.users
    if wait and not others:
        engine.wait()
    with _engines_lock:
        last = engine.users <= 0  # nobody joined while we waited
        if last:
            _ending.add(engine)
            if _engines.get(engine.config.root) is engine:
                del _engines[engine.config.root]
    if wait and last:
        engine.drain()
    with _unbroken(engine):
        if not wait:
            engine.stop()
        if last:
            engine.close()
            _ending.discard(engine)


def hurry() -> None:
    """Kill what is being stopped, in all roots, without a grace. A signal handler may call it."""
    for engine in (*_engines.values(), *_ending):
        engine.hurry()


@contextlib.contextmanager
def _unbroken(engine: Engine) -> Iterator[None]:
    """While inside, a signal that would raise an exception here hurries the end instead of breaking
    into it.

    An exception between any two instructions would leave a Task that nobody cancels, or a lock that
    nobody releases.
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
    """The script is over: wait for its Steps, as `concurrent.futures` does; after a Ctrl-C, or at
    one, stop them.
    """
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for engine in (*_engines.values(), *_ending):
        try:
            if not interrupted:
                engine.drain()
        except KeyboardInterrupt:
            interrupted = True
        with _unbroken(engine):
            engine.close()


def _in_child() -> None:
    global _engines_lock  # noqa: PLW0603 whoever held it is not here
    _engines_lock = threading.Lock()
    _engines.clear()
    _ending.clear()


call_in_child(_in_child)

# NOTE: plain `atexit` is too late: Python 3.12 and later refuse to start threads and processes from
# there. This hook is the one that `concurrent.futures` uses; it runs when the main thread ends.
getattr(threading, "_register_atexit", atexit.register)(_at_exit)
