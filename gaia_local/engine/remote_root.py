"""A root that another process owns: each call is sent there, through the local socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from gaia_local.engine import local_socket
from gaia_local.engine.calls import REMOTE_CALLS, RemoteCall, Root, to_wire
from gaia_local.engine.local_socket import Unreachable
from gaia_local.errors import EngineUnavailable


def remote_root(root: Path, settings: Mapping[str, str]) -> Root:
    """A root whose calls are answered by its owner, which refuses changes for other `settings`.

    A call raises the errors that it raises there, or `Unreachable` if the owner doesn't answer and
    the call may be repeated.
    """
    return cast(Root, _RemoteRoot(root, settings))


class _RemoteRoot:
    def __init__(self, root: Path, settings: Mapping[str, str]) -> None:
        self._root, self._settings = root, settings

    def _send(self, call: RemoteCall, arguments: tuple[Any, ...]) -> Any:
        named = dict(zip(call.parameters, arguments, strict=True))
        settings = self._settings if call.changes else {}
        try:
            return local_socket.call(self._root, call.name, named, settings, to_wire)
        except Unreachable as error:
            if error.told_all and not call.idempotent:
                message = f"{error}; check with `status` whether it took effect"
                raise EngineUnavailable(message) from error
            raise


def _method(call: RemoteCall) -> Callable[..., Any]:
    def send(self: _RemoteRoot, *arguments: Any) -> Any:
        return self._send(call, arguments)

    return send


for _call in REMOTE_CALLS.values():
    setattr(_RemoteRoot, _call.name, _method(_call))
