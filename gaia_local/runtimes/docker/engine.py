"""Requests to a Docker engine: the connection, retries, containers and their output.

Docker's SDK is imported at the first connection: programs without containers don't pay for it.
Every error becomes a `Refusal` (an error answer) or a `NoAnswer` (none, or only a part).
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import requests

from gaia_local.errors import Closed, GaiaError
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.docker.address import Address, find_address
from gaia_local.runtimes.docker.connection import check_socket, connect, unavailable
from gaia_local.runtimes.docker.responses import (
    Interrupted,
    NoAnswer,
    Refusal,
    checked,
    container_url,
    frames,
    translated_errors,
)

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")
LiveOutput: TypeAlias = "tuple[Iterator[tuple[int, bytes]], Callable[[], int]]"

_RETRY_SECONDS = (0.1, 0.4, 1.0, 3.0, 6.0)
"""Before each new try: long enough for an engine that restarts."""
_REFUSED_TRIES = 2
"""The most new tries after a 5xx, since the next answer is mostly the same."""
_EVENTS_WAIT_SECONDS = 0.5
"""Seconds to wait for events between two checks whether they are still wanted."""

logger = logging.getLogger("gaia_local")


def never() -> bool:
    """The `stop` of a request that is never given up."""
    return False


class DockerEngine:
    """The engine that the docker command would use, see `address`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._client: APIClient | None = None
        self._address: Address | None = None
        self._is_rootless: bool | None = None
        self._closed = threading.Event()

    # -- the connection ----------------------------------------------------------------------------

    @property
    def client(self) -> APIClient:
        """The SDK's client, connected. Raises `EngineUnavailable`, and `Closed` after `close`."""
        with self._lock:
            if self._closed.is_set():
                raise Closed("the Docker runtime is closed")
            if self._client is None:
                self._address = find_address()
                self._client = connect(self._address)
            return self._client

    @property
    def address(self) -> Address:
        """The address of the engine: that of the connection, once it was tried.

        Raises `EngineUnavailable` as `find_address`.
        """
        return self._address or find_address()

    def ping(self) -> None:
        """Raise `EngineUnavailable` unless the engine answers."""
        client, address = self.client, self.address
        try:
            check_socket(address)
            with translated_errors():
                client.ping()
        except (Refusal, NoAnswer, OSError) as error:
            raise unavailable(address, error) from error

    def close(self) -> None:
        """Close all idle connections and end all waiting. Idempotent."""
        with self._lock:
            self._closed.set()
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def ask(
        self, call: Callable[[APIClient], T], stop: Callable[[], bool] = never, retry: bool = True
    ) -> T:
        """The answer to `call`; with `retry`, tried again after no answer or a 5xx.

        Raises the last `Refusal` or `NoAnswer`; `Interrupted` as soon as `stop()` while it waits.
        """
        client = self.client
        for tries, delay in enumerate((*_RETRY_SECONDS, None) if retry else (None,)):
            try:
                with translated_errors():
                    return call(client)
            except NoAnswer:
                if delay is None:
                    raise
            except Refusal as refusal:
                final = refusal.status < 500 or refusal.name_taken
                if final or delay is None or tries >= _REFUSED_TRIES:
                    raise
            self.pause(delay, stop)
        raise AssertionError("the last try returns or raises")

    def pause(self, seconds: float, stop: Callable[[], bool]) -> None:
        """Let that time pass. Raises `Interrupted` as soon as `stop()`, `Closed` after `close`."""
        end = monotonic() + seconds
        while (rest := end - monotonic()) > 0:
            if stop():
                raise Interrupted
            if self._closed.wait(min(rest, 0.1)):
                raise Closed("the Docker runtime is closed")

    @contextlib.contextmanager
    def exclusive(self, name: str, stop: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock of that name; waiting for it ends when `stop()`."""
        with self._lock:
            lock = self._locks[name]
        while not lock.acquire(timeout=0.1):
            if stop():
                raise Interrupted
        try:
            yield
        finally:
            lock.release()

    # -- the states of containers ------------------------------------------------------------------

    def owner(self, stop: Callable[[], bool]) -> tuple[int, int]:
        """The user and group in a container that own what this process's user owns.

        In containers of a rootless engine, which belongs to that user, they are root's.
        """
        if self._is_rootless is None:
            told = self.ask(lambda client: client.info(), stop)
            options = told.get("SecurityOptions") or ()  # Docker tells it there, Podman beside
            self._is_rootless = "name=rootless" in options or told.get("Rootless") is True
        return (0, 0) if self._is_rootless else (os.getuid(), os.getgid())

    def image_of(self, container: str, stop: Callable[[], bool]) -> str:
        """The id of the image that a container was made from."""
        return str(self.ask(lambda client: client.inspect_container(container), stop)["Image"])

    def gpus_of(self, container: str, stop: Callable[[], bool]) -> list[str]:
        """The ids of the GPUs that a container asks for."""
        seen = self.ask(lambda client: client.inspect_container(container), stop)
        requests = seen["HostConfig"].get("DeviceRequests") or ()
        return [gpu for request in requests for gpu in request.get("DeviceIDs") or ()]

    def has_devices(self, container: str, stop: Callable[[], bool]) -> bool:
        """Whether a container has devices of the machine, or asks for some."""
        host = self.ask(lambda client: client.inspect_container(container), stop)["HostConfig"]
        return bool(host.get("DeviceRequests") or host.get("Devices"))

    def started_at(self, container: str, stop: Callable[[], bool]) -> float | None:
        """The start of a container, in seconds since the epoch; None if it was never started."""
        state = self.ask(lambda client: client.inspect_container(container), stop)["State"]
        if state["Status"] == "created":
            return None
        return _seconds(state["StartedAt"])

    def has_ended(self, container: str) -> bool:
        """Whether a container ran and has ended; False where the engine doesn't tell at once."""
        try:
            found = self.ask(lambda client: client.inspect_container(container), retry=False)
        except (Refusal, NoAnswer, Closed):
            return False
        return found["State"]["Status"] in ("exited", "dead")

    def out_of_memory(self, container: str, seconds: float, stop: Callable[[], bool]) -> bool:
        """Whether memory ran out for any program of a container that has ended.

        A busy engine may notice it up to `seconds` after the end, and then reports it only in its
        events.
        """
        state = self.ask(lambda client: client.inspect_container(container), stop)["State"]
        if state.get("OOMKilled"):
            return True
        until = _seconds(state["FinishedAt"])
        end = until + seconds
        while until < end:
            if stop():
                raise Interrupted
            until = min(end, until + _EVENTS_WAIT_SECONDS)
            if self.ask(functools.partial(_has_oom_event, container, until), stop):
                return True
        return False

    # -- the output of containers ------------------------------------------------------------------

    @contextlib.contextmanager
    def follow_output(
        self, container: str, past: bool, stop: Callable[[], bool]
    ) -> Iterator[LiveOutput]:
        """Follow a container: its output, in `frames`, and a function that waits for its exit code.

        With `past`, the output begins with the engine's log; without it, with this call, which must
        come before the start. Both raise `NoAnswer`. They are two connections: an engine that is
        ending may close the first without an error, but not both.
        """
        with self._open(
            container, "POST", "wait", stop, condition="not-running" if past else "next-exit"
        ) as waiting:

            def ended() -> int:
                with translated_errors():
                    answer = waiting.json()
                if answer.get("Error"):  # the engine itself gave up waiting
                    raise NoAnswer(str(answer["Error"]))
                return int(answer["StatusCode"])

            method, endpoint, flag = (
                ("GET", "logs", "follow") if past else ("POST", "attach", "stream")
            )
            with self._open(
                container, method, endpoint, stop, stdout="1", stderr="1", **{flag: "1"}
            ) as stream:
                yield frames(stream), ended

    @contextlib.contextmanager
    def logged_output(
        self, container: str, stop: Callable[[], bool]
    ) -> Iterator[Iterator[tuple[int, bytes]]]:
        """The output of a container up to now, from the engine's log."""
        with self._open(container, "GET", "logs", stop, stdout="1", stderr="1") as stream:
            yield frames(stream)

    def _open(
        self, container: str, method: str, endpoint: str, stop: Callable[[], bool], **flags: str
    ) -> requests.Response:
        def call(client: APIClient) -> requests.Response:
            # No limit for reading: a program may be silent for hours.
            limits = (client.timeout, None)
            return checked(
                client.request(
                    method,
                    container_url(client, container, endpoint),
                    params=flags,
                    stream=True,
                    timeout=limits,
                )
            )

        return self.ask(call, stop)

    # -- containers --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def container(
        self,
        name: str,
        labels: Mapping[str, str],
        create: Callable[[APIClient], str],
        stop: Callable[[], bool],
    ) -> Iterator[str]:
        """The id of the container that `create` makes, with that name and those labels.

        It is removed at the end in all cases.
        """
        try:
            container = self.ask(create, stop)
        except Refusal as refusal:
            # The name is taken: by the first try, whose answer got lost, or by a leftover of an
            # earlier process.
            if not refusal.name_taken or not self.remove_own(name, labels):
                raise
            container = self.ask(create, stop)
        except (NoAnswer, Interrupted):
            self.remove_own(name, labels)
            raise
        try:
            yield container
        finally:
            self.remove(container)

    def remove_own(self, name: str, labels: Mapping[str, str]) -> bool:
        """Remove the container of that name, if there is one and it has those labels."""
        try:
            found = self.ask(lambda client: client.inspect_container(name), retry=False)
        except (Refusal, NoAnswer, Closed):
            return False
        if not labels.items() <= (found["Config"]["Labels"] or {}).items():
            return False
        self.remove(name)
        return True

    def remove(self, container: str) -> None:
        """Kill and remove a container with its anonymous volumes; log a failure, never raise it."""
        try:
            self.ask(lambda client: client.remove_container(container, v=True, force=True))
        except (Refusal, NoAnswer, GaiaError) as error:
            # 404: it is gone; 409: another client is removing it.
            if not (isinstance(error, Refusal) and error.status in (404, 409)):
                logger.warning("container %s could not be removed: %s", container, error)


def _seconds(timestamp: str) -> float:
    """Seconds since the epoch of a time in the engine's format."""
    return datetime.datetime.fromisoformat(timestamp).timestamp()


def _has_oom_event(container: str, until: float, client: APIClient) -> bool:
    """Whether up to the time `until` there is an event that memory ran out in a container."""
    filters = json.dumps({"container": [container], "event": ["oom"]})
    parameters = {"since": "1", "until": f"{until:.9f}", "filters": filters}
    url = f"{client.base_url}/v{client.api_version}/events"
    with client.get(url, params=parameters, stream=True, timeout=client.timeout) as events:
        return any(checked(events).iter_lines())
