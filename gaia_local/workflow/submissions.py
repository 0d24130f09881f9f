"""The Commands and Steps of one workflow as submitted, and the concrete Steps they became.

Compares new definitions with the present ones; the consequences are decided elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gaia_local.errors import InvalidInput
from gaia_local.model.commands import AnyCommand, CompositeCommand
from gaia_local.model.names import as_stored
from gaia_local.model.steps import Step
from gaia_local.model.validation import render_value
from gaia_local.workflow import expansion
from gaia_local.workflow.fitness import Trial, Unfit, used_commands, users
from gaia_local.workflow.states import Reason, ReasonKind

STEP_CHANGED = Reason(ReasonKind.STEP_CHANGED)
COMMAND_CHANGED = Reason(ReasonKind.COMMAND_CHANGED)


class Change(NamedTuple):
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
    """Submitted Step → its concrete ones, of all that fit and that the change may concern."""
    unfit: dict[str, Unfit]
    """Submitted Steps that don't fit after the change, of those that it may concern."""
    mended: list[str]
    """Submitted Steps that didn't fit before, and do now."""
    gone_steps: Sequence[str] = ()
    """Submitted Steps that leave the workflow."""
    gone_commands: Sequence[str] = ()


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
        self.unfit: dict[str, Unfit] = {}
        """Submitted Steps that don't fit their Commands."""

    def load(
        self, commands: Iterable[AnyCommand], given: Iterable[Step], unfit: Mapping[str, Unfit]
    ) -> list[Step]:
        """Take the stored definitions; returns the concrete Steps."""
        self.commands = {command.name: command for command in commands}
        self.unfit = dict(unfit)
        steps: list[Step] = []
        for step in given:
            fitting = unfit[step.name].commands if step.name in unfit else self.commands
            with as_stored():
                expanded = expansion.expand(self._workflow, step, fitting)
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

        Raises `InvalidInput` for given Steps that don't fit, and if they make more than `most`
        Steps, and changes nothing. Other Steps that don't fit are in `Change.unfit`.
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
        touched = users(known, new_commands)
        affected = dict(given)
        for name, step in self.steps.items() if touched else ():
            if name not in given and step.command in touched:
                affected[name] = step
        trial = Trial(self._workflow, known, given)
        self._check_number(affected.values(), trial, most)
        new, expansions = self._expand(affected, trial)
        old = {name: present(name) for outer in affected for name in self.names(outer)}
        replaced = self._replaced(old, new, expansions, known)
        for outer, names in expansions.items():
            changed = [new[name] for name in names if name in replaced or name not in old]
            trial.fill_in(affected[outer], changed)
        for outer in trial.problems:
            for name in expansions.pop(outer, ()):
                del new[name]
                replaced.pop(name, None)
            for name in self.names(outer):
                del old[name]
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
            {outer: self._unfit(outer, problem) for outer, problem in trial.problems.items()},
            [outer for outer in expansions if outer in self.unfit],
        )

    def _unfit(self, outer: str, problem: str) -> Unfit:
        """The record of a Step that doesn't fit: as it last fitted, which may be long ago."""
        if outer in self.unfit:
            return self.unfit[outer]._replace(problem=problem)
        return Unfit(problem, used_commands(self.steps[outer].command, self.commands))

    def _expand(
        self, steps: Mapping[str, Step], trial: Trial
    ) -> tuple[dict[str, Step], dict[str, list[str]]]:
        """The concrete Steps by name, and the names of those that each Step becomes, if it fits."""
        concrete: dict[str, Step] = {}
        expansions: dict[str, list[str]] = {}
        for outer, submitted in steps.items():
            expanded = trial.expand(submitted)
            if expanded is None:
                continue
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

    def _replaced(
        self,
        old: Mapping[str, Step],
        new: Mapping[str, Step],
        expansions: Mapping[str, Iterable[str]],
        commands: Mapping[str, AnyCommand],
    ) -> dict[str, Reason]:
        """The Steps in both whose definition or Command changed, with the reason."""
        replaced = {}
        changed: dict[tuple[int, int], bool] = {}
        """By the identities of two Commands, since many Steps have the same."""
        for outer, names in expansions.items():
            before = self.unfit[outer].commands if outer in self.unfit else self.commands
            for name in names:
                if name not in old:
                    continue
                if not _same(old[name], new[name]):
                    replaced[name] = STEP_CHANGED
                    continue
                one, other = before[old[name].command], commands[new[name].command]
                pair = (id(one), id(other))
                if pair not in changed:
                    changed[pair] = one is not other and not _same(one, other)
                if changed[pair]:
                    replaced[name] = COMMAND_CHANGED
        return replaced

    def accept(self, change: Change) -> None:
        """Apply a change that `compare` or `removal` made."""
        self.edition += 1
        self.commands = change.commands
        self.steps.update(change.given)
        for outer, names in change.expansions.items():
            self._set_expansion(outer, names)
        self.unfit |= change.unfit
        for outer in change.mended:
            del self.unfit[outer]
        for outer in change.gone_steps:
            del self.steps[outer]
            self.expansions.pop(outer, None)
            self.unfit.pop(outer, None)

    def names(self, outer: str) -> list[str]:
        """The names of the concrete Steps of a submitted one; none if there is no such Step."""
        return self.expansions.get(outer, [outer] if outer in self.steps else [])

    def outer(self, name: str) -> str | None:
        """The submitted Step of this name, or the one that became a Step of it; None if unknown."""
        if name in self.steps:
            return name
        return next((outer for outer, names in self.expansions.items() if name in names), None)

    def _check_number(self, steps: Iterable[Step], trial: Trial, most: int) -> None:
        """Refuse more Steps than a call may make, before they are made: there may be any number."""
        total = 0
        for step in steps:
            number = trial.measure(step)
            if number is None:
                continue
            is_given = step.name in trial.given
            total += number if is_given else max(0, number - len(self.names(step.name)))
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
