"""What a request asks: its workflow and its parameters; and endpoints that answer in a thread."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from gaia_local.errors import InvalidInput
from gaia_local.server.wire import Answer, Refused

Endpoint = Callable[[Request], Awaitable[Response]]

_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


class Query:
    """A request's workflow and parameters; text holds any bytes, as names of files do."""

    def __init__(self, request: Request) -> None:
        self.request = request
        given = request.scope["query_string"].decode("ascii", "surrogateescape")
        self._given = parse_qsl(given, keep_blank_values=True, errors="surrogateescape")

    @property
    def workflow(self) -> str:
        """The name in the address; only for addresses that have one."""
        return str(self.request.path_params["name"])

    def all(self, name: str) -> list[str]:
        """A parameter that may be given many times."""
        return [value for each, value in self._given if each == name]

    def get(self, name: str) -> str | None:
        """A parameter; None if it isn't there."""
        found = self.all(name)
        if len(found) > 1:
            raise self.refused(f"the parameter {name!r} is given {len(found)} times; give one")
        return found[0] if found else None

    def asked(self, name: str) -> str:
        """A parameter that must be there."""
        value = self.get(name)
        if value is None:
            raise self.refused(f"the parameter {name!r} is missing; write ?{name}=…")
        return value

    def number(self, name: str, otherwise: int, least: int = 0) -> int:
        """A parameter that is a whole number, `least` or more; `otherwise` if it isn't there."""
        given = self.get(name)
        if given is None:
            return otherwise
        if not _WHOLE_NUMBER.fullmatch(given) or int(given) < least:
            raise self.refused(f"{name} is {given[:40]!r}; give a whole number, {least} or more")
        return int(given)

    def refused(self, why: str) -> Refused:
        """The error for a request that asks wrongly."""
        return Refused(400, f"{self.request.method} {self.request.url.path}: {why}")


def answering(
    look: Callable[[Query], Any],
    *,
    abandoned: bool = True,
    limiter: Callable[[], CapacityLimiter | None] = lambda: None,
) -> Endpoint:
    """An endpoint that calls `look` in a thread: an unknown name is a 404, all but a response JSON.

    `abandoned`: whether the server ends without waiting for the call; not if it hands over what it
    opened. `limiter` is asked for in the event loop; None is the one that all other calls share.
    """

    def call(request: Request) -> Response:
        try:
            answer = look(Query(request))
        except InvalidInput as error:  # always an unknown name here
            raise Refused(404, str(error)) from error
        return answer if isinstance(answer, Response) else Answer(answer)

    async def endpoint(request: Request) -> Response:
        return await to_thread.run_sync(
            call, request, abandon_on_cancel=abandoned, limiter=limiter()
        )

    return endpoint
