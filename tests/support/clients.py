"""The published client over our server, and a stand-in of its versions up to 0.0.7."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import requests
from gaia.client import Gaia as Client  # type: ignore[import-untyped]

from gaia_local import Gaia, GaiaError
from gaia_local.http_errors import http_error
from gaia_local.server import Server


class OldClient(Client):  # type: ignore[misc]
    """Sends JSON without a Content-Type, and takes any answer, a refusal too, for a result."""

    def _post(self, endpoint: str, data: dict[str, Any]) -> Any:
        url = f"{self.protocol}{self.host}/{endpoint}"
        return requests.post(url, data=json.dumps(data), timeout=60).json()


OURS = {"update": ("workflow", "commands", "steps"), "remove": ("workflow", "names", "data")}
"""Endpoints that the real server lacks: name → the fields of its body."""


class OverHttp:
    """A published client; a `Gaia` on the root has the methods that it lacks or can't do here.

    A refusal is raised, also where the client takes it for an answer.
    """

    def __init__(self, server: Server, gaia: Gaia, client: type[Client] = Client) -> None:
        self._client = client({"gaia_host": urlsplit(server.url).netloc})
        self._gaia = gaia

    def __getattr__(self, name: str) -> Any:
        if name not in (
            *OURS,
            "command",
            "merge",
            "upload",
            "run",
            "halt",
            "status",
            "expire",
            "workflows",
        ):
            return getattr(self._gaia, name)

        def call(*given: Any, **named: Any) -> Any:
            try:
                answer = self._answer(name, given, named)
            except requests.HTTPError as error:
                answer = error.args[0]
            if isinstance(answer, dict) and set(answer) == {"error"}:
                raise http_error(GaiaError(answer["error"]))
            return answer

        return call

    def _answer(self, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if name in OURS:
            return self._client._post(name, {**dict(zip(OURS[name], given, strict=False)), **named})
        try:
            return getattr(self._client, name)(*given, **named)
        except AssertionError:
            # The client refuses values of a wrong type, and here the server must do so.
            fields = ("workflow", "properties", "commands", "steps")
            return self._client._post(name, dict(zip(fields, given, strict=True)))
