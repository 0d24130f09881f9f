"""From Commands and Steps to what runs: ``{{var}}`` templates, array vars and composite Commands.

`expand` turns a Step as submitted into concrete Steps: no arrays, no composite Commands, plain
storage keys. `check` and `render` take those: `check` refuses, at submission, what could not be
rendered later; `render` fills in the Command.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from gaia_local.errors import InvalidInput, nearest
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.keys import LOCAL_KEYS, Capture, names_directory
from gaia_local.model.names import (
    check_internal_path,
    check_internal_template,
    check_key,
    check_name,
    check_places,
)
from gaia_local.model.steps import Step
from gaia_local.model.validation import Value, render_value

MAX_STEPS = 1_000_000  # out of one Step
MAX_CHARACTERS = 1_000_000  # in one rendered text
MAX_STEP_CHARACTERS = 100_000_000  # in all texts that are rendered for one Step
# Of vars that use vars, and of composite Commands in composite Commands: Python's stack is finite.
MAX_LEVELS = 100

_REFERENCE = re.compile(r"\{\{ *([\w-]+) *\}\}")
_UNCLEAN = re.compile(r"[^a-zA-Z0-9-]")
_Given: TypeAlias = "Value | tuple[Value, ...] | None"
_Source: TypeAlias = "tuple[str, Mapping[str, Value]]"
Verdicts: TypeAlias = "dict[tuple[str, tuple[tuple[str, _Given], ...]], bool]"
"""What `check` found: of a Command's name, and the vars that decide, whether all Steps that have
them fit.
"""

logger = logging.getLogger("gaia_local")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A Command filled in for one Step: what a Task is made of."""

    tokens: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    """Pairs of storage key and internal path, in the order of the Command's keys."""
    outputs: tuple[tuple[str, str], ...]
    stdout: str | None
    """The internal path that receives stdout alone."""
    image: str
    timeout: float


def expand(workflow: str, step: Step, commands: Mapping[str, AnyCommand]) -> list[Step]:
    """The concrete Steps that `step` stands for: `[step]` itself when there is nothing to do.

    Array vars are crossed (``NAME-VALUE1-VALUE2``), then a composite Command is replaced by its
    inner Steps (``OUTER:INNER``), which may have arrays and composite Commands again. Storage keys
    are templates over the Step's own vars; the local names in a composite Command, over the inner
    Step's. Raises `InvalidInput` for whatever doesn't fit.
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
            if made is not given:  # what holds no template was checked when it was parsed
                for key, text in made.items():
                    check_key(f"{where}, {kind} {key!r}", text)
        expansion.add(where, concrete, command, source)
    return expansion.steps


def count(
    workflow: str, steps: Iterable[Step], commands: Mapping[str, AnyCommand]
) -> Iterator[tuple[Step, int]]:
    """Each Step with how many Steps `expand` would make of it, without making them. Raises as that
    does.
    """
    expansion = _Expansion(workflow, commands, quiet=True)
    for step in steps:
        where = f"workflow {workflow!r}, Step {step.name!r}"
        yield step, expansion.measure(where, step)[0]


def render(workflow: str, step: Step, command: Command) -> Rendered:
    """Fill in `command` for a concrete `step`.

    Raises `InvalidInput` for an undefined var, vars in a loop, a text too long, or internal paths
    that can't be.
    """
    where = f"workflow {workflow!r}, Step {step.name!r}"
    _check_keys(where, step, command)
    tokens, inputs, outputs, stdout = _fill_in(f"{where}, Command {command.name!r}", step, command)
    return Rendered(
        tokens,
        tuple([(step.inputs[key], path) for key, path in inputs.items()]),
        tuple([(step.outputs[key], path) for key, path in outputs.items()]),
        stdout,
        command.image,
        step.timeout,
    )


def _fill_in(
    where: str, step: Step, command: Command
) -> tuple[tuple[str, ...], Mapping[str, str], Mapping[str, str], str | None]:
    ambiguous = command.inputs.keys() & command.outputs.keys()  # such a key has two paths
    values = {
        **command.inputs,
        **command.outputs,
        **dict.fromkeys(ambiguous),
        **command.vars,
        **step.vars,
    }
    scope = _Scope(where, values, "its vars are")
    inputs = scope.render_all("input", command.inputs)
    outputs = scope.render_all("output", command.outputs)
    stdout = None if command.stdout is None else scope.render("stdout", command.stdout)
    if _has_template([*command.inputs.values(), *command.outputs.values(), command.stdout or ""]):
        # The model puts off its checks of a path with "{{", as of a template; what is left of "{{"
        # now is text like any other.
        for key, path in inputs.items():
            check_internal_template(f"{where}, input {key!r}", path.replace("{{", "(("))
        for key, path in outputs.items():
            check_internal_path(f"{where}, output {key!r}", path.replace("{{", "(("))
        if stdout is not None:
            check_internal_template(f"{where}, stdout", stdout.replace("{{", "(("))
        check_places(where, inputs, outputs, stdout)
    tokens = tuple(
        [scope.render(f"token {place}", token) for place, token in enumerate(command.command, 1)]
    )
    return tokens, inputs, outputs, stdout


def check(workflow: str, step: Step, command: Command, verdicts: Verdicts) -> None:
    """Raise the `InvalidInput` that `render` would; cheap for many Steps that share `verdicts`.

    Values without ``{{`` decide nothing but lengths and internal paths. So one rendering with
    stand-ins for them, as long as they may get and refused in any path, vouches for all Steps that
    have the same vars: without this an upload takes a sixth longer.
    """
    _check_keys(f"workflow {workflow!r}, Step {step.name!r}", step, command)
    shape = (
        command.name,
        tuple([(var, value if _decides(value) else None) for var, value in step.vars.items()]),
    )
    if shape not in verdicts:
        stand_ins = {var: _STAND_IN if value is None else value for var, value in shape[1]}
        try:
            render(workflow, replace(step, vars=stand_ins), command)
            verdicts[shape] = True
        except InvalidInput:
            verdicts[shape] = False
    if not verdicts[shape]:
        render(workflow, step, command)


_STAND_IN = "\0" * 4300  # as long as the text of a number can get; and no path may hold a NUL


def _decides(value: _Given) -> bool:
    return isinstance(value, tuple) or (
        isinstance(value, str) and ("{{" in value or len(value) > len(_STAND_IN))
    )


class _Scope:
    """What names mean in one Step, and texts rendered over them."""

    def __init__(self, where: str, values: Mapping[str, _Given], noun: str) -> None:
        self._where, self._values, self._noun = where, values, noun
        self._texts: dict[str, str] = {}
        self._open: list[str] = []  # the vars being rendered, the outermost first
        self._size = 0

    def render_all(self, kind: str, texts: Mapping[str, str]) -> Mapping[str, str]:
        """`texts` rendered; the same object when none of them is a template."""
        if not _has_template(texts.values()):
            return texts
        return {
            key: self.render(f"{kind} {key!r} ({text[:80]!r})", text) for key, text in texts.items()
        }

    def render(self, what: str, text: str) -> str:
        """`text` with its references replaced; `what` names it in errors. The size is known before
        anything is built.
        """
        parts = _REFERENCE.split(text)  # text, name, text, name, …, text
        parts[1::2] = [self._text(what, name) for name in parts[1::2]]
        size = sum(map(len, parts))
        self._size += size
        for found, limit, which in (
            (size, MAX_CHARACTERS, "it"),
            (self._size, MAX_STEP_CHARACTERS, "all text of the Step"),
        ):
            if found > limit:
                raise self._refusal(
                    what, f"{which} gets over {limit:,} characters", "use a file for so much text"
                )
        return "".join(parts)

    def _text(self, what: str, name: str) -> str:
        text = self._texts.get(name)
        if text is not None:
            return text
        if name not in self._values:
            known = [each for each, value in self._values.items() if value is not None]
            raise self._refusal(
                what, f"the var {name!r} is undefined", nearest(name, known, self._noun)
            )
        value = self._values[name]
        if value is None or isinstance(value, tuple):
            raise self._refusal(
                what, f"the var {name!r} has no single value", "give it one in the Step's vars"
            )
        if name in self._open:
            loop = " → ".join([*self._open[self._open.index(name) :], name])
            raise self._refusal(
                what, f"vars use each other in a loop: {loop}", "give one of them a plain value"
            )
        if len(self._open) >= MAX_LEVELS:
            raise self._refusal(what, f"vars use vars over {MAX_LEVELS} deep", "use fewer levels")
        self._open.append(name)
        text = self._texts[name] = self.render(what, render_value(value))
        self._open.pop()
        return text

    def _refusal(self, what: str, problem: str, right: str) -> InvalidInput:
        return InvalidInput(
            ", ".join([self._where, what, *(f"var {name!r}" for name in self._open[-1:])]),
            problem,
            right,
        )


@dataclass
class _Expansion:
    """One call of `expand`: what all its levels share."""

    workflow: str
    commands: Mapping[str, AnyCommand]
    quiet: bool = False
    """Whether to say nothing of empty arrays."""
    steps: list[Step] = field(default_factory=list)
    sources: dict[str, _Source] = field(default_factory=dict)
    """The name of each expanded Step → the name and the combination of array values that it comes
    from.
    """
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What `measure` found for each composite Command."""

    def measure(self, where: str, step: Step, trail: tuple[str, ...] = ()) -> tuple[int, int]:
        """How many Steps `step` becomes (at least 1: looking costs too), through how many levels of
        composite Commands.

        Looks at each Command once, so that exponential growth is refused without being made.
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
                    self.measure(f"{place}, inner Step {each.name!r}", each, (*trail, name))
                    for each in command.steps
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
        """Take in one expanded Step, or what its composite Command makes of it."""
        other = self.sources.setdefault(check_name(where, step.name, "Step"), source)
        if other is not source:
            both = " and ".join(
                f"{name!r} with {combination}" for name, combination in (other, source)
            )
            right = "use values that differ in their letters, digits or '-'"
            raise InvalidInput(where, f"two of its Steps are named {step.name!r}: {both}", right)
        if isinstance(command, Command):
            self.steps.append(step)
            return
        where = f"workflow {self.workflow!r}, Step {step.name!r}, Command {command.name!r}"
        inner = list(self._inner(where, step, command))
        storage_keys = {
            **step.inputs,
            **self._storage_keys(where, step, command, [each for each, _ in inner]),
        }
        for each, origin in inner:
            place = f"{where}, inner Step {each.name!r}"
            for key, name in each.inputs.items():
                if name not in storage_keys:
                    problem = f"input {key!r} is {name!r}, no input of the composite Command, and no inner Step makes it"
                    raise InvalidInput(place, problem, nearest(name, storage_keys, "the names are"))
            inputs = {key: storage_keys[name] for key, name in each.inputs.items()}
            outputs = {key: storage_keys[name] for key, name in each.outputs.items()}
            concrete = replace(
                each, name=f"{step.name}:{each.name}", inputs=inputs, outputs=outputs
            )
            self.add(place, concrete, self.commands[each.command], origin)

    def _inner(
        self, where: str, outer: Step, composite: CompositeCommand
    ) -> Iterator[tuple[Step, _Source]]:
        """The inner Steps for one `outer`, their vars filled in and their arrays crossed, still
        with local names.
        """
        scope = _Scope(
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
        """The storage key of each name that the `inner` Steps make."""
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
                    maker = next(each.name for each in inner if name in each.outputs.values())
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
    """`step` for each combination of its array values, named, its storage keys (or local names)
    rendered.
    """
    arrays = {var: value for var, value in sorted(step.vars.items()) if isinstance(value, tuple)}
    for chosen in itertools.product(*arrays.values()):
        combination = dict(zip(arrays, chosen, strict=True))
        given = {**step.vars, **combination}
        scope = _Scope(where, given, "the vars of the Step are")
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
    if _has_template(step.inputs.values()) or _has_template(step.outputs.values()):
        return False
    return tuple not in map(type, step.vars.values())


def _has_template(texts: Iterable[str]) -> bool:
    return "{{" in "\n".join(texts)  # one search for all of them: this is asked of each Step


def _command_of(where: str, step: Step, commands: Mapping[str, AnyCommand]) -> AnyCommand:
    """The Command of `step`, which must give just what it asks for."""
    command = commands.get(step.command)
    if command is None:
        raise InvalidInput(
            where,
            f"there is no Command {step.command!r}",
            nearest(step.command, commands, "the Commands are"),
        )
    _check_keys(where, step, command)
    return command


def _check_keys(where: str, step: Step, command: AnyCommand) -> None:
    for kind, given, known in (
        ("input", step.inputs, command.inputs),
        ("output", step.outputs, command.outputs),
    ):
        if given.keys() != (known.keys() if isinstance(known, dict) else set(known)):
            place = f"{where}, Command {command.name!r}"
            for key in given:
                if key not in known:
                    raise InvalidInput(
                        place, f"it has no {kind} {key!r}", nearest(key, known, f"its {kind}s are")
                    )
            missing = next(key for key in known if key not in given)
            raise InvalidInput(
                place, f"the Step does not give its {kind} {missing!r}", "give a storage key for it"
            )
    if isinstance(command, Command):
        for key, internal in command.outputs.items():
            printed = Capture.parse(internal) is not None
            if printed and names_directory(step.outputs[key]):
                problem = f"its output {key!r} is what the program prints, and {step.outputs[key]!r} is a directory"
                raise InvalidInput(
                    f"{where}, Command {command.name!r}", problem, "leave out the '/' at the end"
                )
