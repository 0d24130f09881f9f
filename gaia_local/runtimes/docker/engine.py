"""The conversation with a Docker engine: the connection, retries, images, and what containers say.

Docker's SDK is imported at the first connection: whoever uses no container doesn't pay for it.
Whatever goes wrong becomes a `Refusal` (the engine said no) or a `Silence` (it said nothing, or
broke off).
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import logging
import os
import socket
import struct
import tarfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import requests
import urllib3

from gaia_local.errors import Closed, EngineUnavailable, GaiaError, RuntimeFailure

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")
Listening: TypeAlias = "tuple[Iterator[tuple[int, bytes]], Callable[[], int]]"

STDOUT, STDERR = 1, 2
_DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_DELAYS = (0.1, 0.4, 1.0, 3.0, 6.0)
"""Seconds before each new try: long enough for an engine that restarts."""
_REFUSED_TRIES = 2
"""How many of them a 5xx gets, which is mostly the same when asked again."""
_EVENTS_SECONDS = 0.5
"""How long news are waited for before a look at whether they are still wanted."""
_POOL = 256
PIECE = 1 << 16
_FRAME = struct.Struct(">BxxxL")

logger = logging.getLogger("gaia_local")


class Refusal(Exception):
    """The engine answered, and said no: `status` of HTTP (0: the SDK refused before it asked) and
    `text`.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Silence(Exception):
    """The engine did not answer, or broke off in the middle."""


class Interrupted(Exception):
    """The Task was cancelled while it waited for the engine."""


def never() -> bool:
    """The `stop` of what must be done whatever happens."""
    return False


class Engine:
    """One engine, as the environment names it (``DOCKER_HOST`` …). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._client: APIClient | None = None
        self._closed = threading.Event()
        self._pulls: dict[str, tuple[float, str | None]] = {}

    # -- the connection ----------------------------------------------------------------------------

    @property
    def client(self) -> APIClient:
        """The SDK's client, connected. Raises `EngineUnavailable`, and `Closed` after `close`."""
        with self._lock:
            if self._closed.is_set():
                raise Closed("the Docker runtime is closed")
            if self._client is None:
                import docker
                from docker.errors import DockerException
                from docker.utils import kwargs_from_env

                try:
                    _knock()
                    self._client = docker.APIClient(
                        version="auto", max_pool_size=_POOL, **kwargs_from_env()
                    )
                except (DockerException, OSError) as error:
                    raise _unavailable(error) from error
            return self._client

    def ping(self) -> None:
        """Raise `EngineUnavailable` unless the engine answers."""
        client = self.client
        try:
            _knock()
            with translated():
                client.ping()
        except (Refusal, Silence, OSError) as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Close all idle connections and end all waiting. Idempotent."""
        with self._lock:
            self._closed.set()
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def ask(
        self, call: Callable[[APIClient], T], stop: Callable[[], bool] = never, patient: bool = True
    ) -> T:
        """`call` with the client; where the engine is silent or in trouble and `patient`, again
        after a while.

        Raises the last `Refusal` or `Silence`; `Interrupted` as soon as `stop()` while it waits.
        """
        client = self.client
        for tries, delay in enumerate((*_DELAYS, None) if patient else (None,)):
            try:
                with translated():
                    return call(client)
            except Silence:
                if delay is None:
                    raise
            except Refusal as refusal:
                if refusal.status < 500 or delay is None or tries >= _REFUSED_TRIES:
                    raise
            self.pause(delay, stop)
        raise AssertionError("the last try returns or raises")

    def pause(self, seconds: float, stop: Callable[[], bool]) -> None:
        """Let that time pass. Raises `Interrupted` as soon as `stop()`, `Closed` after `close`."""
        end = time.monotonic() + seconds
        while (rest := end - time.monotonic()) > 0:
            if stop():
                raise Interrupted
            if self._closed.wait(min(rest, 0.1)):
                raise Closed("the Docker runtime is closed")

    @contextlib.contextmanager
    def alone(self, what: str, stop: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock named `what`; waiting for it ends when `stop()`."""
        with self._lock:
            lock = self._locks[what]
        while not lock.acquire(timeout=0.1):
            if stop():
                raise Interrupted
        try:
            yield
        finally:
            lock.release()

    # -- images ------------------------------------------------------------------------------------

    def image(self, name: str, policy: str, stop: Callable[[], bool]) -> str:
        """The id of an image, pulled where `policy` says so. Raises `RuntimeFailure` where there is
        none to use.
        """
        asked = time.monotonic()
        image = None if policy == "always" else self.find_image(name, stop)
        if image is None and policy == "never":
            raise RuntimeFailure(
                f"image {name!r} is not here and docker.pull is 'never'; `docker pull` or `docker build` it, "
                "or set docker.pull to 'missing'"
            )
        if image is None:
            with self.alone(f"pull {name}", stop):
                self._pull_once(name, policy, asked, stop)
                image = self.find_image(name, stop)
        if image is None:
            raise RuntimeFailure(
                f"image {name!r} was pulled and then vanished; make sure that nothing removes it"
            )
        return image

    def find_image(self, name: str, stop: Callable[[], bool] = never) -> str | None:
        """The id of an image that is here."""
        try:
            found = self.ask(lambda client: client.inspect_image(name), stop)  # type: ignore[no-untyped-call]
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return None
        return str(found["Id"])

    def image_of(self, container: str, stop: Callable[[], bool]) -> str:
        """The id of the image that a container was made from."""
        return str(self.ask(lambda client: client.inspect_container(container), stop)["Image"])

    def began(self, container: str, stop: Callable[[], bool]) -> float | None:
        """When a container was started, in seconds since the epoch; None where it never was."""
        state = self.ask(lambda client: client.inspect_container(container), stop)["State"]
        if state["Status"] == "created":
            return None
        return _seconds(state["StartedAt"])

    def out_of_memory(self, container: str, patience: float, stop: Callable[[], bool]) -> bool:
        """Whether memory ran out for a program in a container that has ended, be it only for a
        child of the main one.

        A busy engine may learn of it after the end, up to `patience` seconds, and has it among its
        events alone then.
        """
        state = self.ask(lambda client: client.inspect_container(container), stop)["State"]
        if state.get("OOMKilled"):
            return True
        until = _seconds(state["FinishedAt"])
        end = until + patience
        while until < end:
            if stop():
                raise Interrupted
            until = min(end, until + _EVENTS_SECONDS)
            if self.ask(functools.partial(_ran_out, container, until), stop):
                return True
        return False

    def pullable(self, name: str) -> bool:
        """Whether a registry has the image (and shows it to this user)."""
        client = self.client
        try:
            with translated():
                client.inspect_distribution(name)  # type: ignore[no-untyped-call]
        except (Refusal, Silence):
            return False
        return True

    def _pull_once(self, name: str, policy: str, asked: float, stop: Callable[[], bool]) -> None:
        """Pull, unless the wait for the lock has brought what is wanted: a pull that began after
        `asked` did it.
        """
        if policy == "missing" and self.find_image(name, stop) is not None:
            return
        began, failure = self._pulls.get(name, (-1.0, None))
        if began < asked:
            began, failure = time.monotonic(), None
            try:
                self._pull(name, stop)
            except (Refusal, Silence) as error:
                failure = str(error)
            self._pulls[name] = began, failure
        if failure is not None:
            raise RuntimeFailure(
                f"image {name!r} could not be pulled (docker.pull is {policy!r}); the engine says: {failure}; "
                "check the Command's image, `docker pull` or `docker build` it"
                + (
                    ", or set docker.pull to 'missing' to use the local image"
                    if policy == "always"
                    else ""
                )
            )

    def _pull(self, name: str, stop: Callable[[], bool]) -> None:
        client = self.client
        from docker.utils import parse_repository_tag

        logger.info("image %r: pulling", name)
        repository, tag = parse_repository_tag(name)
        with translated():
            for progress in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in progress:
                    raise Refusal(0, str(progress["error"]))
                if stop():
                    raise Interrupted

    # -- the output of containers ------------------------------------------------------------------

    @contextlib.contextmanager
    def listen(self, container: str, past: bool, stop: Callable[[], bool]) -> Iterator[Listening]:
        """What a container says, as pairs of stream number and bytes, and a function that waits for
        its exit code.

        With `past` all of the engine's log and on; without it from now on: to be called before the
        start. Both raise `Silence`. They are two connections: an engine that goes away may end the
        first in good order, but not both.
        """
        with self._open(
            container, "POST", "wait", stop, condition="not-running" if past else "next-exit"
        ) as waiting:

            def ended() -> int:
                with translated():
                    answer = waiting.json()
                if answer.get("Error"):  # the engine itself gave up waiting
                    raise Silence(str(answer["Error"]))
                return int(answer["StatusCode"])

            method, what, flag = ("GET", "logs", "follow") if past else ("POST", "attach", "stream")
            with self._open(
                container, method, what, stop, stdout="1", stderr="1", **{flag: "1"}
            ) as stream:
                yield _frames(stream), ended

    @contextlib.contextmanager
    def log(
        self, container: str, stop: Callable[[], bool]
    ) -> Iterator[Iterator[tuple[int, bytes]]]:
        """What a container has said up to now, from the engine's log."""
        with self._open(container, "GET", "logs", stop, stdout="1", stderr="1") as stream:
            yield _frames(stream)

    def _open(
        self, container: str, method: str, what: str, stop: Callable[[], bool], **flags: str
    ) -> requests.Response:
        def call(client: APIClient) -> requests.Response:
            # No limit for reading: a program may be silent for hours.
            limits = (client.timeout, None)
            return good(
                client.request(
                    method, url(client, container, what), params=flags, stream=True, timeout=limits
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
        """The id of what `create` makes under that name and with those labels; removed at the end,
        whatever happens.
        """
        try:
            container = self.ask(create, stop)
        except Refusal as refusal:
            # A name that is taken: by the first try, whose answer got lost, or by what an earlier
            # process left.
            if refusal.status != 409 or not self._remove_own(name, labels):
                raise
            container = self.ask(create, stop)
        except (Silence, Interrupted):
            self._remove_own(name, labels)
            raise
        try:
            yield container
        finally:
            self.remove(container)

    def _remove_own(self, name: str, labels: Mapping[str, str]) -> bool:
        """Remove the container of that name, if there is one and it has those labels."""
        try:
            found = self.ask(lambda client: client.inspect_container(name), patient=False)
        except (Refusal, Silence, Closed):
            return False
        if not labels.items() <= (found["Config"]["Labels"] or {}).items():
            return False
        self.remove(name)
        return True

    def remove(self, container: str) -> None:
        """Kill and remove a container with its anonymous volumes; what can't be removed is logged,
        never raised.
        """
        try:
            self.ask(lambda client: client.remove_container(container, v=True, force=True))
        except (Refusal, Silence, GaiaError) as error:
            # 404: it is gone; 409: somebody removes it just now.
            if not (isinstance(error, Refusal) and error.status in (404, 409)):
                logger.warning("container %s could not be removed: %s", container, error)


def _knock() -> None:
    """Raise `OSError` where nobody listens at the engine's Unix socket. (The SDK would leak a
    socket at each try.)
    """
    address = os.environ.get("DOCKER_HOST") or _DEFAULT_ADDRESS
    if address.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.connect(address.removeprefix("unix://"))


def _unavailable(why: Exception) -> EngineUnavailable:
    address = os.environ.get("DOCKER_HOST") or f"{_DEFAULT_ADDRESS} (DOCKER_HOST is not set)"
    return EngineUnavailable(
        f"no Docker engine answers at {address}: {why}; start Docker, or set DOCKER_HOST to its address, "
        "or run commands without containers (config: runtime: process)"
    )


def _seconds(moment: str) -> float:
    """A moment as the engine writes it, in seconds since the epoch."""
    return datetime.datetime.fromisoformat(moment).timestamp()


def _ran_out(container: str, until: float, client: APIClient) -> bool:
    """Whether the engine tells, `until` then, that memory ran out in a container."""
    wanted = json.dumps({"container": [container], "event": ["oom"]})
    asked = {"since": "1", "until": f"{until:.9f}", "filters": wanted}
    place = f"{client.base_url}/v{client.api_version}/events"
    with client.get(place, params=asked, stream=True, timeout=client.timeout) as events:
        return any(good(events).iter_lines())


def url(client: APIClient, container: str, what: str) -> str:
    """The address of something of a container, for requests that the SDK has no method for."""
    return f"{client.base_url}/v{client.api_version}/containers/{container}/{what}"


def good(response: requests.Response) -> requests.Response:
    """The response, unless it is an error: then it is closed and becomes a `Refusal`."""
    if response.status_code < 400:
        return response
    with response:
        try:
            text = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            text = response.text.strip() or str(response.reason)
    raise Refusal(response.status_code, text)


def _frames(response: requests.Response) -> Iterator[tuple[int, bytes]]:
    """The engine's frames (number of the stream, three zeros, length; then the bytes), in pieces of
    bounded size.
    """
    while True:
        with translated():
            header = response.raw.read(_FRAME.size)
        if not header:
            return
        if len(header) < _FRAME.size:
            raise Silence("the output of the container broke off")
        stream, left = _FRAME.unpack(header)
        while left:
            with translated():
                piece = response.raw.read(min(left, PIECE))
            if not piece:
                raise Silence("the output of the container broke off")
            left -= len(piece)
            yield stream, piece


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """An error of the disk is none of the engine's."""
    try:
        yield
    except OSError as error:
        raise RuntimeFailure(
            f"{error.filename or target} could not be written: {error.strerror or error}; make room or check its permissions"
        ) from error


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what the SDK and the layers below it raise into `Refusal` and `Silence`."""
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        raise Refusal(error.status_code or 0, error.explanation or str(error)) from error
    except DockerException as error:
        raise Refusal(0, str(error)) from error
    except (OSError, EOFError, tarfile.TarError, urllib3.exceptions.HTTPError) as error:
        raise Silence(str(error) or type(error).__name__) from error
