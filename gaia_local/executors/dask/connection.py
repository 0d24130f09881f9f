"""One client's connection to the scheduler of a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import logging
import pickle
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from distributed import Client, Future, KilledWorker, LocalCluster, Security

from gaia_local.config import DaskConfig, DockerConfig
from gaia_local.errors import EngineUnavailable, InvalidInput, error_text
from gaia_local.executors.dask import worker as dask_worker
from gaia_local.executors.dask.members import Member
from gaia_local.executors.dask.settings import SessionSettings
from gaia_local.executors.dask.worker import own_version
from gaia_local.monotonic import monotonic

ANSWER_SECONDS = 10.0
"""The longest wait for a worker's answer; after it, the worker counts as unreachable."""
_MEMBER_CHECK_SECONDS = 0.1
"""Between two checks that a worker that was asked is still in the cluster."""

logger = logging.getLogger("gaia_local")


class ClusterListener:
    """Is called by a connection, in threads of the client's: its methods must not block."""

    def message_received(self, message: Mapping[str, Any]) -> None:
        """A worker sent a report of a Task."""

    def worker_left(self, address: str) -> None:
        """A worker left the cluster."""

    def workers_changed(self) -> None:
        """The cluster's workers may have changed."""


class _Client(Client):  # type: ignore[misc]  # the package is untyped
    """A client whose thread ends with it, even if it could not connect or has given up.

    Left to the garbage collector, a client that could not connect may be closed in the thread of
    one that is starting: a deadlock. A client that has closed itself keeps its thread, since
    `close` then does nothing.
    """

    status: str
    _ended = False

    def start(self, **kwargs: Any) -> None:
        """Connect. Raises the error's cause, and leaves no thread behind then."""
        try:
            super().start(**kwargs)
        except BaseException:
            self.end(kwargs["timeout"])
            raise

    def end(self, timeout: float) -> None:
        """Close within so many seconds, and end the thread. Idempotent."""
        if self._ended:
            return
        self._ended = True
        if self.status == "closed":
            self.status = "closing"
        with contextlib.suppress(OSError):
            self.close(timeout=timeout)


class Connection:
    """One client of one scheduler, from its making to `close`."""

    def __init__(
        self,
        target: str | LocalCluster,
        config: DaskConfig,
        settings: SessionSettings,
        listener: ClusterListener,
    ) -> None:
        """Connect. Raises the client's errors."""
        security = (
            target.security if isinstance(target, LocalCluster) else security_of(config.security)
        )
        self._timeout, self._listener = config.timeout, listener
        self._client = _Client(
            target, timeout=config.timeout, security=security, set_as_default=False
        )
        self._settings = replace(settings, session=self._client.id, topic=self._client.id)
        # The scheduler forgets a topic of the client's own name when the client is gone.
        self._pickled_settings = pickle.dumps(self._settings)
        # Workers log failed calls with their arguments: so these have no secrets.
        self._settings_without_secrets = pickle.dumps(
            replace(self._settings, docker=DockerConfig())
        )
        self._futures: dict[str, Future] = {}
        self._prepared: set[str] = set()
        self.members: tuple[Member, ...] = ()
        self._client.subscribe_topic(self._client.id, self._on_task_message)
        self._client.subscribe_topic("all", self._on_worker_event)

    @property
    def alive(self) -> bool:
        """Whether the client has its connection to the scheduler."""
        return bool(self._client.status == "running")

    def refresh(self) -> None:
        """Ask the scheduler for its workers. Raises `OSError` when it doesn't answer in time."""
        self._client.sync(self._refresh, callback_timeout=self._timeout)

    def prepare_workers(self) -> None:
        """End earlier engines' Tasks on new workers. Raises `EngineUnavailable`."""
        new = [member.address for member in self.members if member.address not in self._prepared]
        if not new:
            return
        self._check_versions(new)
        answers = self.ask(dask_worker.prepare, self._settings_without_secrets, workers=new)
        for address, answer in answers.items():
            if isinstance(answer, BaseException):
                logger.warning(
                    "worker %s of the Dask cluster could not be prepared: %s",
                    address,
                    error_text(answer),
                )
            else:
                self._prepared.add(address)

    def _check_versions(self, workers: Collection[str]) -> None:
        own = own_version()
        answers = self.ask(importlib.metadata.version, "gaia-local", workers=workers)
        for address, answer in answers.items():
            if isinstance(answer, importlib.metadata.PackageNotFoundError):
                version = "no installed version"
            elif isinstance(answer, str):
                version = answer
            else:
                continue
            if version != own:
                raise EngineUnavailable(
                    f"worker {address} of the Dask cluster has gaia_local {version}, the engine"
                    f" {own}: install the same version on both"
                )

    def submit(
        self,
        leases: list[str],
        assignments: list[bytes],
        resources: Mapping[str, float],
        priority: int,
    ) -> None:
        """Have workers perform Tasks with the same `resource_restrictions`, by their priority."""
        futures = self._client.map(
            functools.partial(
                dask_worker.perform, own_version(), self._client.id, self._pickled_settings
            ),
            leases,
            assignments,
            key=[(f"gaia-local-{self._client.id}", lease) for lease in leases],
            pure=False,
            retries=0,
            priority=priority,
            resources=dict(resources) or None,
        )
        self._futures.update(zip(leases, futures, strict=True))

    def finished(self) -> dict[str, str]:
        """The Tasks that Dask has finished: lease → the state of its future, never `pending`."""
        return {
            lease: future.status
            for lease, future in self._futures.items()
            if future.status != "pending"
        }

    def error_of(self, lease: str) -> str:
        """The error of a future whose state is `error`; empty if its workers died."""
        error = self._futures[lease].exception()
        return "" if isinstance(error, KilledWorker) else f"{type(error).__name__}: {error}"

    def forget(self, lease: str) -> None:
        """Forget a Task: one that isn't started yet never will be."""
        future = self._futures.pop(lease, None)
        if future is not None:
            future.release()

    def cancel(self, leases: Collection[str], then: Callable[[dict[str, Any]], None]) -> None:
        """Cancel Tasks; `then` gets each worker's answer: those that run there, or an error."""
        self._ask_in_client_thread(then, dask_worker.cancel, self._client.id, list(leases))

    def kill_now(self) -> None:
        """Kill Tasks that were cancelled, and those that will be."""
        self._ask_in_client_thread(lambda answers: None, dask_worker.kill_now, self._client.id)

    def clean_up(self, lease: str, then: Callable[[dict[str, Any]], None]) -> None:
        """End and remove leftovers of dead workers, first of all of this lease."""
        self._ask_in_client_thread(
            then, dask_worker.clean_up, self._settings_without_secrets, lease
        )

    def ask(
        self, function: Callable[..., Any], *arguments: Any, workers: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Call a function on workers (None: all): address → its answer, or its error."""
        chosen = [member.address for member in self.members] if workers is None else workers
        answers: dict[str, Any] = self._client.sync(self._ask, chosen, function, arguments)
        return answers

    def close(self) -> None:
        """Leave the workers and the scheduler. Idempotent."""
        if self.alive:
            with contextlib.suppress(OSError):
                self.refresh()
                if self._prepared:  # else nothing was begun anywhere
                    self.ask(dask_worker.end_session, self._settings_without_secrets)
            # Else the scheduler would send us the news of our own end, to no listener.
            for topic in (self._client.id, "all"):
                self._client.unsubscribe_topic(topic)
        self._futures.clear()
        self._client.end(self._timeout)

    # -- in the client's thread --------------------------------------------------------------------

    def _on_task_message(self, event: tuple[float, Any]) -> None:
        message = event[1]
        # The scheduler writes under this topic, too.
        if isinstance(message, Mapping) and "lease" in message:
            self._listener.message_received(message)

    def _on_worker_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        action = message.get("action") if isinstance(message, Mapping) else None
        if action not in ("add-worker", "remove-worker"):
            return
        if action == "remove-worker":
            gone = message["worker"]
            self._prepared.discard(gone)
            self.members = tuple(member for member in self.members if member.address != gone)
            self._listener.worker_left(gone)
        self._client.loop.add_callback(self._refresh_quietly)

    async def _refresh(self) -> None:
        info = await self._client.scheduler.identity(n_workers=-1)
        self.members = tuple(
            Member(address, str(worker["name"]), worker["nthreads"], worker.get("resources") or {})
            for address, worker in sorted(info["workers"].items())
        )

    async def _refresh_quietly(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # it is ending: its Tasks report that
            await self._refresh()
            self._listener.workers_changed()

    def _ask_in_client_thread(
        self, then: Callable[[dict[str, Any]], None], function: Callable[..., Any], *arguments: Any
    ) -> None:
        async def ask() -> None:
            then(await self._ask([member.address for member in self.members], function, arguments))

        self._client.loop.add_callback(ask)

    async def _ask(
        self, workers: Iterable[str], function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> dict[str, Any]:
        async def ask_one(address: str) -> Any:
            answer = asyncio.ensure_future(
                self._client.run(function, *arguments, workers=[address], on_error="return")
            )
            end = monotonic() + ANSWER_SECONDS
            while (
                not answer.done()
                and monotonic() < end
                and any(member.address == address for member in self.members)
            ):
                await asyncio.wait([answer], timeout=_MEMBER_CHECK_SECONDS)
            if not answer.done():
                answer.cancel()
                return OSError("it doesn't answer")
            try:
                return answer.result().get(address, OSError("it is gone"))
            # An error of the client, the scheduler or the worker is an answer as well.
            except Exception as error:  # noqa: BLE001
                return error

        addresses = list(workers)
        return dict(zip(addresses, await asyncio.gather(*map(ask_one, addresses)), strict=True))


def security_of(setting: Any) -> Any:
    """The configuration's `Security`, made if it is given as arguments."""
    if not isinstance(setting, Mapping):
        return setting
    try:
        return Security(**setting)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            "config, dask.security",
            f"distributed.Security doesn't accept it ({error_text(error)})",
            "give its arguments",
        ) from None
