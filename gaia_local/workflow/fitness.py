"""Whether a submitted Step fits its Command, and how those that don't are kept.

A changed Command may ask its Steps for other inputs, outputs or vars. A Step that doesn't give them
is *unfit*, as a whole: with all that it was expanded to. It is kept as it last fitted:

- it doesn't run, and holds nobody: what lies at its outputs is used as it is;
- its concrete Steps keep their names and their keys, so no other Step can take them silently;
- once it fits again, it is compared with what it was before: if both are the same, nothing runs.

So changing Commands first and Steps after them leads to the same runs as changing both at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

from gaia_local.errors import InvalidInput
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.steps import Step
from gaia_local.workflow import expansion, templates

T = TypeVar("T")


class Unfit(NamedTuple):
    """A submitted Step that doesn't fit its Command."""

    problem: str
    """What is missing, as a refusal of the Step would say it."""
    commands: Mapping[str, AnyCommand]
    """The Commands with which it last fitted: its own and all that this uses."""

    def to_json(self) -> str:
        """The Commands' definitions."""
        return json.dumps([command.definition for command in self.commands.values()])

    @staticmethod
    def from_json(workflow: str, problem: str, text: str) -> Unfit:
        """The inverse of `to_json`."""
        parsed = (Command.parse(workflow, given) for given in json.loads(text))
        return Unfit(problem, {command.name: command for command in parsed})


class Trial:
    """Tries whether Steps fit Commands; for one call, since Steps share what it learns."""

    def __init__(
        self, workflow: str, commands: Mapping[str, AnyCommand], given: Collection[str]
    ) -> None:
        """Of Steps that don't fit, the `given` ones are refused, and the others are unfit."""
        self._workflow, self._commands, self.given = workflow, commands, given
        self._counter = expansion.Counter(workflow, commands)
        self._verdicts: templates.Verdicts = {}
        self.problems: dict[str, str] = {}
        """Submitted Step → the reason why it is unfit."""

    def measure(self, step: Step) -> int | None:
        """The number of Steps that it makes; None if it is unfit."""
        return self._tried(step, lambda: self._counter.count(step))

    def expand(self, step: Step) -> list[Step] | None:
        """The Steps that it makes; None if it is unfit."""
        return self._tried(step, lambda: expansion.expand(self._workflow, step, self._commands))

    def fill_in(self, step: Step, concrete: Iterable[Step]) -> None:
        """Try whether the Commands of Steps that `step` makes can be filled in."""
        self._tried(step, lambda: self._fill_in(concrete))

    def _fill_in(self, concrete: Iterable[Step]) -> None:
        for step in concrete:
            command = self._commands[step.command]
            assert isinstance(command, Command)
            templates.check(self._workflow, step, command, self._verdicts)

    def _tried(self, step: Step, attempt: Callable[[], T]) -> T | None:
        if step.name in self.problems:
            return None
        try:
            return attempt()
        except InvalidInput as error:
            if step.name in self.given:
                raise
            self.problems[step.name] = str(error)
            return None


def used_commands(name: str, commands: Mapping[str, AnyCommand]) -> dict[str, AnyCommand]:
    """The Command of this name and all that it uses, at any depth, as far as they exist."""
    used: dict[str, AnyCommand] = {}
    waiting = [name]
    for needed in waiting:  # which grows
        command = commands.get(needed)
        if command is not None and needed not in used:
            used[needed] = command
            if isinstance(command, CompositeCommand):
                waiting += [step.command for step in command.steps]
    return used


def users(commands: Mapping[str, AnyCommand], changed: Iterable[str]) -> set[str]:
    """The changed Commands and the composite ones that use them, at any depth."""
    touched = set(changed)
    grew = bool(touched)
    while grew:
        using = {
            name
            for name, command in commands.items()
            if isinstance(command, CompositeCommand)
            and any(step.command in touched for step in command.steps)
        }
        grew = not using <= touched
        touched |= using
    return touched
