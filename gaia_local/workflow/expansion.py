"""From a Step as submitted to concrete Steps: array vars crossed, composite Commands replaced."""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from gaia_local.errors import InvalidInput, nearest
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.keys import LOCAL_KEYS
from gaia_local.model.names import check_key, check_name
from gaia_local.model.steps import Step
from gaia_local.model.validation import Value, render_value
from gaia_local.workflow.templates import MAX_LEVELS, Scope, check_keys, has_template

MAX_STEPS = 1_000_000
"""The most Steps made from one Step."""

_UNCLEAN = re.compile(r"[^a-zA-Z0-9-]")
_Source: TypeAlias = "tuple[str, Mapping[str, Value]]"

logger = logging.getLogger("gaia_local")


def expand(workflow: str, step: Step, commands: Mapping[str, AnyCommand]) -> list[Step]:
    """The concrete Steps that `step` stands for: `[step]` itself if it is concrete.

    Array vars are crossed (``NAME-VALUE1-VALUE2``), then a composite Command is replaced by its
    inner Steps (``OUTER:INNER``), which may have arrays and composite Commands again. Storage keys
    are templates over the Step's own vars; the local names in a composite Command, over the inner
    Step's. Raises `InvalidInput` if they don't fit together.
    """
    where = f"workflow {workflow!r}, Step {step.name!r}"
    command = _command_of(where, step, commands)
    if isinstance(command, Command) and _is_concrete(step):
        return [step]
    expansion = _Expansion(workflow, commands)
    if expansion.measure(where, step)[0] > MAX_STEPS:
        raise InvalidInput(
            where, f"it makes over {MAX_STEPS:,} Steps", "use shorter arrays, or several Steps"
        )
    for concrete, source in _combinations(where, step):
        for kind, given, made in (
            ("input", step.inputs, concrete.inputs),
            ("output", step.outputs, concrete.outputs),
        ):
            if made is not given:  # keys without templates were checked when parsed
                for key, text in made.items():
                    check_key(f"{where}, {kind} {key!r}", text)
        expansion.add(where, concrete, command, source)
    return expansion.steps


class Counter:
    """Counts the Steps that `expand` would make, without making them; each Command only once."""

    def __init__(self, workflow: str, commands: Mapping[str, AnyCommand]) -> None:
        self._expansion = _Expansion(workflow, commands, quiet=True)

    def count(self, step: Step) -> int:
        """The number of Steps that `expand` makes of it; raises as that does."""
        where = f"workflow {self._expansion.workflow!r}, Step {step.name!r}"
        return self._expansion.measure(where, step)[0]


@dataclass
class _Expansion:
    """The state of one call of `expand`, shared by all levels."""

    workflow: str
    commands: Mapping[str, AnyCommand]
    quiet: bool = False
    """No warnings about empty arrays."""
    steps: list[Step] = field(default_factory=list)
    sources: dict[str, _Source] = field(default_factory=dict)
    """Expanded Step → the name and the combination of array values that it comes from."""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Composite Command → its results of `measure`."""

    def measure(self, where: str, step: Step, trail: tuple[str, ...] = ()) -> tuple[int, int]:
        """The number of Steps that `step` becomes, at least 1, and of levels of composite Commands.

        Measures each Command once, so that exponential growth is refused before it happens.
        """
        command, name = _command_of(where, step, self.commands), step.command
        count, levels = 1, 0
        if isinstance(command, CompositeCommand):
            if name in trail:
                loop = " → ".join([*trail[trail.index(name) :], name])
                raise InvalidInput(
                    where,
                    f"composite Commands invoke each other in a loop: {loop}",
                    "break the loop",
                )
            if len(trail) + self.sizes.get(name, (1, 1))[1] > MAX_LEVELS:
                raise InvalidInput(
                    where, f"composite Commands nest over {MAX_LEVELS} deep", "use fewer levels"
                )
            if name not in self.sizes:
                place = f"{where}, Command {name!r}"
                inner = [
                    self.measure(f"{place}, inner Step {inner.name!r}", inner, (*trail, name))
                    for inner in command.steps
                ]
                self.sizes[name] = (
                    sum(count for count, _ in inner),
                    1 + max(levels for _, levels in inner),
                )
            count, levels = self.sizes[name]
        arrays = {var: len(value) for var, value in step.vars.items() if isinstance(value, tuple)}
        for var, length in arrays.items():
            if not length and not self.quiet:
                logger.warning("%s: the array var %r is empty, so it makes no Steps", where, var)
        return math.prod(arrays.values()) * count or 1, levels

    def add(self, where: str, step: Step, command: AnyCommand, source: _Source) -> None:
        """Add one expanded Step, or the inner Steps of its composite Command."""
        first = self.sources.setdefault(check_name(where, step.name, "Step"), source)
        if first is not source:
            both = " and ".join(
                f"{name!r} with {combination}" for name, combination in (first, source)
            )
            right = "use values that differ in their letters, digits or '-'"
            raise InvalidInput(where, f"two of its Steps are named {step.name!r}: {both}", right)
        if isinstance(command, Command):
            self.steps.append(step)
            return
        where = f"workflow {self.workflow!r}, Step {step.name!r}, Command {command.name!r}"
        inner_steps = list(self._inner(where, step, command))
        made = self._storage_keys(where, step, command, [inner for inner, _ in inner_steps])
        storage_keys = {**step.inputs, **made}
        for inner, origin in inner_steps:
            place = f"{where}, inner Step {inner.name!r}"
            for key, name in inner.inputs.items():
                if name not in storage_keys:
                    problem = (
                        f"input {key!r} is {name!r}, no input of the composite Command, "
                        "and no inner Step makes it"
                    )
                    raise InvalidInput(place, problem, nearest(name, storage_keys, "the names are"))
            inputs = {key: storage_keys[name] for key, name in inner.inputs.items()}
            outputs = {key: storage_keys[name] for key, name in inner.outputs.items()}
            concrete = replace(
                inner, name=f"{step.name}:{inner.name}", inputs=inputs, outputs=outputs
            )
            self.add(place, concrete, self.commands[inner.command], origin)

    def _inner(
        self, where: str, outer: Step, composite: CompositeCommand
    ) -> Iterator[tuple[Step, _Source]]:
        """The inner Steps of `outer`, vars filled in and arrays crossed, still with local names."""
        scope = Scope(
            where,
            {**composite.vars, **outer.vars},
            "the vars of the composite Command and its Step are",
        )
        for step in composite.steps:
            values = dict(step.vars)
            for var, value in step.vars.items():
                what = f"inner Step {step.name!r}, var {var!r}"
                if isinstance(value, tuple):
                    values[var] = tuple(
                        [scope.render(what, one) if isinstance(one, str) else one for one in value]
                    )
                elif isinstance(value, str):
                    values[var] = scope.render(what, value)
            yield from _combinations(
                f"{where}, inner Step {step.name!r}", replace(step, vars=values)
            )

    def _storage_keys(
        self, where: str, outer: Step, composite: CompositeCommand, inner: list[Step]
    ) -> dict[str, str]:
        """Local name → storage key, of all outputs of the `inner` Steps."""
        made: dict[str, str] = {}
        for step in inner:
            for key, name in step.outputs.items():
                place = f"{where}, inner Step {step.name!r}, output {key!r}"
                if name in outer.inputs:
                    raise InvalidInput(
                        place,
                        f"{name!r} is an input of the composite Command",
                        "give it another name",
                    )
                if name in made:
                    maker = next(step.name for step in inner if name in step.outputs.values())
                    raise InvalidInput(
                        place,
                        f"inner Step {maker!r} makes {name!r} already",
                        "give each a name of its own",
                    )
                made[name] = outer.outputs.get(
                    name, f"{LOCAL_KEYS}{outer.name}/{step.name}/{key}:{name}"
                )
                check_key(place, made[name])
        for name in composite.outputs:
            if name not in made:
                raise InvalidInput(
                    where,
                    f"no inner Step makes the output {name!r}",
                    nearest(name, made, "they make"),
                )
        return made


def _combinations(where: str, step: Step) -> Iterator[tuple[Step, _Source]]:
    """`step` for each combination of its array values, with its name and rendered keys."""
    arrays = {var: value for var, value in sorted(step.vars.items()) if isinstance(value, tuple)}
    for chosen in itertools.product(*arrays.values()):
        combination = dict(zip(arrays, chosen, strict=True))
        given = {**step.vars, **combination}
        scope = Scope(where, given, "the vars of the Step are")
        name = "-".join([step.name, *[_UNCLEAN.sub("", render_value(value)) for value in chosen]])
        inputs, outputs = (
            scope.render_all("input", step.inputs),
            scope.render_all("output", step.outputs),
        )
        yield (
            Step(name, step.command, inputs, outputs, given, step.timeout, step.text),
            (step.name, combination),
        )


def _is_concrete(step: Step) -> bool:
    if has_template(step.inputs.values()) or has_template(step.outputs.values()):
        return False
    return tuple not in map(type, step.vars.values())


def _command_of(where: str, step: Step, commands: Mapping[str, AnyCommand]) -> AnyCommand:
    """The Command of `step`, which must give all its inputs and outputs and no others."""
    command = commands.get(step.command)
    if command is None:
        raise InvalidInput(
            where,
            f"there is no Command {step.command!r}",
            nearest(step.command, commands, "the Commands are"),
        )
    check_keys(where, step, command)
    return command
