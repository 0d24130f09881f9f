"""Commands, Steps and names as a caller gave them, each parsed or refused."""

from __future__ import annotations

from typing import Any

from gaia_local.errors import InvalidInput, shown
from gaia_local.model.commands import AnyCommand, Command, warn_of_unknown_fields
from gaia_local.model.steps import Step
from gaia_local.model.validation import check_list


def parse_commands(workflow: str, given: object) -> list[AnyCommand]:
    """Commands, no two of one name. Raises `InvalidInput`; warns of unknown fields."""
    commands = check_list(workflow, "commands", given)
    parsed = _without_duplicates(
        workflow, "Command", [Command.parse(workflow, command) for command in commands]
    )
    warn_of_unknown_fields(workflow, "Command", commands)
    return parsed


def parse_steps(workflow: str, given: object) -> list[Step]:
    """Steps, of which no two may have one name. Raises `InvalidInput`; warns of unknown fields."""
    steps = check_list(workflow, "steps", given)
    parsed = _without_duplicates(workflow, "Step", [Step.parse(workflow, step) for step in steps])
    warn_of_unknown_fields(workflow, "Step", steps)
    return parsed


def _without_duplicates(workflow: str, kind: str, parsed: list[Any]) -> list[Any]:
    seen: set[str] = set()
    for definition in parsed:
        if definition.name in seen:
            raise InvalidInput(
                f"workflow {workflow!r}",
                f"two of the {kind}s given are named {definition.name!r}",
                "give each a name of its own",
            )
        seen.add(definition.name)
    return parsed


def check_key_or_step(workflow: str, given: object) -> None:
    """Raise `InvalidInput` unless it can be a key or the name of a Step."""
    if not isinstance(given, str):
        raise InvalidInput(
            f"workflow {workflow!r}",
            f"a name is {shown(given)}",
            "give the name of a Step, or a storage key",
        )
