"""The endpoints of a Gaia server: ``POST /NAME`` with a JSON object.

The real server has neither `update` nor `remove`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gaia_local.server.wire import Field, parse

if TYPE_CHECKING:
    from gaia_local import Gaia


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: the fields of its body, and the call of `Gaia` that answers it."""

    fields: Mapping[str, Field]
    make: Callable[[Gaia, Mapping[str, Any]], Mapping[str, Any]]


_WORKFLOW = {"workflow": Field(str)}

CALLS: dict[str, Endpoint] = {
    "workflows": Endpoint({}, lambda gaia, body: gaia.workflows()),
    "upload": Endpoint(
        {**_WORKFLOW, "properties": Field(dict), "commands": Field(list), "steps": Field(list)},
        lambda gaia, body: gaia.upload(
            body["workflow"], body["properties"], body["commands"], body["steps"]
        ),
    ),
    "command": Endpoint(
        {**_WORKFLOW, "commands": Field(list, required=False)},
        lambda gaia, body: gaia.command(body["workflow"], body.get("commands")),
    ),
    "merge": Endpoint(
        {**_WORKFLOW, "steps": Field(list, required=False)},
        lambda gaia, body: gaia.merge(body["workflow"], body.get("steps")),
    ),
    "update": Endpoint(
        {
            **_WORKFLOW,
            "commands": Field(list, required=False),
            "steps": Field(list, required=False),
        },
        lambda gaia, body: gaia.update(body["workflow"], body.get("commands"), body.get("steps")),
    ),
    "remove": Endpoint(
        {**_WORKFLOW, "names": Field(list), "data": Field(bool, required=False)},
        lambda gaia, body: gaia.remove(body["workflow"], body["names"], body.get("data", False)),
    ),
    "run": Endpoint(_WORKFLOW, lambda gaia, body: gaia.run(body["workflow"])),
    "halt": Endpoint(_WORKFLOW, lambda gaia, body: gaia.halt(body["workflow"])),
    "status": Endpoint(
        {**_WORKFLOW, "debug": Field(bool, required=False)},
        lambda gaia, body: gaia.status(body["workflow"], body.get("debug", False)),
    ),
    "expire": Endpoint(
        {**_WORKFLOW, "expire": Field(list)},
        lambda gaia, body: gaia.expire(body["workflow"], body["expire"]),
    ),
}
"""Endpoint, by name."""


def make(gaia: Gaia, name: str, body: bytes) -> Mapping[str, Any]:
    """The answer to one call. Raises `GaiaError` if it is refused."""
    call = CALLS[name]
    return call.make(gaia, parse(f"POST /{name}", body, call.fields))
