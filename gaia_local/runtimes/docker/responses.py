"""What a Docker engine answers: errors as `Refusal` or `Silence`, and the output of containers in
frames.
"""

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

if TYPE_CHECKING:
    from docker import APIClient

STDOUT, STDERR = 1, 2
PIECE = 1 << 16
_FRAME = struct.Struct(">BxxxL")


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


def frames(response: requests.Response) -> Iterator[tuple[int, bytes]]:
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
            f"{error.filename or target} could not be written: {error.strerror or error}; make room or check its rights"
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
