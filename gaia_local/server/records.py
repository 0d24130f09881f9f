"""What is recorded of Steps, for the status page: attempts, a table, definitions, and plans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gaia_local.errors import InvalidInput
from gaia_local.server.wire import MAX_BODY, Answer, Field, Refused, parse, read_body

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import Plan

_COMPLETE, _RUNNING = "complete", "running"


def routes(gaia: Gaia, max_body: int = MAX_BODY) -> list[BaseRoute]:
    """The addresses of all this; a plan is asked for by POST, since it may name all Steps."""

    def attempts(request: Request) -> Any:
        return gaia.attempts(_workflow(request), _step(request))

    def definition(request: Request) -> Any:
        name = _workflow(request)
        if "step" in request.query_params:
            return gaia.definition(name, _step(request))
        return gaia.definitions(name)

    async def planned(request: Request) -> Response:
        body = await read_body(request, max_body)
        given = parse(f"POST {request.url.path}", body, {"expire": Field(list, required=False)})
        name = _workflow(request)
        return await _in_thread(lambda: plan(gaia, name, given.get("expire")))

    at = "/api/workflows/{name}"
    return [
        Route(f"{at}/attempts", _reading(attempts)),
        Route(f"{at}/table", _reading(lambda request: gaia.table(_workflow(request)))),
        Route(f"{at}/definition", _reading(definition)),
        Route(f"{at}/plan", planned, methods=["POST"]),
    ]


def plan(gaia: Gaia, workflow: str, expire: list[str] | None) -> Plan:
    """What `expire` of these names, or `run`, would do, and what that took the last time."""
    rows = {row["step"]: row for row in gaia.table(workflow)["steps"]}
    answer = (
        gaia.run(workflow, dry_run=True)
        if expire is None
        else gaia.expire(workflow, expire, dry_run=True)
    )
    would = answer["would"]
    # A Step may have come meanwhile: nothing is known of it yet.
    known = [rows[each["step"]] for each in would if each["step"] in rows and "reuse" not in each]
    durations = [row["duration"] for row in known if row["duration"] is not None]
    states = [rows[each["step"]]["state"] for each in would if each["step"] in rows]
    return {
        "would": would,
        "complete": states.count(_COMPLETE),
        "running": states.count(_RUNNING),
        "reused": sum("reuse" in each for each in would),
        "timed": len(durations),
        "seconds": sum(durations),
    }


def _reading(look: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return await _in_thread(lambda: look(request))
        except InvalidInput as error:  # always an unknown name here
            raise Refused(404, str(error)) from error

    return answer


async def _in_thread(look: Callable[[], Any]) -> Response:
    """A call of `Gaia`, which may block; abandoned when the server ends."""
    return await to_thread.run_sync(lambda: Answer(look()), abandon_on_cancel=True)


def _workflow(request: Request) -> str:
    return str(request.path_params["name"])


def _step(request: Request) -> str:
    given = request.query_params.get("step")
    if given is None:
        raise Refused(
            400, f"GET {request.url.path}: the parameter 'step' is missing; write ?step=…"
        )
    return given
