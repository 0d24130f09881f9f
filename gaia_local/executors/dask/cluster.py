"""The connection to a Dask cluster: one client, which workers there are, and what is asked of them.

`Cluster` makes a `Connection` when one is needed, checks the cluster before Steps start, and closes
what it made. Nothing here knows what a Task is.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import logging
import pickle
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, Security

from gaia_local.config import Config, DaskConfig, DockerConfig
from gaia_local.errors import Closed, EngineUnavailable, InvalidInput, RuntimeFailure, error_text
from gaia_local.executors.dask import worker as dask_worker
from gaia_local.executors.dask.session import Equipment
from gaia_local.executors.dask.worker import own_version
from gaia_local.model.resources import Resources

ASK_SECONDS = 10.0
"""How long one worker may take for an answer before it counts as one that can't be reached."""
ASK_ROUND = 0.1
"""Seconds between two looks whether a worker that is asked is still there."""

logger = logging.getLogger("gaia_local")


@dataclass(frozen=True)
class Member:
    """A worker of the cluster."""

    address: str
    name: str
    threads: int
    resources: Mapping[str, float]
    """What it declares to have."""


_DECLARED = {"cpus": ("cpus", "cpu"), "memory": ("memory", "mem"), "gpus": ("gpus", "gpu")}
"""Our resources, and how workers may call theirs, in whatever case."""


def restrictions(members: Iterable[Member], wanted: Resources) -> dict[str, float]:
    """What to ask of Dask for a Task: of those resources that any worker declares, under the name
    that it has there.

    Raises `RuntimeFailure` where workers declare them and none has enough.
    """
    declared = [
        {name.lower(): (name, amount) for name, amount in each.resources.items()}
        for each in members
    ]
    asked: dict[str, float] = {}
    able = declared
    for resource, amount in wanted.items():
        names = _DECLARED[resource]
        name = next((each[name][0] for each in declared for name in names if name in each), None)
        if name is not None:
            asked[name] = amount
            able = [
                each for each in able if name.lower() in each and each[name.lower()][1] >= amount
            ]
    if not able and asked:
        words = ", ".join(f"{name}: {amount:g}" for name, amount in asked.items())
        raise RuntimeFailure(
            f"its Command needs {words}; no worker of the Dask cluster has declared as much"
        )
    return asked


class Listener:
    """What a connection calls, in threads of the client's, which must not be kept waiting."""

    def heard(self, message: Mapping[str, Any]) -> None:
        """A worker told something of a Task."""

    def left(self, address: str) -> None:
        """A worker left the cluster."""

    def changed(self) -> None:
        """There may be other workers now."""


class Connection:
    """One client of one scheduler, from its making to `close`."""

    def __init__(
        self,
        target: str | LocalCluster,
        config: DaskConfig,
        equipment: Equipment,
        listener: Listener,
    ) -> None:
        """Connect. Raises whatever the client raises."""
        security = (
            target.security if isinstance(target, LocalCluster) else _security(config.security)
        )
        self._timeout, self._listener = config.timeout, listener
        self._client = Client(
            target, timeout=config.timeout, security=security, set_as_default=False
        )
        self._equipment = replace(equipment, session=self._client.id, topic=self._client.id)
        # What lies under a topic of the client's own name is forgotten by the scheduler when the
        # client is gone.
        self._pickled = pickle.dumps(self._equipment)
        # A call that fails is logged by the worker with its arguments: without what may be secret.
        self._bare = pickle.dumps(replace(self._equipment, docker=DockerConfig()))
        self._futures: dict[str, Future] = {}
        self._greeted: set[str] = set()
        self.members: tuple[Member, ...] = ()
        self._client.subscribe_topic(self._client.id, self._hear)
        self._client.subscribe_topic("all", self._hear_of_workers)

    @property
    def alive(self) -> bool:
        """Whether the client has its connection to the scheduler."""
        return bool(self._client.status == "running")

    def refresh(self) -> None:
        """Ask the scheduler which workers there are. Raises `OSError` when it doesn't answer in
        time.
        """
        self._client.sync(self._refresh, callback_timeout=self._timeout)

    def greet(self) -> None:
        """Prepare workers that are new: what an earlier engine runs there ends. Raises
        `EngineUnavailable`.
        """
        new = [member.address for member in self.members if member.address not in self._greeted]
        if not new:
            return
        ours = own_version()
        for address, found in self.ask(
            importlib.metadata.version, "gaia-local", workers=new
        ).items():
            if isinstance(found, importlib.metadata.PackageNotFoundError):
                found = "no installed version"  # noqa: PLW2901
            if isinstance(found, str) and found != ours:
                raise EngineUnavailable(
                    f"worker {address} of the Dask cluster has gaia_local {found}, the engine {ours}: "
                    "install the same version on both"
                )
        answers = self.ask(dask_worker.begin, self._bare, workers=new)
        for address, answer in answers.items():
            if isinstance(answer, BaseException):
                logger.warning(
                    "worker %s of the Dask cluster could not be prepared: %s",
                    address,
                    error_text(answer),
                )
            else:
                self._greeted.add(address)

    def submit(
        self, leases: list[str], assignments: list[bytes], asked: Mapping[str, float], priority: int
    ) -> None:
        """Have workers perform Tasks that ask the same of Dask (see `restrictions`), the highest
        priority first.
        """
        futures = self._client.map(
            functools.partial(dask_worker.perform, own_version(), self._client.id, self._pickled),
            leases,
            assignments,
            key=[(f"gaia-local-{self._client.id}", lease) for lease in leases],
            pure=False,
            retries=0,
            priority=priority,
            resources=dict(asked) or None,
        )
        self._futures.update(zip(leases, futures, strict=True))

    def ended(self) -> dict[str, str]:
        """The Tasks that Dask is through with: lease → the state of its future, other than
        `pending`.
        """
        return {
            lease: future.status
            for lease, future in self._futures.items()
            if future.status != "pending"
        }

    def why(self, lease: str) -> str:
        """Why the state of a future is `error`: empty where a worker's death is all there is to
        say.
        """
        error = self._futures[lease].exception()
        return "" if isinstance(error, KilledWorker) else f"{type(error).__name__}: {error}"

    def drop(self, lease: str) -> None:
        """Forget a Task: what isn't started yet never will be."""
        future = self._futures.pop(lease, None)
        if future is not None:
            future.release()

    def stop(self, leases: Collection[str], then: Callable[[dict[str, Any]], None]) -> None:
        """Cancel Tasks wherever they run; `then` gets each worker's answer: which of them run
        there, or an error.
        """
        self._ask_later(then, dask_worker.stop, self._client.id, list(leases))

    def hurry(self) -> None:
        """Kill what was cancelled, and what will be."""
        self._ask_later(lambda answers: None, dask_worker.hurry, self._client.id)

    def tidy(self, lease: str, then: Callable[[dict[str, Any]], None]) -> None:
        """End what workers left that died, first of all under this lease."""
        self._ask_later(then, dask_worker.tidy, self._bare, lease)

    def ask(
        self, function: Callable[..., Any], *arguments: Any, workers: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Call a function on workers (None: all); address → its answer, or the error instead of
        one.
        """
        chosen = [member.address for member in self.members] if workers is None else workers
        answers: dict[str, Any] = self._client.sync(self._ask, chosen, function, arguments)
        return answers

    def close(self) -> None:
        """Leave the workers and the scheduler. Idempotent."""
        if self.alive:
            with contextlib.suppress(OSError):
                self.refresh()
                if self._greeted:  # else nothing was begun anywhere
                    self.ask(dask_worker.leave, self._bare)
            for topic in (
                self._client.id,
                "all",
            ):  # else the scheduler tells us of our own end, when nobody listens
                self._client.unsubscribe_topic(topic)
        self._futures.clear()
        with contextlib.suppress(OSError):
            self._client.close(timeout=self._timeout)

    # -- in the client's thread --------------------------------------------------------------------

    def _hear(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if (
            isinstance(message, Mapping) and "lease" in message
        ):  # the scheduler writes under this topic, too
            self._listener.heard(message)

    def _hear_of_workers(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if not isinstance(message, Mapping) or message.get("action") not in (
            "add-worker",
            "remove-worker",
        ):
            return
        if message["action"] == "remove-worker":
            gone = message["worker"]
            self._greeted.discard(gone)
            self.members = tuple(member for member in self.members if member.address != gone)
            self._listener.left(gone)
        self._client.loop.add_callback(self._refresh_quietly)

    async def _refresh(self) -> None:
        info = await self._client.scheduler.identity(n_workers=-1)
        self.members = tuple(
            Member(address, str(each["name"]), each["nthreads"], each.get("resources") or {})
            for address, each in sorted(info["workers"].items())
        )

    async def _refresh_quietly(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # it is gone, or going: its Tasks say so
            await self._refresh()
            self._listener.changed()

    def _ask_later(
        self, then: Callable[[dict[str, Any]], None], function: Callable[..., Any], *arguments: Any
    ) -> None:
        async def asked() -> None:
            then(await self._ask([member.address for member in self.members], function, arguments))

        self._client.loop.add_callback(asked)

    async def _ask(
        self, workers: Iterable[str], function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> dict[str, Any]:
        async def one(address: str) -> Any:
            asked = asyncio.ensure_future(
                self._client.run(function, *arguments, workers=[address], on_error="return")
            )
            end = time.monotonic() + ASK_SECONDS
            while (
                not asked.done()
                and time.monotonic() < end
                and any(each.address == address for each in self.members)
            ):
                await asyncio.wait([asked], timeout=ASK_ROUND)
            if not asked.done():
                asked.cancel()
                return OSError("it doesn't answer")
            try:
                return asked.result().get(address, OSError("it is gone"))
            # Of the client's, the scheduler's or the worker's: they are an answer.
            except Exception as error:  # noqa: BLE001
                return error

        addresses = list(workers)
        return dict(zip(addresses, await asyncio.gather(*map(one, addresses)), strict=True))


class Cluster:
    """The cluster that the configuration names. Thread-safe."""

    def __init__(self, config: DaskConfig, equipment: Equipment) -> None:
        """`equipment` is what workers need, but for the session."""
        self.config, self._equipment = config, equipment
        self.listener = Listener()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._local: LocalCluster | None = None
        self._closed = False

    @property
    def where(self) -> str:
        """The cluster, for messages."""
        return "of this machine" if self.config.address is None else f"at {self.config.address}"

    @property
    def connection(self) -> Connection | None:
        """The connection, where there is one that works."""
        connection = self._connection
        return connection if connection is not None and connection.alive else None

    def check(self) -> None:
        """Connect where there is no connection, and prepare new workers. Raises
        `EngineUnavailable`.
        """
        connection = self.connect()
        with self._lock:
            connection.greet()

    def connect(self) -> Connection:
        """The connection, with the workers that there are now. Raises `EngineUnavailable`."""
        with self._lock:
            if self._closed:
                raise Closed("this Gaia was closed")
            try:
                if self.connection is None:
                    self._leave()
                    self._connection = Connection(
                        self._target(), self.config, self._equipment, self.listener
                    )
                assert self._connection is not None
                self._connection.refresh()
            except (
                OSError,
                ValueError,
                TypeError,
                ImportError,
            ) as error:  # what the client raises for addresses and the like
                why = error_text(error) or type(error).__name__
                raise EngineUnavailable(
                    f"no Dask scheduler answers {self.where} within {self.config.timeout:g} s ({why});"
                    " start one (`dask scheduler`), or give another with the config's dask.address"
                ) from error.with_traceback(
                    None
                )  # which would keep the client that failed from its end
            return self._connection

    def leave(self) -> None:
        """Close the connection, if any; `check` makes another."""
        with self._lock:
            self._leave()

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        with self._lock:
            self._closed = True
            self._leave()
            local, self._local = self._local, None
        if local is not None:
            local.close()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _target(self) -> str | LocalCluster:
        if self.config.address is not None:
            return self.config.address
        if self._local is None:
            self._local = _local_cluster(self.config)
        return self._local


def _local_cluster(config: DaskConfig) -> LocalCluster:
    """Worker processes of this machine, with which only this process can speak."""
    try:
        from gaia_local.executors.dask.keys import make_keys
    except ImportError as error:
        raise EngineUnavailable(
            f"Dask workers on this machine need keys, and a package is missing ({error}); pip install 'gaia-local[dask]'"
        ) from error
    security = _security(make_keys() if config.security is None else config.security)
    # What the scheduler and the workers tell over HTTP anybody here could read.
    with dask.config.set(
        {f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")}
    ):
        return LocalCluster(
            n_workers=config.local,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        )


def on_workers(path: Path, path_map: Mapping[str, str]) -> str:
    """Where the workers see a directory of this machine: the longest entry of the map that it lies
    in tells.
    """
    inside = [here for here in path_map if path.is_relative_to(here)]
    if not inside:
        return str(path)
    here = max(inside, key=len)
    return str(Path(path_map[here]) / path.relative_to(here))


def equipment_of(config: Config, root_id: str) -> Equipment:
    """What workers need to know to perform Tasks for an engine with this configuration, but for the
    session.
    """
    there = config.root.stat().st_ino if config.root.exists() else None
    return Equipment(
        session="",
        topic="",
        root_id=root_id,
        root_key=f"{config.root} {there}",
        root=on_workers(config.root, config.dask.path_map),
        buckets=tuple(
            (name, on_workers(path, config.dask.path_map)) for name, path in config.buckets.items()
        ),
        runtime=config.runtime,
        docker=config.docker,
        scratch=config.dask.scratch,
    )


def _security(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    try:
        return Security(**given)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            "config, dask.security",
            f"distributed.Security doesn't accept it ({error_text(error)})",
            "give its arguments",
        ) from None
