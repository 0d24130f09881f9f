"""The fields of Commands and Steps: warnings of unknown ones, hints at misspelled ones."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gaia_local.errors import nearest, shown

logger = logging.getLogger("gaia_local")

FIELDS = {
    "Command": (
        *("name", "image", "command", "inputs", "outputs", "vars", "stdout", "steps"),
        *("resources", "reuse"),
    ),
    "Step": ("name", "command", "inputs", "outputs", "vars", "timeout"),
}
"""Kind of definition → its fields."""
_OTHER_WORDS = {"name": ("key", "id", "step", "title", "label"), "command": ("cmd", "run", "args")}
"""Field → words that people use for it elsewhere."""
_OF_COMMANDS = frozenset({"image", "steps", "stdout", "resources", "reuse"})
_MOST_WARNINGS = 5
"""Of unknown fields, in a call."""


def misspelled(kind: str, field: str, given: Mapping[Any, Any]) -> str | None:
    """The unknown field of a definition that probably stands for `field`, which it lacks."""
    if field in given:
        return None
    unknown = [name for name in given if isinstance(name, str) and name not in FIELDS[kind]]
    folded = {name.strip().casefold(): name for name in reversed(unknown)}
    for word in (field, *_OTHER_WORDS.get(field, ())):
        if word in folded:
            return folded[word]
    return next((name for name in unknown if "did you mean" in nearest(name, [field])), None)


def advice(kind: str, field: str, given: Mapping[Any, Any], right: str) -> str:
    """How to put right a missing or wrong field: `right`, or to rename a misspelled one."""
    wrong = misspelled(kind, field, given)
    return right if wrong is None else f"write {field!r} instead of {shown(wrong)}"


def warn_of_unknown_fields(workflow: str, kind: str, given: Iterable[Mapping[str, Any]]) -> None:
    """Warn of unknown fields in parsed definitions, those of one name in one line.

    Of many names, the first few get a line each, and the rest one together.
    """
    found: dict[tuple[str, object], list[str]] = {}
    for where, inner_kind, name in unknown_fields(f"workflow {workflow!r}", kind, given):
        found.setdefault((inner_kind, name), []).append(where)
    for (inner_kind, name), places in itertools.islice(found.items(), _MOST_WARNINGS):
        where = places[0]
        if len(places) > 1:
            where = f"workflow {workflow!r}, {len(places)} {inner_kind}s"
        known = nearest(name, FIELDS[inner_kind])
        logger.warning("%s: the field %s means nothing here; %s", where, shown(name), known)
    if more := sum(map(len, itertools.islice(found.values(), _MOST_WARNINGS, None))):
        logger.warning("workflow %r: %d more fields of %ss mean nothing here", workflow, more, kind)


def unknown_fields(
    outer: str, kind: str, given: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str, object]]:
    """The place, the kind of the definition there, and its unknown field."""
    known = frozenset(FIELDS[kind])
    for definition in given:
        if definition.keys() <= known and "steps" not in definition:
            continue
        where = f"{outer}, {kind} {definition['name']!r}"
        yield from ((where, kind, name) for name in definition if name not in known)
        if kind == "Command":
            yield from unknown_fields(where, "Step", definition.get("steps") or ())


def kind_of(definitions: object) -> str | None:
    """What a list seems to hold, by the fields of its entries: "Command", "Step", or None."""
    votes = [0, 0]
    for given in definitions if isinstance(definitions, list | tuple) else ():
        if isinstance(given, Mapping):
            votes[0] += not given.keys().isdisjoint(_OF_COMMANDS)
            votes[1] += isinstance(given.get("command"), str) and "image" not in given
    return None if votes[0] == votes[1] else "Command" if votes[0] > votes[1] else "Step"
