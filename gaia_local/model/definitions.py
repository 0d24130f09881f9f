"""Commands, Steps and names as a caller gave them, each parsed or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gaia_local.errors import InvalidInput, shown
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.definition_fields import kind_of, warn_of_unknown_fields
from gaia_local.model.steps import Step
from gaia_local.model.validation import check_list


def parse_commands(workflow: str, given: object) -> list[AnyCommand]:
    """Commands, no two of one name. Raises `InvalidInput`; warns of unknown fields."""
    return _parse_all(workflow, "Command", given, Command.parse)


def parse_steps(workflow: str, given: object) -> list[Step]:
    """Steps, of which no two may have one name. Raises `InvalidInput`; warns of unknown fields."""
    return _parse_all(
        workflow,
        "Step",
        given,
        lambda workflow, step, number: Step.parse(workflow, step, number=number),
    )


def _parse_all(
    workflow: str, kind: str, given: object, parse: Callable[[str, object, int], Any]
) -> list[Any]:
    what = f"{kind.lower()}s"
    definitions = check_list(workflow, what, given)
    try:
        parsed = [parse(workflow, one, number) for number, one in enumerate(definitions, 1)]
    except InvalidInput as fault:
        seem = kind_of(definitions)
        if seem in (kind, None):
            raise
        raise InvalidInput(
            fault.where,
            fault.problem,
            f"{what} seems to hold {seem}s: give Commands as commands, and Steps as steps",
        ) from None
    _check_names(workflow, kind, parsed)
    warn_of_unknown_fields(workflow, kind, definitions)
    return parsed


def _check_names(workflow: str, kind: str, parsed: list[Any]) -> None:
    seen: set[str] = set()
    for definition in parsed:
        if definition.name in seen:
            raise InvalidInput(
                f"workflow {workflow!r}",
                f"two of the {kind}s given are named {definition.name!r}",
                "give each a name of its own",
            )
        seen.add(definition.name)


def check_key_or_step(workflow: str, given: object) -> None:
    """Raise `InvalidInput` unless it can be a key or the name of a Step."""
    if not isinstance(given, str):
        raise InvalidInput(
            f"workflow {workflow!r}",
            f"a name is {shown(given)}",
            "give the name of a Step, or a storage key",
        )
