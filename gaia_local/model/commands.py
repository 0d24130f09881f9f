"""A Command, plain or composite, read from the JSON that the client sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gaia_local.errors import InvalidInput, shown
from gaia_local.model.definition_fields import advice
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
    reuse: bool = field(default=True, compare=False)
    """Whether results may be reused: not of a program that depends on more than its inputs."""

    @staticmethod
    def parse(
        workflow: str, given: object, number: int | None = None
    ) -> Command | CompositeCommand:
        """Read one Command, composite or not, from its JSON; `number` as in `read_definition`."""
        fields, name, text = read_definition(
            f"workflow {workflow!r}", "Command", given, number=number
        )
        definition = json.loads(text)
        where = f"workflow {workflow!r}, Command {name!r}"
        if fields.get("steps") is not None:
            return CompositeCommand._parse(where, name, fields, definition)
        image = fields.get("image")
        if not isinstance(image, str) or not image.strip():
            right = advice("Command", "image", fields, "give the name of a Docker image, or steps")
            raise InvalidInput(where, f"image is {shown(image)}", right)
        check_text(f"{where}, image", image)
        tokens = fields.get("command")
        if not isinstance(tokens, list | tuple) or not tokens:
            right = 'give a list of tokens, as ["sh", "-c", "ls"]'
            right = advice("Command", "command", fields, right)
            raise InvalidInput(where, f"command is {shown(tokens)}", right)
        command = tuple(
            [
                render_value(read_value(f"{where}, command, token {place}", token))
                for place, token in enumerate(tokens, 1)
            ]
        )
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
        reuse = fields.get("reuse")
        if reuse is not None and not isinstance(reuse, bool):
            raise InvalidInput(where, f"reuse is {shown(reuse)}", "give true or false")
        defaults = read_defaults(where, fields.get("vars"))
        return Command(
            name,
            image,
            command,
            inputs,
            outputs,
            defaults,
            stdout,
            definition,
            resources,
            reuse is not False,
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
        if fields.get("reuse") is not None:  # it would mean nothing, unnoticed
            raise InvalidInput(
                where,
                "it has both reuse and steps",
                "give reuse to the Commands that its Steps invoke",
            )
        inner = fields["steps"]
        if not isinstance(inner, list | tuple) or not inner:
            raise InvalidInput(where, f"steps is {shown(inner)}", "give a list of Steps")
        steps = tuple(
            [
                Step._parse(where, step, check=check_local_name, number=number)
                for number, step in enumerate(inner, 1)
            ]
        )
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
