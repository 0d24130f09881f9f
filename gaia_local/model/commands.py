"""A Command, plain or composite, read from the JSON that the client sends."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gaia_local.errors import InvalidInput, nearest, shown
from gaia_local.model.names import (
    check_internal_path,
    check_internal_template,
    check_local_name,
    check_places,
)
from gaia_local.model.resources import NONE, Resources
from gaia_local.model.steps import Step, read_definition
from gaia_local.model.validation import (
    Value,
    check_text,
    read_defaults,
    read_names,
    read_texts,
    read_value,
    render_value,
)

logger = logging.getLogger("gaia_local")
_MOST_WARNINGS = 5
"""Of unknown fields, in a call."""


@dataclass(frozen=True)
class Command:
    """A reusable program: an image, the tokens to run in it, and its internal paths."""

    name: str
    image: str
    command: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    vars: Mapping[str, Value | None]
    """Defaults; None: the var has no default, and a Step must give it."""
    stdout: str | None
    definition: Mapping[str, Any] = field(compare=False, repr=False)
    """The JSON as submitted, and as `Gaia.command` answers it."""
    resources: Resources = field(default=NONE, compare=False)
    """Required of a machine. Results don't depend on them: after a change no Step runs again."""

    @staticmethod
    def parse(workflow: str, given: object) -> Command | CompositeCommand:
        """Read one Command, composite or not, from its JSON."""
        fields, name, text = read_definition(f"workflow {workflow!r}", "Command", given)
        definition = json.loads(text)
        where = f"workflow {workflow!r}, Command {name!r}"
        if fields.get("steps") is not None:
            return CompositeCommand._parse(where, name, fields, definition)
        image = fields.get("image")
        if not isinstance(image, str) or not image.strip():
            raise InvalidInput(
                where, f"image is {shown(image)}", "give the name of a Docker image, or steps"
            )
        check_text(f"{where}, image", image)
        tokens = fields.get("command")
        if not isinstance(tokens, list | tuple) or not tokens:
            raise InvalidInput(
                where,
                f"command is {shown(tokens)}",
                'give a list of tokens, as ["sh", "-c", "ls"]',
            )
        command = tuple(render_value(read_value(f"{where}, command", token)) for token in tokens)
        inputs = read_texts(where, "inputs", fields.get("inputs"))
        outputs = read_texts(where, "outputs", fields.get("outputs"))
        stdout = fields.get("stdout")
        for key, path in inputs.items():
            check_internal_template(f"{where}, input {key!r}", path)
        for key, path in outputs.items():
            check_internal_path(f"{where}, output {key!r}", path)
        if stdout is not None:
            check_internal_template(f"{where}, stdout", stdout)
        check_places(where, inputs, outputs, stdout)
        resources = Resources.parse(f"{where}, resources", fields.get("resources"))
        defaults = read_defaults(where, fields.get("vars"))
        return Command(
            name, image, command, inputs, outputs, defaults, stdout, definition, resources
        )


@dataclass(frozen=True)
class CompositeCommand:
    """A Command that is a small workflow: a Step that invokes it becomes its inner Steps."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    vars: Mapping[str, Value | None]
    steps: tuple[Step, ...]
    definition: Mapping[str, Any] = field(compare=False, repr=False)

    @staticmethod
    def _parse(
        where: str, name: str, fields: Mapping[str, Any], definition: Mapping[str, Any]
    ) -> CompositeCommand:
        if fields.get("image") is not None:
            raise InvalidInput(
                where, "it has both image and steps", "a Command has one or the other"
            )
        inner = fields["steps"]
        if not isinstance(inner, list | tuple) or not inner:
            raise InvalidInput(where, f"steps is {shown(inner)}", "give a list of Steps")
        steps = tuple(Step._parse(where, step, check=check_local_name) for step in inner)
        names = [step.name for step in steps]
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            raise InvalidInput(
                where, f"two inner Steps are named {twice!r}", "give each a name of its own"
            )
        inputs = read_names(where, "inputs", fields.get("inputs"))
        outputs = read_names(where, "outputs", fields.get("outputs"))
        return CompositeCommand(
            name, inputs, outputs, read_defaults(where, fields.get("vars")), steps, definition
        )


AnyCommand: TypeAlias = "Command | CompositeCommand"


def warn_of_unknown_fields(workflow: str, kind: str, given: Iterable[Mapping[str, Any]]) -> None:
    """Warn of unknown fields in parsed definitions: the first few, and the number of the rest."""
    found = _unknown_fields(f"workflow {workflow!r}", kind, given)
    for where, name, known in itertools.islice(found, _MOST_WARNINGS):
        logger.warning(
            "%s: the field %s means nothing here; %s", where, shown(name), nearest(name, known)
        )
    if more := sum(1 for _ in found):
        logger.warning("workflow %r: %d more fields of %ss mean nothing here", workflow, more, kind)


def _unknown_fields(
    outer: str, kind: str, given: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, object, frozenset[str]]]:
    """The place, the unknown field, and the known ones."""
    known = _STEP_FIELDS if kind == "Step" else _COMMAND_FIELDS
    for definition in given:
        if definition.keys() <= known and "steps" not in definition:
            continue
        where = f"{outer}, {kind} {definition['name']!r}"
        yield from ((where, name, known) for name in definition if name not in known)
        if kind == "Command":
            yield from _unknown_fields(where, "Step", definition.get("steps") or ())


_COMMAND_FIELDS = frozenset(
    {"name", "image", "command", "inputs", "outputs", "vars", "stdout", "steps", "resources"}
)
_STEP_FIELDS = frozenset({"name", "command", "inputs", "outputs", "vars", "timeout"})
