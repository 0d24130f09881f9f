"""The Commands and Steps of one workflow as submitted, and the concrete Steps they became.

Compares new definitions with the present ones; the consequences are decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gaia_local.errors import InvalidInput
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.names import as_stored
from gaia_local.model.steps import Step
from gaia_local.model.validation import render_value
from gaia_local.workflow import expansion, templates
from gaia_local.workflow.states import Reason, ReasonKind

STEP_CHANGED = Reason(ReasonKind.STEP_CHANGED)
COMMAND_CHANGED = Reason(ReasonKind.COMMAND_CHANGED)


@dataclass(frozen=True)
class Change:
    """The changes to a workflow's definitions by merging Commands and Steps."""

    removed: list[str]
    """Steps to remove; those that changed are also in `added`."""
    added: list[Step]
    replaced: Mapping[str, Reason]
    """Added Step → the reason why its present outputs don't count."""
    commands: dict[str, AnyCommand]
    """All Commands after the change."""
    new_commands: list[AnyCommand]
    given: dict[str, Step]
    expansions: dict[str, list[str]]


class Submitted:
    """The definitions of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow
        self.edition = 0
        """Counts the changes: the result of `compare` holds as long as this is the same."""
        self.commands: dict[str, AnyCommand] = {}
        self.steps: dict[str, Step] = {}
        """Steps as submitted, before array vars and composite Commands were expanded."""
        self.expansions: dict[str, list[str]] = {}
        """Submitted Step → the names of the Steps it became, unless it is just its own name."""

    def load(self, commands: Iterable[AnyCommand], given: Iterable[Step]) -> list[Step]:
        """Take the stored definitions; returns the concrete Steps."""
        self.commands = {command.name: command for command in commands}
        steps: list[Step] = []
        for step in given:
            with as_stored():
                expanded = expansion.expand(self._workflow, step, self.commands)
            self.steps[step.name] = step
            self._set_expansion(step.name, [concrete.name for concrete in expanded])
            steps.extend(expanded)
        return steps

    def compare(
        self,
        commands: Iterable[AnyCommand],
        steps: Iterable[Step],
        present: Callable[[str], Step],
        most: int,
    ) -> Change:
        """The changes by merging these; `present` gives a concrete Step of the workflow by name.

        Raises `InvalidInput`, also if they make more than `most` Steps, and changes nothing.
        """
        new_commands: dict[str, AnyCommand] = {}
        adjusted: dict[str, AnyCommand] = {}
        for command in {command.name: command for command in commands}.values():
            if not _same(self.commands.get(command.name), command):
                new_commands[command.name] = command
            elif self._adjusts(command):
                adjusted[command.name] = command
        known = {**self.commands, **new_commands, **adjusted}
        given = {step.name: step for step in steps}
        touched = _users(known, set(new_commands))
        affected = dict(given)
        for name, step in self.steps.items() if touched else ():
            if name not in given and step.command in touched:
                affected[name] = step
        self._check_number(affected.values(), known, most, given)
        new, expansions = self._expand(affected, known)
        old = {name: present(name) for outer in affected for name in self.names(outer)}
        replaced = _replaced(old, new, new_commands)
        self._check_templates(
            (step for name, step in new.items() if name in replaced or name not in old), known
        )
        removed = [name for name in old if name not in new]
        lost = {key for name in (*removed, *replaced) for key in old[name].outputs.values()}
        for outer, names in expansions.items():
            for name in names:
                # A new Step that takes over a key: another definition made its file.
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

    def _expand(
        self, steps: Mapping[str, Step], commands: Mapping[str, AnyCommand]
    ) -> tuple[dict[str, Step], dict[str, list[str]]]:
        """The concrete Steps by name, and the names of those that each Step becomes."""
        concrete: dict[str, Step] = {}
        expansions: dict[str, list[str]] = {}
        for outer, submitted in steps.items():
            expanded = expansion.expand(self._workflow, submitted, commands)
            expansions[outer] = [step.name for step in expanded]
            for step in expanded:
                if step.name in concrete:
                    raise InvalidInput(
                        f"workflow {self._workflow!r}, Step {outer!r}",
                        f"it becomes a Step {step.name!r}, and so does another",
                        "give each Step a name of its own",
                    )
                concrete[step.name] = step
        return concrete, expansions

    def _check_templates(self, steps: Iterable[Step], commands: Mapping[str, AnyCommand]) -> None:
        """Refuse Steps whose Commands can't be filled in."""
        verdicts: templates.Verdicts = {}
        for step in steps:
            command = commands[step.command]
            assert isinstance(command, Command)
            templates.check(self._workflow, step, command, verdicts)

    def accept(self, change: Change) -> None:
        """Apply a change that `compare` made."""
        self.edition += 1
        self.commands = change.commands
        self.steps.update(change.given)
        for outer, names in change.expansions.items():
            self._set_expansion(outer, names)

    def names(self, outer: str) -> list[str]:
        """The names of the concrete Steps of a submitted one; none if there is no such Step."""
        return self.expansions.get(outer, [outer] if outer in self.steps else [])

    def _check_number(
        self,
        steps: Iterable[Step],
        commands: Mapping[str, AnyCommand],
        most: int,
        given: Mapping[str, Step],
    ) -> None:
        """Refuse more Steps than a call may make, before they are made: there may be any number."""
        total = 0
        for step, number in expansion.count(self._workflow, steps, commands):
            total += number if step.name in given else max(0, number - len(self.names(step.name)))
            if total > most:
                raise InvalidInput(
                    f"workflow {self._workflow!r}, Step {step.name!r}",
                    f"up to it the call makes {total:,} Steps, and max_steps is {most:,}",
                    "use shorter arrays, several calls, or another max_steps in the configuration",
                )

    def _adjusts(self, command: AnyCommand) -> bool:
        """Whether an equivalent Command is written in another way, or has other resources."""
        return json.dumps(command.definition) != json.dumps(self.commands[command.name].definition)

    def _set_expansion(self, outer: str, names: list[str]) -> None:
        if names != [outer]:
            self.expansions[outer] = names
        else:
            self.expansions.pop(outer, None)


def _replaced(
    old: Mapping[str, Step], new: Mapping[str, Step], new_commands: Collection[str]
) -> dict[str, Reason]:
    """The Steps in both whose definition or Command changed, with the reason."""
    replaced = {}
    for name, step in new.items():
        if name in old and not _same(old[name], step):
            replaced[name] = STEP_CHANGED
        elif name in old and step.command in new_commands:
            replaced[name] = COMMAND_CHANGED
    return replaced


def _same(one: AnyCommand | Step | None, other: AnyCommand | Step) -> bool:
    """Whether two definitions are equivalent: values are compared as the text of tokens."""
    return one is not None and _with_texts(one) == _with_texts(other)


def _with_texts(definition: Any) -> Any:
    """A definition with its values as text, since in Python 1, 1.0 and True are equal."""
    texts = {var: _text(value) for var, value in definition.vars.items()}
    if isinstance(definition, CompositeCommand):
        return replace(definition, vars=texts, steps=tuple(map(_with_texts, definition.steps)))
    return replace(definition, vars=texts)


def _text(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_text, value))
    return None if value is None else render_value(value)


def _users(commands: Mapping[str, AnyCommand], changed: set[str]) -> set[str]:
    """The changed Commands and the composite ones that use them, at any depth."""
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
