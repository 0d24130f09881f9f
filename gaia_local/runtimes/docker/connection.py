"""The connection to an engine, and the error where nobody answers."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

from gaia_local.errors import EngineUnavailable
from gaia_local.runtimes.docker.address import OTHER_WAYS, Address
from gaia_local.runtimes.docker.responses import (
    NoAnswer,
    Refusal,
    checked,
    innermost_text,
    translated_errors,
)

if TYPE_CHECKING:
    from docker import APIClient

_POOL = 256
_FIRST_VERSION = "1.24"
"""The version of the API for the question which one the engine has; all engines know it."""


def connect(address: Address) -> APIClient:
    """The SDK's client of an engine, with the engine's own version of the API.

    Raises `EngineUnavailable` if nobody answers.
    """
    try:
        check_socket(address)
        with translated_errors():
            return _client(address)
    except (Refusal, NoAnswer, OSError) as error:
        raise unavailable(address, error) from error


def _client(address: Address) -> APIClient:
    import docker

    settings = _settings(address)
    with contextlib.closing(docker.APIClient(version=_FIRST_VERSION, **settings)) as first:
        # The SDK itself would ask for /version, which takes Podman seconds: it looks through the
        # system's packages for the version of each of its programs.
        url = f"{first.base_url}/_ping"
        with checked(first.get(url, timeout=first.timeout)) as answer:
            version = answer.headers.get("Api-Version", "auto")
    return docker.APIClient(version=version, max_pool_size=_POOL, **settings)


def _settings(address: Address) -> dict[str, Any]:
    from docker.tls import TLSConfig
    from docker.utils import kwargs_from_env

    if address.context is None:
        return {"base_url": address.url, **kwargs_from_env()}
    if address.tls is None:
        return {"base_url": address.url}
    tls = TLSConfig(
        client_cert=address.tls.client,
        ca_cert=address.tls.authority,
        verify=address.tls.verify,
    )
    return {"base_url": address.url, "tls": tls}


def attached(client: APIClient, container: str) -> socket.socket:
    """A connection to a container's stdin, stdout and stderr, made before its start.

    It doesn't block. Raises `Refusal` and `NoAnswer`.
    """
    # No keys detach from it: programs use those that the engine would take.
    flags = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1, "detachKeys": "ctrl-^,ctrl-@"}
    with translated_errors():
        found = client.attach_socket(container, flags)
    connection: socket.socket = getattr(found, "_sock", found)
    connection.setblocking(False)
    return connection


def check_socket(address: Address) -> None:
    """Raise `OSError` if no process listens at an engine's Unix socket.

    The SDK would leak a socket at each try.
    """
    if address.url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(address.url.removeprefix("unix://"))


def unavailable(address: Address, why: Exception) -> EngineUnavailable:
    """The error for callers when an engine doesn't answer."""
    if isinstance(why, PermissionError):
        return EngineUnavailable(
            f"this user may not speak to the Docker engine at {address}; become a member of the"
            " socket's group (mostly: `sudo usermod -aG docker $USER`, then log in again), or run"
            " commands without containers (config: runtime: process)"
        )
    return EngineUnavailable(
        f"no Docker engine answers at {address}: {innermost_text(why)}; start Docker, {OTHER_WAYS}"
    )
