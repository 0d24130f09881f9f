"""A Step, read from the JSON that the client sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gaia_local.errors import InvalidInput, shown
from gaia_local.model.definition_fields import advice
from gaia_local.model.names import check_key_template, check_name, is_plain
from gaia_local.model.validation import (
    Value,
    as_json,
    read_mapping,
    read_texts,
    read_value_or_array,
    shared_text,
)

DEFAULT_TIMEOUT = 3600.0
MAX_TIMEOUT = 1e18


@dataclass(frozen=True, slots=True)
class Step:
    """One invocation of a Command, with its storage keys and vars."""

    name: str
    command: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    vars: Mapping[str, Value | tuple[Value, ...]]
    """A tuple is an array: one Step for each of its values."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds."""
    text: str = field(compare=False, repr=False, default="{}")
    """The JSON as submitted."""

    @property
    def definition(self) -> dict[str, Any]:
        """The JSON as submitted, parsed."""
        definition: dict[str, Any] = json.loads(self.text)
        return definition

    @staticmethod
    def parse(
        workflow: str, given: object, text: str | None = None, number: int | None = None
    ) -> Step:
        """Read one Step from its JSON; a stored Step has its `text` already.

        `number` as in `read_definition`.
        """
        outer = f"workflow {workflow!r}"
        return Step._parse(outer, given, check=check_key_template, text=text, number=number)

    @staticmethod
    def _parse(
        outer: str, given: object, check: Any, text: str | None = None, number: int | None = None
    ) -> Step:
        fields, name, text = read_definition(outer, "Step", given, text, number)
        where = f"{outer}, Step {name!r}"
        command = fields.get("command")
        if not isinstance(command, str) or not command:
            right = advice("Step", "command", fields, "give the name of a Command")
            raise InvalidInput(where, f"command is {shown(command)}", right)
        inputs = read_texts(where, "inputs", fields.get("inputs"))
        outputs = read_texts(where, "outputs", fields.get("outputs"))
        for kind, keys in (("input", inputs), ("output", outputs)):
            for name_inside, storage_key in keys.items():
                if not is_plain(storage_key):
                    check(f"{where}, {kind} {name_inside!r}", storage_key)
        values: Mapping[str, Value | tuple[Value, ...]] = read_mapping(
            where, "vars", fields.get("vars")
        )
        if values:
            values = {
                var: read_value_or_array(f"{where}, var {var!r}", value)
                for var, value in values.items()
            }
        timeout = fields.get("timeout")
        if timeout is None:
            timeout = DEFAULT_TIMEOUT
        elif (
            isinstance(timeout, bool)
            or not isinstance(timeout, int | float)
            or not 0 < timeout <= MAX_TIMEOUT
        ):
            raise InvalidInput(
                where,
                f"timeout is {shown(timeout)}",
                f"give a number of seconds above 0, at most {MAX_TIMEOUT:g}",
            )
        return Step(name, shared_text(command), inputs, outputs, values, float(timeout), text)


def read_definition(
    outer: str, kind: str, given: object, text: str | None = None, number: int | None = None
) -> tuple[Mapping[str, Any], str, str]:
    """The fields of a Command or Step, its name, and its JSON, which is independent of `given`.

    `text` is that JSON, if known; `number` is its place in a list, from 1 on, for messages about
    one without a name.
    """
    if not isinstance(given, Mapping):
        place = _numbered(outer, kind, number)
        raise InvalidInput(place, f"a {kind} is {shown(given)}", "give a dictionary")
    name = given.get("name")
    if not isinstance(name, str):
        right = advice(kind, "name", given, "give a string")
        problem = f"the name of a {kind} is {shown(name)}"
        raise InvalidInput(_numbered(outer, kind, number), problem, right)
    check_name(outer, name, kind)
    fields = dict(given)
    if text is None:
        text = as_json(f"{outer}, {kind} {name!r}", "definition", fields)
    return fields, name, text


def _numbered(outer: str, kind: str, number: int | None) -> str:
    return outer if number is None else f"{outer}, entry {number} of the {kind}s"
