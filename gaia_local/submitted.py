"""The Commands and Steps of one workflow as they were given, and the Steps that these became.

Compares what is given anew with what there is; what follows for files and Tasks is the `Workflow`'s to decide.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gaia_local import templates
from gaia_local.database import Database
from gaia_local.errors import InvalidInput
from gaia_local.model import AnyCommand, Command, CompositeCommand, Step


@dataclass(frozen=True)
class Change:
    """What new Commands and Steps ask for."""

    removed: list[str]
    """Steps to be taken out; those that changed are added again."""
    added: list[Step]
    replaced: Mapping[str, str]
    """Step among the added → why what it made so far doesn't count: ``step changed`` or ``command changed``."""
    commands: dict[str, AnyCommand]
    """All that there will be."""
    new_commands: list[AnyCommand]
    given: dict[str, Step]
    expansions: dict[str, list[str]]


class Submitted:
    """What was given of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow
        self.commands: dict[str, AnyCommand] = {}
        self.steps: dict[str, Step] = {}
        """Steps as they were given, before array vars and composite Commands were expanded."""
        self.expansions: dict[str, list[str]] = {}
        """Submitted Step → the names of the Steps it became, unless that is its own alone."""
        self._unwritten_commands: list[AnyCommand] = []
        self._unwritten_steps: list[Step] = []

    def load(self, database: Database) -> list[Step]:
        """Read what was stored; answers the Steps that it became."""
        name = self._workflow
        for command in database.definitions("commands", name, lambda given, _: Command.parse(name, given)):
            self.commands[command.name] = command
        steps: list[Step] = []
        for step in database.definitions("steps", name, lambda given, text: Step.parse(name, given, text)):
            expanded = templates.expand(name, step, self.commands)
            self.steps[step.name] = step
            self._became(step.name, [each.name for each in expanded])
            steps.extend(expanded)
        return steps

    def compare(self, commands: Iterable[AnyCommand], steps: Iterable[Step], there: Callable[[str], Step]) -> Change:
        """What is to change when these are merged; `there` has each Step there is. Raises `InvalidInput`, changes nothing."""
        told = {command.name: command for command in commands}
        new_commands = {name: command for name, command in told.items() if self.commands.get(name) != command}
        adjusted = {name: command for name, command in told.items() if name not in new_commands and self._adjusts(command)}
        given = {step.name: step for step in steps}
        known = {**self.commands, **new_commands, **adjusted}
        touched = _users(known, set(new_commands))
        users = self.steps if touched else {}
        again = {name: step for name, step in users.items() if name not in given and step.command in touched}
        expansions: dict[str, list[str]] = {}
        old = {name: there(name) for outer in (*given, *again) for name in self.names(outer)}
        new: dict[str, Step] = {}
        replaced: dict[str, str] = {}
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
                if each.name in old and (old[each.name] != each or each.command in new_commands):
                    replaced[each.name] = "step changed" if old[each.name] != each else "command changed"
        for name, each in new.items():
            if name in replaced or name not in old:
                command = known[each.command]
                assert isinstance(command, Command)
                templates.check(self._workflow, each, command)
        removed = [name for name in old if name not in new]
        lost = {key for name in (*removed, *replaced) for key in old[name].outputs.values()}
        for outer, names in expansions.items():
            for name in names:  # a new Step that takes over a key: what lies there was made by another definition
                if name not in old and not lost.isdisjoint(new[name].outputs.values()):
                    replaced[name] = "step changed" if outer in given else "command changed"
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
        self.commands = change.commands
        self.steps.update(change.given)
        for outer, names in change.expansions.items():
            self._became(outer, names)
        self._unwritten_commands += change.new_commands
        self._unwritten_steps += change.given.values()

    def names(self, outer: str) -> list[str]:
        """The names of the Steps that a submitted one, if there is such, became."""
        return self.expansions.get(outer, [outer] if outer in self.steps else [])

    def write(self, database: Database) -> None:
        """Write all that was accepted since the last `written`."""
        if self._unwritten_commands:
            rows = ((each.name, json.dumps(each.definition)) for each in self._unwritten_commands)
            database.define("commands", self._workflow, rows)
        if self._unwritten_steps:
            database.define("steps", self._workflow, ((each.name, each.text) for each in self._unwritten_steps))

    def written(self) -> None:
        """The transaction of `write` was committed."""
        self._unwritten_commands, self._unwritten_steps = [], []

    def _adjusts(self, command: AnyCommand) -> bool:
        """Whether a Command differs from the one of its name in what it asks of a machine, and in nothing else."""
        before = self.commands[command.name]
        return isinstance(command, Command) and isinstance(before, Command) and command.resources != before.resources

    def _became(self, outer: str, names: list[str]) -> None:
        if names != [outer]:
            self.expansions[outer] = names
        else:
            self.expansions.pop(outer, None)


def _users(commands: Mapping[str, AnyCommand], changed: set[str]) -> set[str]:
    """The changed Commands and the composite ones that use them, at whatever depth."""
    touched = set(changed)
    grew = bool(changed)
    while grew:
        users = {
            name
            for name, command in commands.items()
            if isinstance(command, CompositeCommand) and any(step.command in touched for step in command.steps)
        }
        grew = not users <= touched
        touched |= users
    return touched
