"""The Starlette application: its routes, and its answers to errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from gaia_local.errors import Closed, GaiaError, InvalidInput
from gaia_local.server import endpoints, files, graphs, logs, reading, records, secret
from gaia_local.server.asking import Endpoint, Query, answering
from gaia_local.server.feed import Feed
from gaia_local.server.guard import Guard, check_access
from gaia_local.server.known import Follow
from gaia_local.server.stream import EventStream
from gaia_local.server.wire import MAX_BODY, Answer, Refused, read_body

if TYPE_CHECKING:
    from gaia_local import Gaia

T = TypeVar("T")

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
        Route("/api/workflows", answering(lambda query: reading.workflows(gaia))),
        Route(
            "/api/workflows/{name}",
            answering(lambda query: gaia.details(query.workflow)),
        ),
        Route(
            "/api/workflows/{name}/graph",
            answering(lambda query: graphs.answer(gaia, query.workflow)),
        ),
        Route(
            "/api/workflows/{name}/explain",
            answering(lambda query: gaia.explain(query.workflow, query.asked("name"))),
        ),
        *logs.routes(gaia),
        Route(
            "/api/workflows/{name}/timeline",
            answering(lambda query: gaia.timeline(query.workflow)),
        ),
        *records.routes(gaia, max_body),
        Route("/api/reusable", answering(lambda query: gaia.reusable())),
        Route("/api/stream", _stream(gaia, closing)),
        *files.routes(gaia),
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


def _stream(gaia: Gaia, closing: asyncio.Event) -> Endpoint:
    feed = Feed(gaia)

    async def answer(request: Request) -> Response:
        follow = _followed(request)
        for name in follow.names:
            try:
                await _in_thread(lambda name=name: gaia.listed(name))  # type: ignore[misc]
            except InvalidInput as error:
                raise Refused(404, str(error)) from error
        return EventStream(gaia, feed, follow, closing)

    return answer


def _followed(request: Request) -> Follow:
    query = Query(request)
    one, many = query.get("workflow"), query.all("follow")
    if one is not None and many:
        raise query.refused("it has both 'workflow' and 'follow'; give one of them")
    return Follow(frozenset(many), False) if many else Follow(frozenset(filter(None, [one])), True)


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
