"""Which engine is used: found as the docker command finds it.

``DOCKER_HOST`` wins, then the context that ``DOCKER_CONTEXT`` names, then the one that `docker
context use` has put into ``~/.docker/config.json``. (`docker.context` of the SDK knows no
``DOCKER_CONTEXT``, and takes a configuration that it can't read for none.)
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaia_local.errors import EngineUnavailable

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
_DEFAULT_CONTEXT = "default"
"""The name of the context that has no description: what the other variables say counts."""
OTHER_WAYS = (
    "or set DOCKER_HOST to an address, or run commands"
    " without containers (config: runtime: process)"
)
"""The end of all advice."""

logger = logging.getLogger("gaia_local")


@dataclass(frozen=True)
class ContextTLS:
    """The TLS files of a context; None for those that it hasn't."""

    authority: str | None
    client: tuple[str, str] | None
    """The certificate and its key."""
    verify: bool


@dataclass(frozen=True)
class Address:
    """The address of an engine."""

    url: str
    """As ``unix:///var/run/docker.sock`` or ``tcp://host:2376``."""
    source: str
    """What names it, in words for messages."""
    context: str | None = None
    """The name of its context; None if it isn't the address of one."""
    tls: ContextTLS | None = None
    """That of its context. Without a context, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` count.
    """

    def __str__(self) -> str:
        return self.url if self.source == "DOCKER_HOST" else f"{self.url} ({self.source})"


def find_address() -> Address:
    """The address that the docker command would use now.

    Raises `EngineUnavailable` for a context that is missing or has no address, and for an engine
    behind ssh.
    """
    address = _find()
    if address.url.startswith("ssh://"):
        raise EngineUnavailable(
            f"the Docker engine at {address.url} ({address.source}) can't be used: containers mount"
            " directories of this machine; use an engine here: `docker context use default`, "
            + OTHER_WAYS
        )
    return address


def _find() -> Address:
    if host := os.environ.get("DOCKER_HOST"):
        return Address(host, "DOCKER_HOST")
    directory = Path(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))
    name, source = os.environ.get("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
    if not name:
        file = directory / "config.json"
        name, source = _current_context(file), str(file)
    if name in (None, _DEFAULT_CONTEXT):
        return Address(DEFAULT_ADDRESS, "neither DOCKER_HOST nor a context is set")
    return _of_context(directory / "contexts", name, source)


def _current_context(file: Path) -> str | None:
    """The context that the docker command's configuration names; None if it names none."""
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        # The docker command warns and goes on, too.
        logger.warning("%s can't be read: %s; no Docker context is used", file, error)
        return None
    name = found.get("currentContext") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name else None


def _of_context(contexts: Path, name: str, source: str) -> Address:
    """The address of a context; `source` names it."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    file = contexts / "meta" / digest / "meta.json"
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise EngineUnavailable(
            f"there is no Docker context {name!r}, which {source} names; `docker context ls` lists"
            f" them: choose one of those, {OTHER_WAYS}"
        ) from error
    except OSError as error:
        raise _unusable(name, source, f"can't be read: {file}: {error.strerror}") from error
    except ValueError:
        found = None
    endpoint = _below(found, "Endpoints", "docker")
    url = _below(endpoint, "Host")
    if not isinstance(url, str) or not url:
        raise _unusable(name, source, f"has no address in {file}")
    try:
        tls = _tls(contexts / "tls" / digest / "docker", not _below(endpoint, "SkipTLSVerify"))
    except ValueError as error:
        raise _unusable(name, source, str(error)) from error
    return Address(url, f"context {name!r} of {source}", name, tls)


def _tls(directory: Path, verify: bool) -> ContextTLS | None:
    """The TLS files in a directory; None without any. Raises `ValueError` for half a pair."""
    authority, certificate, key = (
        str(path) if path.is_file() else None
        for path in (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
    )
    if (certificate is None) != (key is None):
        raise ValueError(f"has only one of the files cert.pem and key.pem in {directory}")
    if authority is None and certificate is None and verify:
        return None
    client = None if certificate is None or key is None else (certificate, key)
    return ContextTLS(authority, client, verify)


def _below(value: Any, *names: str) -> Any:
    """What nested objects have under these names; None where there is nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _unusable(name: str, source: str, why: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the Docker context {name!r}, which {source} names, {why}; make it again with"
        f" `docker context create`, {OTHER_WAYS}"
    )
