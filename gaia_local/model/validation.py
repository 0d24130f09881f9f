"""Reads and checks values from a caller; `InvalidInput` names the invalid one.

The results are copies, independent of later changes of the caller's objects.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

from gaia_local.errors import InvalidInput, shown

Value: TypeAlias = "str | int | float | bool"
"""The value of a var once arrays are expanded."""

MAX_NESTING = 100
"""Levels of lists and dictionaries in a Command, a Step or properties: Python's stack is finite."""
MAX_VALUES = 2_000_000
"""Values in one of them; one that YAML's aliases use in many places counts in each."""
MAX_JSON_CHARACTERS = 100_000_000
"""Characters of text in one of them."""
NOTHING: Mapping[str, Any] = {}
"""The inputs, outputs or vars of a Step that has none: one object for very many Steps."""

_COLLECTIONS = (dict, list, tuple)
_ENCODER = json.JSONEncoder(allow_nan=False)


def check_text(where: str, text: str) -> None:
    """Text that a program can be given: no NUL, and encodable."""
    if "\0" in text:
        raise InvalidInput(where, f"{text!r} holds a NUL", "leave it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            where, f"{text!r} cannot be encoded", "give valid unicode text"
        ) from None


def check_list(workflow: str, what: str, given: object) -> list[Any]:
    """The list argument of a call."""
    if not isinstance(given, list | tuple):
        raise InvalidInput(
            f"workflow {workflow!r}",
            f"{what} is a {type(given).__name__}",
            f"give a list of {what}",
        )
    return list(given)


def _check_size(where: str, what: str, given: Mapping[str, Any]) -> None:
    level: list[Any] = [given]
    values = characters = 0
    for _ in range(MAX_NESTING + 1):
        next_level: list[Any] = []
        for value in level:
            if isinstance(value, str):
                characters += len(value)
            elif isinstance(value, _COLLECTIONS):
                values += len(value)
                if values > MAX_VALUES:
                    raise InvalidInput(
                        where,
                        f"the {what} holds over {MAX_VALUES:,} values",
                        "use a file for so many",
                    )
                next_level += value
                if isinstance(value, dict):
                    next_level += value.values()
        if characters > MAX_JSON_CHARACTERS:
            raise InvalidInput(
                where,
                f"the {what} holds over {MAX_JSON_CHARACTERS:,} characters",
                "use a file for so much text",
            )
        if not next_level:
            return
        level = next_level
    raise InvalidInput(
        where, f"the {what} is nested over {MAX_NESTING} levels deep", "use fewer levels"
    )


def read_mapping(where: str, what: str, given: object) -> Mapping[str, Any]:
    """A dictionary whose keys are texts; None stands for an empty one."""
    if given is None:
        return NOTHING
    if not isinstance(given, Mapping):
        raise InvalidInput(where, f"{what} is {shown(given)}", "give a dictionary")
    for key in given:
        if not isinstance(key, str) or not key:
            raise InvalidInput(
                where, f"{what} has the key {shown(key)}", "use text that isn't empty"
            )
        if not key.isascii() or "\0" in key:
            check_text(f"{where}, {what}", key)
    return {shared_text(key): value for key, value in given.items()} or NOTHING


def read_texts(where: str, what: str, given: object) -> Mapping[str, str]:
    """A dictionary of texts."""
    texts = read_mapping(where, what, given)
    for key, text in texts.items():
        if not isinstance(text, str):
            raise InvalidInput(where, f"{what} {key!r} is {shown(text)}", "give a string")
    return texts


def read_names(where: str, what: str, given: object) -> tuple[str, ...]:
    """A list of names, each different."""
    if given is None:
        return ()
    if not isinstance(given, list | tuple) or not all(
        isinstance(name, str) and name for name in given
    ):
        raise InvalidInput(
            where, f"{what} is {shown(given)}", "a composite Command takes a list of names"
        )
    for name in given:
        check_text(f"{where}, {what}", name)
    if len(set(given)) < len(given):
        raise InvalidInput(
            where, f"{what} has a name twice: {shown(list(given))}", "name each once"
        )
    return tuple(given)


def read_defaults(where: str, given: object) -> dict[str, Value | None]:
    """Vars with their defaults, or a list of their names alone."""
    if isinstance(given, list | tuple):
        return dict.fromkeys(read_names(where, "vars", given))
    return {
        var: read_value(f"{where}, var {var!r}", value)
        for var, value in read_mapping(where, "vars", given).items()
    }


def read_value_or_array(where: str, given: object) -> Value | tuple[Value, ...]:
    """The value of a var in a Step."""
    return (
        tuple([read_value(where, one) for one in given])
        if isinstance(given, list | tuple)
        else read_value(where, given)
    )


def read_value(where: str, given: object) -> Value:
    """A single value."""
    if isinstance(given, str):
        check_text(where, given)
        return given
    if isinstance(given, bool | int | float):
        return given
    raise InvalidInput(where, f"the value is {shown(given)}", "give text, a number or a boolean")


def as_json(where: str, what: str, given: Mapping[str, Any]) -> str:
    """A dictionary as JSON; too large ones, and values that JSON can't hold, are refused."""
    _check_size(where, what, given)
    try:
        return _ENCODER.encode(given)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            where,
            f"the {what} can't be written as JSON ({error})",
            "use text, numbers, lists, dictionaries",
        ) from None


def render_value(value: Value) -> str:
    """A var's value as text: booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def shared_text(text: str) -> str:
    """A text that many Steps have in common, kept once."""
    return sys.intern(text) if type(text) is str else text
