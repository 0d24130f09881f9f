"""The Starlette application: its routes, and its answers to errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from gaia_local.errors import Closed, GaiaError, InvalidInput
from gaia_local.server import endpoints, graphs, reading, secret
from gaia_local.server.guard import Guard, check_access
from gaia_local.server.stream import EventStream
from gaia_local.server.wire import MAX_BODY, Answer, Refused, read_body

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import LogPiece

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]

PAGE = Path(__file__).parent / "page"


def create_app(
    gaia: Gaia,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    no_token: bool = False,
    same_user: bool = False,
    max_body: int = MAX_BODY,
) -> Starlette:
    """The server's ASGI application over `gaia`, which stays the caller's to close.

    `host` is the address that it listens on: requests that name another one are refused (the
    loopback's names are always right). Every request must carry the `token`; if none is given, one
    is made, and is ``app.state.token``. With `no_token` none is needed: all clients that reach the
    server can run programs. With `same_user` the server's own user needs none, if `Server` serves
    the application. Bodies may have `max_body` bytes. Set the `asyncio.Event` ``app.state.closing``
    to end open event streams. Raises `InvalidInput` if `host` isn't loopback and no token is given.
    """
    check_access(host, token, no_token)
    if token is None and not no_token:
        token = secret.new()
    closing = asyncio.Event()
    routes: list[BaseRoute] = []
    for name in endpoints.CALLS:
        routes.append(Route(f"/{name}", _call(gaia, name, max_body), methods=["POST"]))
        routes.append(
            Route(f"/{name}", _post_only, methods=["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
        )
    routes += [
        Route("/api/workflows", _reading(lambda request: reading.workflows(gaia))),
        Route(
            "/api/workflows/{name}",
            _reading(lambda request: reading.workflow(gaia, _name(request))),
        ),
        Route(
            "/api/workflows/{name}/graph",
            _reading(lambda request: graphs.answer(gaia, _name(request))),
        ),
        Route(
            "/api/workflows/{name}/explain",
            _reading(lambda request: gaia.explain(_name(request), _asked(request, "name"))),
        ),
        Route("/api/workflows/{name}/log", _reading(lambda request: _log(gaia, request))),
        Route(
            "/api/workflows/{name}/timeline",
            _reading(lambda request: gaia.timeline(_name(request))),
        ),
        Route("/api/reusable", _reading(lambda request: gaia.reusable())),
        Route("/api/stream", _stream(gaia, closing)),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, host=host, token=token, same_user=same_user)],
        exception_handlers={GaiaError: _refused, HTTPException: _no_such},
    )
    app.state.closing, app.state.token = closing, token
    return app


def _call(gaia: Gaia, name: str, max_body: int) -> Endpoint:
    async def answer(request: Request) -> Response:
        body = await read_body(request, max_body)
        return await _in_thread(lambda: Answer(endpoints.make(gaia, name, body)))

    return answer


def _reading(look: Callable[[Request], Any]) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await _in_thread(lambda: Answer(look(request)))
        except InvalidInput as error:  # always an unknown name here
            raise Refused(404, str(error)) from error

    return answer


def _log(gaia: Gaia, request: Request) -> LogPiece:
    start = reading.offset(request.query_params.get("from", "0"))
    return reading.log(gaia, _name(request), _asked(request, "step"), start)


def _stream(gaia: Gaia, closing: asyncio.Event) -> Endpoint:
    async def answer(request: Request) -> Response:
        workflow = request.query_params.get("workflow")
        if workflow is not None:
            try:
                await _in_thread(lambda: gaia.progress(workflow))
            except InvalidInput as error:
                raise Refused(404, str(error)) from error
        return EventStream(gaia, workflow, closing)

    return answer


def _name(request: Request) -> str:
    return str(request.path_params["name"])


def _asked(request: Request, name: str) -> str:
    """A parameter of the query string."""
    given = request.query_params.get(name)
    if given is None:
        raise Refused(
            400, f"GET {request.url.path}: the parameter {name!r} is missing; write ?{name}=…"
        )
    return given


async def _in_thread(call: Callable[[], T]) -> T:
    """A call of `Gaia`, which may block; abandoned when the server ends."""
    return await to_thread.run_sync(call, abandon_on_cancel=True)


async def _refused(request: Request, error: Exception) -> Response:
    status = (
        error.status if isinstance(error, Refused) else 503 if isinstance(error, Closed) else 400
    )
    return Answer(
        {"error": str(error)}, status, {"connection": "close"} if status in (408, 413) else None
    )


async def _no_such(request: Request, error: Exception) -> Response:
    """The answer to an unknown address or method."""
    assert isinstance(error, HTTPException)
    return Answer(
        {"error": f"{request.method} {request.url.path}: {error.detail}"},
        error.status_code,
        error.headers,
    )


async def _post_only(request: Request) -> Response:
    return Answer(
        {"error": f"{request.method} {request.url.path}: send it with POST"}, 405, {"allow": "POST"}
    )
