"""The answers of a Docker engine: errors as `Refusal` or `NoAnswer`, and output in frames."""

from __future__ import annotations

import contextlib
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import urllib3

from gaia_local.errors import RuntimeFailure
from gaia_local.terminal_text import escaped

if TYPE_CHECKING:
    from docker import APIClient

STDOUT, STDERR = 1, 2
PIECE_BYTES = 1 << 16
_FRAME = struct.Struct(">BxxxL")


class Refusal(Exception):
    """The engine's error answer: HTTP `status` (0: the SDK refused without asking) and `text`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text

    @property
    def name_taken(self) -> bool:
        """Whether another container has the name: 409 from Docker, 500 from Podman."""
        return self.status == 409 or (self.status == 500 and "is already in use by" in self.text)


class NoAnswer(Exception):
    """The engine did not answer, or not completely."""


class Interrupted(Exception):
    """The Task was cancelled while it waited for the engine."""


def container_url(client: APIClient, container: str, endpoint: str) -> str:
    """The URL of a container's endpoint, for requests that the SDK has no method for."""
    return f"{client.base_url}/v{client.api_version}/containers/{container}/{endpoint}"


def checked(response: requests.Response) -> requests.Response:
    """The response, unless it is an error: then it is closed and becomes a `Refusal`."""
    if response.status_code < 400:
        return response
    with response:
        try:
            text = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            text = response.text.strip() or str(response.reason)
    raise Refusal(response.status_code, text)


def frames(response: requests.Response) -> Iterator[tuple[int, bytes]]:
    """Stream numbers and bytes from the engine's frames, in pieces of bounded size.

    A frame is the number of the stream, three zeros, a length, and so many bytes.
    """
    while True:
        with translated_errors():
            header = response.raw.read(_FRAME.size)
        if not header:
            return
        if len(header) < _FRAME.size:
            raise NoAnswer("the output of the container broke off")
        stream, remaining = _FRAME.unpack(header)
        while remaining:
            with translated_errors():
                piece = response.raw.read(min(remaining, PIECE_BYTES))
            if not piece:
                raise NoAnswer("the output of the container broke off")
            remaining -= len(piece)
            yield stream, piece


@contextlib.contextmanager
def disk_errors(target: Path | str) -> Iterator[None]:
    """Turn errors of this machine's disk into `RuntimeFailure`: the engine is not their cause."""
    try:
        yield
    except OSError as error:
        path = escaped(str(error.filename or target))
        raise RuntimeFailure(
            f"{path} could not be written: {error.strerror or error};"
            " make room or check its permissions"
        ) from error


@contextlib.contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the errors of the SDK, and of the layers below it, into `Refusal` and `NoAnswer`."""
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        raise Refusal(error.status_code or 0, error.explanation or str(error)) from error
    except DockerException as error:
        raise Refusal(0, innermost_text(error)) from error
    except (OSError, EOFError, tarfile.TarError, urllib3.exceptions.HTTPError) as error:
        raise NoAnswer(innermost_text(error)) from error


def innermost_text(error: BaseException) -> str:
    """The system's words for a lost connection; the layers above only name their objects."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and inner not in chain:
        chain.append(inner)
    for inner in reversed(chain):
        if isinstance(inner, OSError) and not isinstance(inner, requests.RequestException):
            return inner.strerror or str(inner) or type(inner).__name__
    return str(error) or type(error).__name__
