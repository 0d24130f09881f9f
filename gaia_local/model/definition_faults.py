"""All faults of one definition, where parsing tells only the first, and which part of it is faulty.

A part is to blame for a refusal if the definition without it, or with a valid stand-in, isn't
refused for the same reason. The rest is then parsed again, so that there is one parser and no
second list of its rules.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from gaia_local.errors import InvalidInput
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.definition_fields import misspelled
from gaia_local.model.steps import Step

_STAND_INS: dict[str, dict[str, Any]] = {
    "Command": {
        "image": "image",
        "command": ["command"],
        "steps": [{"name": "unnamed", "command": "command"}],
        "name": "unnamed",
    },
    "Step": {"command": "command", "name": "unnamed"},
}
"""Kind → valid values; the name comes last, since all messages hold it."""
_REQUIRED = {"Command": ("image", "command", "name"), "Step": ("command", "name")}
_LISTS = {("Command", "steps"): "Steps", ("Command", "command"): "tokens"}
"""Kind and field → the kind of list that the field holds."""
_MOST_PARTS = 200
"""The most parts of a value that are tried: each is a parse."""
_MOST_FAULTS = 20
"""Of one definition."""
_VALUE = re.compile(r" is |: ")
"""In a message, what comes before a value that it shows."""


class Fault(NamedTuple):
    """A fault, and the keys and indices that lead from the definition to it."""

    way: tuple[Any, ...]
    error: InvalidInput


def parse(workflow: str, kind: str, given: object, number: int) -> AnyCommand | Step:
    """A Command or Step, the entry of that number in its list. Raises `InvalidInput`."""
    if kind == "Command":
        return Command.parse(workflow, given, number)
    return Step.parse(workflow, given, number=number)


def parse_or_blame(
    workflow: str, kind: str, given: object, number: int
) -> tuple[AnyCommand | Step | None, list[Fault]]:
    """A Command or Step, or None and its faults."""
    faults: list[Fault] = []
    while len(faults) < _MOST_FAULTS:
        try:
            parsed = parse(workflow, kind, given, number)
        except InvalidInput as error:
            reason = _reason(error)

            def is_other(changed: object, reason: tuple[str, str] = reason) -> bool:
                try:
                    parse(workflow, kind, changed, number)
                except InvalidInput as error:
                    return _reason(error) != reason
                return True

            way, mended = _blame(kind, given, is_other)
            faults.append(Fault(way, error))
            if mended is None:
                break
            given = mended
        else:
            return (None if faults else parsed), faults
    return None, faults


def _reason(error: InvalidInput) -> tuple[str, str]:
    """What two refusals for one fault have in common, though the values they show may differ."""
    return error.where, _VALUE.split(error.problem)[0]


def _blame(
    kind: str, value: Any, is_other: Callable[[Any], bool]
) -> tuple[tuple[Any, ...], Any | None]:
    """The way to the faulty part, and the value without that fault; None if no part is to blame.

    `kind` is "" for what is no definition, and no list of its own kind; `is_other` says whether a
    changed value has another fault or none.
    """
    for step, changed, inner_kind in itertools.islice(_changes(kind, value), _MOST_PARTS):
        if not is_other(changed):
            continue
        if isinstance(value, Mapping) and step not in value:  # it lacks a field
            wrong = misspelled(kind, step, value)
            return (() if wrong is None else (wrong,)), changed

        def is_other_inside(inner: Any, step: Any = step) -> bool:
            return is_other(_with(value, step, inner))

        way, mended = _blame(inner_kind, value[step], is_other_inside)
        return (step, *way), changed if mended is None else _with(value, step, mended)
    return (), None


def _changes(kind: str, value: Any) -> Iterator[tuple[Any, Any, str]]:
    """Each key or index, the value with that part replaced or left out, and the part's kind."""
    if isinstance(value, Mapping):
        stand_ins = _STAND_INS.get(kind, {})
        for key in reversed(value):
            if key not in stand_ins:
                yield key, {one: value[one] for one in value if one != key}, ""
        composite = value.get("steps") is not None
        for key, stand_in in stand_ins.items():
            if key == "image" and composite:  # it has none
                yield from [(key, {**value, key: None}, "")] if key in value else []
            elif key in value or key in _REQUIRED[kind]:
                yield key, {**value, key: stand_in}, _LISTS.get((kind, key), "")
    elif isinstance(value, list | tuple):
        for index in reversed(range(len(value))):
            rest = value[index + 1 :]
            if kind == "Steps":
                rest = [{"name": f"unnamed-{index}", "command": "command"}, *rest]
            elif kind == "tokens":
                rest = ["token", *rest]
            yield index, [*value[:index], *rest], "Step" if kind == "Steps" else ""


def _with(value: Any, step: Any, inner: Any) -> Any:
    if isinstance(value, Mapping):
        return {**value, step: inner}
    return [*value[:step], inner, *value[step + 1 :]]
