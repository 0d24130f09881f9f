"""What is recorded of Steps, for the status page: attempts, a table, definitions, and plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gaia_local.server.asking import Query, answering
from gaia_local.server.wire import MAX_BODY, Answer, Field, parse, read_body

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import Plan

_COMPLETE, _RUNNING = "complete", "running"


def routes(gaia: Gaia, max_body: int = MAX_BODY) -> list[BaseRoute]:
    """The addresses of all this; a plan is asked for by POST, since it may name all Steps."""

    def attempts(query: Query) -> Any:
        return gaia.attempts(query.workflow, query.asked("step"))

    def definition(query: Query) -> Any:
        step = query.get("step")
        if step is None:
            return gaia.definitions(query.workflow)
        return gaia.definition(query.workflow, step)

    async def planned(request: Request) -> Response:
        body = await read_body(request, max_body)
        given = parse(f"POST {request.url.path}", body, {"expire": Field(list, required=False)})
        name = Query(request).workflow
        return await to_thread.run_sync(
            lambda: Answer(plan(gaia, name, given.get("expire"))), abandon_on_cancel=True
        )

    at = "/api/workflows/{name}"
    return [
        Route(f"{at}/attempts", answering(attempts)),
        Route(f"{at}/table", answering(lambda query: gaia.table(query.workflow))),
        Route(f"{at}/definition", answering(definition)),
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
