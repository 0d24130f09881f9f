"""What an engine calls in the workers of a Dask cluster, through the scheduler: `perform`, and what
surrounds it.

Here are the sessions of this process (`session`), one for each engine that gives it Tasks.
Dask gives a function that it runs outside its tasks the worker as `dask_worker`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import threading
import time
import weakref
from collections import deque
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from distributed import Worker as DaskWorker
from distributed import WorkerPlugin, get_worker

from gaia_local.errors import GaiaError, error_text
from gaia_local.executors.dask.session import Equipment, Session, found, send, sweep
from gaia_local.store.leases import NotLeased
from gaia_local.store.ownership import owner

_DEATH_SECONDS = 2.0
"""How long the end of a killed process may take, from when its connections are closed to when its
locks are free.
"""

_sessions: dict[str, Session] = {}
_sessions_lock = threading.Lock()
_farewells: weakref.WeakSet[DaskWorker] = weakref.WeakSet()
"""Workers that have our plugin, or will in a moment."""
_ended: deque[str] = deque(maxlen=1000)
"""Sessions that are over: a Task of theirs that comes late begins no new one."""


@functools.cache
def own_version() -> str:
    """The version of gaia_local in this process."""
    try:
        return version("gaia-local")
    except PackageNotFoundError:
        return "no installed version"


def perform(
    engine_version: str, topic: str, equipment: bytes, lease: str, assignment: bytes
) -> None:
    """Perform one Task: what the engine submits to the cluster. Answers through the topic alone."""
    worker = get_worker()
    if engine_version != own_version():  # looked at before anything is unpickled, which could fail
        words = (
            f"worker {worker.address} has gaia_local {own_version()}, the engine {engine_version}"
        )
        send(worker, topic, lease, refused=f"{words}: install the same version on both")
        return
    try:
        session = _enter(_equipment(equipment), worker)
    except (GaiaError, OSError) as error:
        send(
            worker,
            topic,
            lease,
            refused=f"worker {worker.address} can't run Steps: {error_text(error)}",
        )
        return
    session.perform(worker, lease, pickle.loads(assignment))


async def begin(equipment: bytes, dask_worker: DaskWorker) -> None:
    """Before an engine gives Tasks away: end what earlier engines of its root run here, and what
    dead workers left.
    """
    await asyncio.to_thread(_replace_others, _equipment(equipment))
    await tidy(equipment, "", dask_worker)


async def tidy(equipment: bytes, lease: str, dask_worker: DaskWorker) -> None:
    """End and remove what workers of this machine left that died; among them, soon, the one that
    had this lease.
    """
    made = _equipment(equipment)
    base = _base(made, dask_worker)
    end = time.monotonic() + _DEATH_SECONDS
    while lease and time.monotonic() < end:
        if not any(
            owner(place.parents[1]) is not None
            for place in found(base, f"worker-*/staging/{lease}")
        ):
            break
        await asyncio.sleep(
            _DEATH_SECONDS / 100
        )  # whose death nobody announces: it may also be only cut off
    await asyncio.to_thread(sweep, base, made)


async def stop(session: str, leases: list[str]) -> list[str]:
    """Cancel Tasks; answers which of them run here."""
    running = _sessions.get(session)
    return [] if running is None else await asyncio.to_thread(running.stop, leases)


async def hurry(session: str) -> None:
    """Kill what was cancelled, and what will be, without a grace."""
    if (running := _sessions.get(session)) is not None:
        await asyncio.to_thread(running.hurry)


async def leave(equipment: bytes, dask_worker: DaskWorker) -> None:
    """The engine goes: end what runs, and leave nothing of it here."""
    session = _equipment(equipment).session
    with _sessions_lock:
        _ended.append(session)
        left = _sessions.pop(session, None)
    if left is not None:
        await asyncio.to_thread(left.close)
    await tidy(equipment, "", dask_worker)


async def look(path: str) -> bytes | None:
    """What the file at `path` holds, as this machine sees it; None where there is none."""
    try:
        return await asyncio.to_thread(Path(path).read_bytes)
    except OSError:
        return None


class _Farewell(WorkerPlugin):  # type: ignore[misc]  # distributed is typed in part only
    """Ends what runs on a worker that is closed: retired, stopped, or cut off from its scheduler."""

    name = "gaia-local"

    async def teardown(self, worker: DaskWorker) -> None:
        for name, session in list(_sessions.items()):
            session.abandon(worker)
            if session.forget(worker):
                with _sessions_lock:
                    _sessions.pop(name, None)
                await asyncio.to_thread(session.close)


@functools.lru_cache(maxsize=16)
def _equipment(pickled: bytes) -> Equipment:
    made: Equipment = pickle.loads(pickled)
    return made


def _enter(equipment: Equipment, worker: DaskWorker) -> Session:
    """The session of an engine, begun with its first Task here."""
    session = _sessions.get(equipment.session)
    if session is None:
        base = _base(equipment, worker)
        if equipment.session not in _ended:
            _replace_others(equipment)
            sweep(base, equipment)
        with _sessions_lock:
            session = _sessions.get(equipment.session)
            if equipment.session in _ended:
                raise NotLeased("its engine is gone")
            if session is None:
                session = _sessions[equipment.session] = Session(equipment, base)
    with (
        _sessions_lock
    ):  # added a second time, it would take the place of the first, whose farewell ends the session
        first = worker not in _farewells
        _farewells.add(worker)
    if first:
        worker.loop.add_callback(worker.plugin_add, _Farewell(), _Farewell.name)
    return session


def _replace_others(equipment: Equipment) -> None:
    with _sessions_lock:
        others = [
            each for each in _sessions.values() if each.equipment.root_key == equipment.root_key
        ]
        others = [each for each in others if each.equipment.session != equipment.session]
        for each in others:
            _ended.append(each.equipment.session)
            del _sessions[each.equipment.session]
    for each in others:
        each.close()


def _base(equipment: Equipment, worker: DaskWorker) -> Path:
    """Where the private directories of all workers of this machine and user are."""
    top = (
        Path(worker.local_directory).parent
        if equipment.scratch is None
        else Path(equipment.scratch)
    )
    return top / f"gaia-local-{os.getuid()}"
