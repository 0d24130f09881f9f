"""JSON in and out: the checked fields of a call's body, and the answer to a refused one."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gaia_local.errors import GaiaError, InvalidInput, error_text, nearest, shown

MAX_BODY = 64 * 1024 * 1024
"""Bytes that a body may have."""
BODY_TIMEOUT_SECONDS = 10.0
"""Seconds to wait for more of a body."""
_MAX_DRAINED_BODIES = 4
"""A longer body is read and dropped up to so many times that, so its sender reads the refusal."""


class Refused(GaiaError):
    """A request that is refused before a call of `Gaia`, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.status, str(self))


class Answer(Response):
    """An answer as JSON, in ASCII alone, since names may hold text that UTF-8 can't encode."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode("ascii")


@dataclass(frozen=True)
class Field:
    """One field of a call's body."""

    kind: type
    required: bool = True


_KIND_NAMES = {str: "text", list: "a list", dict: "an object", bool: "true or false"}


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request; one of more than `limit` bytes is refused without being stored."""
    refusal = Refused(
        413,
        f"the body has more than {limit} bytes, the most that is taken: serve with a larger"
        " --max-body",
    )
    length = request.headers.get("content-length", "")
    declared = int(length) if length.isdecimal() else 0
    if declared > limit and "expect" in request.headers:  # its sender hasn't sent the body yet
        raise refusal
    parts: list[bytes] = []
    size = 0
    try:
        stream = request.stream()
        while True:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                part = await anext(stream, None)
            if part is None:
                break
            size += len(part)
            if max(size, declared) <= limit:
                parts.append(part)
            else:
                parts.clear()
                if size > _MAX_DRAINED_BODIES * limit:
                    break
    except ClientDisconnect:
        raise Refused(400, "the body is incomplete: the connection ended") from None
    except TimeoutError:
        raise Refused(
            408,
            f"nothing more of the body came for {BODY_TIMEOUT_SECONDS:g} s: send it without pauses",
        ) from None
    if max(size, declared) > limit:
        raise refusal
    return b"".join(parts)


def parse(where: str, body: bytes, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The fields of a call's body. Raises `InvalidInput` for errors that `Gaia` can't notice."""
    try:
        given = json.loads(body, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        problem = (
            "it is nested too deep" if isinstance(error, RecursionError) else error_text(error)
        )
        raise InvalidInput(
            where, f"the body isn't valid JSON ({problem})", "send a JSON object"
        ) from None
    if not isinstance(given, dict):
        raise InvalidInput(where, f"the body is {shown(given)}", "send a JSON object")
    for name, value in given.items():
        if name not in fields:
            raise InvalidInput(
                where, f"there is no field {shown(name)}", nearest(name, fields, "the fields are")
            )
        field = fields[name]
        # Other kinds are refused by `Gaia` itself.
        if field.kind is bool and not isinstance(value, bool | None):
            raise InvalidInput(
                where, f"the field {name!r} is {shown(value)}", f"give {_KIND_NAMES[field.kind]}"
            )
    for name, field in fields.items():
        if field.required and name not in given:
            raise InvalidInput(
                where, f"the field {name!r} is missing", f"give {_KIND_NAMES[field.kind]}"
            )
    return given


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(text)
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not a JSON number")
