"""The Commands and Steps of one workflow as they were given, and the Steps that these became.

Compares what is given anew with what there is; what follows for files and Tasks is the `Workflow`'s
to decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gaia_local.errors import InvalidInput
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.names import as_stored
from gaia_local.model.steps import Step
from gaia_local.model.validation import render_value
from gaia_local.workflow import templates
from gaia_local.workflow.states import Reason, ReasonKind

STEP_CHANGED = Reason(ReasonKind.STEP_CHANGED)
COMMAND_CHANGED = Reason(ReasonKind.COMMAND_CHANGED)


@dataclass(frozen=True)
class Change:
    """What new Commands and Steps ask for."""

    removed: list[str]
    """Steps to be taken out; those that changed are added again."""
    added: list[Step]
    replaced: Mapping[str, Reason]
    """Step among the added → why what it made so far doesn't count."""
    commands: dict[str, AnyCommand]
    """All that there will be."""
    new_commands: list[AnyCommand]
    given: dict[str, Step]
    expansions: dict[str, list[str]]


class Submitted:
    """What was given of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow
        self.edition = 0
        """Counts the changes: what `compare` said holds as long as this is the same."""
        self.commands: dict[str, AnyCommand] = {}
        self.steps: dict[str, Step] = {}
        """Steps as they were given, before array vars and composite Commands were expanded."""
        self.expansions: dict[str, list[str]] = {}
        """Submitted Step → the names of the Steps it became, unless that is its own alone."""

    def load(self, commands: Iterable[AnyCommand], given: Iterable[Step]) -> list[Step]:
        """Take in what was stored; answers the Steps that it became."""
        self.commands = {command.name: command for command in commands}
        steps: list[Step] = []
        for step in given:
            with as_stored():
                expanded = templates.expand(self._workflow, step, self.commands)
            self.steps[step.name] = step
            self._became(step.name, [each.name for each in expanded])
            steps.extend(expanded)
        return steps

    def compare(
        self,
        commands: Iterable[AnyCommand],
        steps: Iterable[Step],
        there: Callable[[str], Step],
        most: int,
    ) -> Change:
        """What is to change when these are merged; `there` has each Step there is.

        Raises `InvalidInput`, also for what makes more than `most` Steps, and changes nothing.
        """
        told = {command.name: command for command in commands}
        new_commands = {
            name: command
            for name, command in told.items()
            if not _same(self.commands.get(name), command)
        }
        adjusted = {
            name: command
            for name, command in told.items()
            if name not in new_commands and self._adjusts(command)
        }
        given = {step.name: step for step in steps}
        known = {**self.commands, **new_commands, **adjusted}
        touched = _users(known, set(new_commands))
        users = self.steps if touched else {}
        again = {
            name: step
            for name, step in users.items()
            if name not in given and step.command in touched
        }
        self._check_number([*given.values(), *again.values()], known, most, given)
        expansions: dict[str, list[str]] = {}
        old = {name: there(name) for outer in (*given, *again) for name in self.names(outer)}
        new: dict[str, Step] = {}
        replaced: dict[str, Reason] = {}
        for outer, step in (*given.items(), *again.items()):
            expanded = templates.expand(self._workflow, step, known)
            expansions[outer] = [each.name for each in expanded]
            for each in expanded:
                if each.name in new:
                    raise InvalidInput(
                        f"workflow {self._workflow!r}, Step {outer!r}",
                        f"it becomes a Step {each.name!r}, and so does another",
                        "give each Step a name of its own",
                    )
                new[each.name] = each
                if each.name in old and not _same(old[each.name], each):
                    replaced[each.name] = STEP_CHANGED
                elif each.name in old and each.command in new_commands:
                    replaced[each.name] = COMMAND_CHANGED
        verdicts: templates.Verdicts = {}
        for name, each in new.items():
            if name in replaced or name not in old:
                command = known[each.command]
                assert isinstance(command, Command)
                templates.check(self._workflow, each, command, verdicts)
        removed = [name for name in old if name not in new]
        lost = {key for name in (*removed, *replaced) for key in old[name].outputs.values()}
        for outer, names in expansions.items():
            for name in (
                names
            ):  # a new Step that takes over a key: what lies there was made by another definition
                if name not in old and not lost.isdisjoint(new[name].outputs.values()):
                    replaced[name] = STEP_CHANGED if outer in given else COMMAND_CHANGED
        return Change(
            [*removed, *(name for name in replaced if name in old)],
            [step for name, step in new.items() if name in replaced or name not in old],
            replaced,
            known,
            [*new_commands.values(), *adjusted.values()],
            given,
            expansions,
        )

    def accept(self, change: Change) -> None:
        """Take in what `compare` came to."""
        self.edition += 1
        self.commands = change.commands
        self.steps.update(change.given)
        for outer, names in change.expansions.items():
            self._became(outer, names)

    def names(self, outer: str) -> list[str]:
        """The names of the Steps that a submitted one, if there is such, became."""
        return self.expansions.get(outer, [outer] if outer in self.steps else [])

    def _check_number(
        self,
        steps: list[Step],
        commands: Mapping[str, AnyCommand],
        most: int,
        given: Mapping[str, Step],
    ) -> None:
        """Refuse more Steps than a call may make: before they are made, for their number can grow
        beyond all bounds.
        """
        total = 0
        for step, number in templates.count(self._workflow, steps, commands):
            total += number if step.name in given else max(0, number - len(self.names(step.name)))
            if total > most:
                raise InvalidInput(
                    f"workflow {self._workflow!r}, Step {step.name!r}",
                    f"up to it the call makes {total:,} Steps, and max_steps is {most:,}",
                    "use shorter arrays, several calls, or another max_steps in the configuration",
                )

    def _adjusts(self, command: AnyCommand) -> bool:
        """Whether a Command that comes to the same is told in another way, or asks another machine
        for it.
        """
        return json.dumps(command.definition) != json.dumps(self.commands[command.name].definition)

    def _became(self, outer: str, names: list[str]) -> None:
        if names != [outer]:
            self.expansions[outer] = names
        else:
            self.expansions.pop(outer, None)


def _same(one: AnyCommand | Step | None, other: AnyCommand | Step) -> bool:
    """Whether two definitions come to the same: values count as the text that they become in a
    token.
    """
    return one is not None and _told(one) == _told(other)


def _told(given: Any) -> Any:
    """A definition with its values as text. Python's own comparison takes 1, 1.0 and True for the
    same.
    """
    told = replace(given, vars={var: _text(value) for var, value in given.vars.items()})
    return (
        replace(told, steps=tuple(map(_told, given.steps)))
        if isinstance(given, CompositeCommand)
        else told
    )


def _text(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_text, value))
    return None if value is None else render_value(value)


def _users(commands: Mapping[str, AnyCommand], changed: set[str]) -> set[str]:
    """The changed Commands and the composite ones that use them, at whatever depth."""
    touched = set(changed)
    grew = bool(changed)
    while grew:
        users = {
            name
            for name, command in commands.items()
            if isinstance(command, CompositeCommand)
            and any(step.command in touched for step in command.steps)
        }
        grew = not users <= touched
        touched |= users
    return touched
