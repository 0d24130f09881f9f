"""The functions that an engine calls in the workers of a Dask cluster, through the scheduler.

They hold the sessions of this process (`session`), one for each engine that gives it Tasks.
Dask gives a function that it runs outside its tasks the worker as `dask_worker`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import threading
import weakref
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from distributed import Worker as DaskWorker
from distributed import WorkerPlugin, get_worker

from gaia_local.errors import GaiaError, error_text
from gaia_local.executors.dask.private_directories import clean_up_dead_workers, paths_matching
from gaia_local.executors.dask.reporting import send
from gaia_local.executors.dask.session import Session
from gaia_local.executors.dask.settings import SessionSettings
from gaia_local.monotonic import monotonic
from gaia_local.store.leases import NotLeased
from gaia_local.store.ownership import owner

_DEATH_SECONDS = 2.0
"""The longest time that a killed process takes from losing its connections to losing its locks."""

_sessions: dict[str, Session] = {}
_sessions_lock = threading.Lock()
_with_plugin: weakref.WeakSet[DaskWorker] = weakref.WeakSet()
"""Workers that have our plugin, or will in a moment."""
_ended: deque[str] = deque(maxlen=1000)
"""Sessions that are over: a late Task of theirs starts no new one."""


@functools.cache
def own_version() -> str:
    """The version of gaia_local in this process."""
    try:
        return version("gaia-local")
    except PackageNotFoundError:
        return "no installed version"


def perform(
    engine_version: str, topic: str, settings: bytes, lease: str, assignment: bytes
) -> None:
    """Perform one Task, as the engine submits it. Answers through the topic alone."""
    worker = get_worker()
    if engine_version != own_version():  # checked before unpickling, which could fail
        words = (
            f"worker {worker.address} has gaia_local {own_version()}, the engine {engine_version}"
        )
        send(worker, topic, lease, refused=f"{words}: install the same version on both")
        return
    try:
        session = _session_for(_unpickled(settings), worker)
    except (GaiaError, OSError) as error:
        send(
            worker,
            topic,
            lease,
            refused=f"worker {worker.address} can't run Steps: {error_text(error)}",
        )
        return
    session.perform(worker, lease, pickle.loads(assignment))


async def prepare(settings: bytes, dask_worker: DaskWorker) -> None:
    """Before an engine submits Tasks, end those of its root's earlier engines and dead workers."""
    await asyncio.to_thread(_end_earlier_sessions, _unpickled(settings))
    await clean_up(settings, "", dask_worker)


async def clean_up(settings: bytes, lease: str, dask_worker: DaskWorker) -> None:
    """End and remove leftovers of dead workers, after waiting for the end of the lease's worker."""
    unpickled = _unpickled(settings)
    base = _private_base(unpickled, dask_worker)
    end = monotonic() + _DEATH_SECONDS
    while lease and monotonic() < end:
        if not any(
            owner(place.parents[1]) is not None
            for place in paths_matching(base, f"worker-*/staging/{lease}")
        ):
            break
        # Its death isn't announced, and it may only be cut off from the network.
        await asyncio.sleep(_DEATH_SECONDS / 100)
    await asyncio.to_thread(clean_up_dead_workers, base, unpickled)


async def cancel(session: str, leases: list[str]) -> list[str]:
    """Cancel Tasks, and return those of them that run here."""
    running = _sessions.get(session)
    return [] if running is None else await asyncio.to_thread(running.cancel, leases)


async def kill_now(session: str) -> None:
    """Kill cancelled Tasks at once, from now on."""
    if (running := _sessions.get(session)) is not None:
        await asyncio.to_thread(running.kill_now)


async def end_session(settings: bytes, dask_worker: DaskWorker) -> None:
    """At an engine's end, end its Tasks, and leave nothing of it on this worker."""
    session = _unpickled(settings).session
    with _sessions_lock:
        _ended.append(session)
        open_session = _sessions.pop(session, None)
    if open_session is not None:
        await asyncio.to_thread(open_session.close)
    await clean_up(settings, "", dask_worker)


async def read_file(path: str) -> bytes | None:
    """The contents of a file as this machine sees it; None if it can't be read."""
    try:
        return await asyncio.to_thread(Path(path).read_bytes)
    except OSError:
        return None


class _SessionCloser(WorkerPlugin):  # type: ignore[misc]  # distributed is typed in part only
    """Ends the Tasks of a worker that closes: retired, stopped, or cut off from its scheduler."""

    name = "gaia-local"

    async def teardown(self, worker: DaskWorker) -> None:
        for name, session in list(_sessions.items()):
            session.abandon(worker)
            if session.forget(worker):
                with _sessions_lock:
                    _sessions.pop(name, None)
                await asyncio.to_thread(session.close)


@functools.lru_cache(maxsize=16)
def _unpickled(pickled: bytes) -> SessionSettings:
    settings: SessionSettings = pickle.loads(pickled)
    return settings


def _session_for(settings: SessionSettings, worker: DaskWorker) -> Session:
    """The session of an engine, opened with its first Task in this process."""
    session = _sessions.get(settings.session)
    if session is None:
        base = _private_base(settings, worker)
        if settings.session not in _ended:
            _end_earlier_sessions(settings)
            clean_up_dead_workers(base, settings)
        with _sessions_lock:
            session = _sessions.get(settings.session)
            if settings.session in _ended:
                raise NotLeased("its engine is gone")
            if session is None:
                session = _sessions[settings.session] = Session(settings, base)
    # A plugin that is added twice replaces the first one, whose teardown closes the session.
    with _sessions_lock:
        first = worker not in _with_plugin
        _with_plugin.add(worker)
    if first:
        worker.loop.add_callback(worker.plugin_add, _SessionCloser(), _SessionCloser.name)
    return session


def _end_earlier_sessions(settings: SessionSettings) -> None:
    with _sessions_lock:
        earlier = [
            session
            for name, session in _sessions.items()
            if name != settings.session and session.settings.engine_root == settings.engine_root
        ]
        for session in earlier:
            _ended.append(session.settings.session)
            del _sessions[session.settings.session]
    for session in earlier:
        session.close()


def _private_base(settings: SessionSettings, worker: DaskWorker) -> Path:
    """The directory with the private directories of all workers of this machine and user."""
    top = (
        Path(worker.local_directory).parent if settings.scratch is None else Path(settings.scratch)
    )
    return top / f"gaia-local-{os.getuid()}"
