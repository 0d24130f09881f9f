"""The change by which Steps and Commands leave a workflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gaia_local.errors import InvalidInput, nearest
from gaia_local.model.commands import AnyCommand
from gaia_local.workflow.fitness import used_commands
from gaia_local.workflow.submissions import Change, Submitted


def removal(workflow: str, submitted: Submitted, names: Iterable[str]) -> Change:
    """The change by removing submitted Steps, and Commands that no other Step uses.

    A name that a Step and a Command have means the Step. Raises `InvalidInput` for unknown names
    and for used Commands.
    """
    steps: dict[str, None] = {}
    commands: dict[str, None] = {}
    for name in names:
        if name in submitted.steps:
            steps[name] = None
        elif name in submitted.commands:
            commands[name] = None
        else:
            raise _unknown(workflow, submitted, name)
    _refuse_used(workflow, submitted, steps, commands)
    left: dict[str, AnyCommand] = {
        name: command for name, command in submitted.commands.items() if name not in commands
    }
    return Change(
        removed=[name for outer in steps for name in submitted.names(outer)],
        added=[],
        replaced={},
        commands=left,
        new_commands=[],
        given={},
        expansions={},
        unfit={},
        mended=[],
        gone_steps=list(steps),
        gone_commands=list(commands),
    )


def _refuse_used(
    workflow: str, submitted: Submitted, steps: Mapping[str, None], commands: Mapping[str, None]
) -> None:
    users: dict[str, list[str]] = {name: [] for name in commands}
    used: dict[str, set[str]] = {}
    """Command → those of `commands` that it is or uses."""
    for step in submitted.steps.values() if commands else ():
        if step.name in steps:
            continue
        if step.command not in used:
            needed = used_commands(step.command, submitted.commands)
            used[step.command] = needed.keys() & commands.keys()
        for name in used[step.command]:
            users[name].append(step.name)
    for name, using in users.items():
        if using:
            more = f" and {len(using) - 1} more use" if len(using) > 1 else " uses"
            raise InvalidInput(
                f"workflow {workflow!r}, Command {name!r}",
                f"Step {using[0]!r}{more} it",
                "remove them in the same call, or merge them with another Command first",
            )


def _unknown(workflow: str, submitted: Submitted, name: str) -> InvalidInput:
    where = f"workflow {workflow!r}"
    for outer, names in submitted.expansions.items():
        if name in names:
            problem = f"the Step {name!r} was made from the Step {outer!r}"
            return InvalidInput(where, problem, f"remove {outer!r}, or merge it without this one")
    problem = f"there is no Step and no Command {name!r}"
    known = [*submitted.steps, *submitted.commands]
    return InvalidInput(where, problem, nearest(name, known, "Steps and Commands"))
