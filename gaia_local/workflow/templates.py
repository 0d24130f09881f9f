"""``{{var}}`` templates: fills in a Command for a concrete Step.

`check` refuses, at submission, Steps that `render` could not fill in later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from gaia_local.errors import InvalidInput, nearest
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.keys import Capture, names_directory
from gaia_local.model.names import (
    check_internal_path,
    check_internal_template,
    check_places,
)
from gaia_local.model.steps import Step
from gaia_local.model.validation import Value, render_value

MAX_CHARACTERS = 1_000_000  # in one rendered text
MAX_STEP_CHARACTERS = 100_000_000  # in all texts that are rendered for one Step
# Of vars that use vars, and of composite Commands in composite Commands: Python's stack is finite.
MAX_LEVELS = 100

_REFERENCE = re.compile(r"\{\{ *([\w-]+) *\}\}")
_Given: TypeAlias = "Value | tuple[Value, ...] | None"
Verdicts: TypeAlias = "dict[tuple[str, tuple[tuple[str, _Given], ...]], bool]"
"""The results of `check`: a Command's name and the relevant vars → whether such Steps fit."""


class Rendered(NamedTuple):
    """A Command filled in for one Step: the contents of a Task."""

    tokens: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    """Pairs of storage key and internal path, in the order of the Command's keys."""
    outputs: tuple[tuple[str, str], ...]
    stdout: str | None
    """The internal path that receives stdout alone."""
    image: str
    timeout: float


def render(workflow: str, step: Step, command: Command) -> Rendered:
    """Fill in `command` for a concrete `step`.

    Raises `InvalidInput` for an undefined var, vars in a loop, a text too long, or invalid internal
    paths.
    """
    where = f"workflow {workflow!r}, Step {step.name!r}"
    check_keys(where, step, command)
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
    scope = Scope(where, values, "its vars are")
    inputs = scope.render_all("input", command.inputs)
    outputs = scope.render_all("output", command.outputs)
    stdout = None if command.stdout is None else scope.render("stdout", command.stdout)
    if has_template([*command.inputs.values(), *command.outputs.values(), command.stdout or ""]):
        # The model doesn't check paths with "{{", since they are templates. A "{{" that is left is
        # plain text.
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

    Values without ``{{`` affect lengths and internal paths only. So one rendering with stand-ins
    for them, of the greatest length and invalid in any path, shows that all Steps with the same
    vars are valid: without this an upload takes a sixth longer.
    """
    check_keys(f"workflow {workflow!r}, Step {step.name!r}", step, command)
    shape = (
        command.name,
        tuple([(var, value if _is_relevant(value) else None) for var, value in step.vars.items()]),
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


_STAND_IN = "\0" * 4300  # the longest text of a number; and no path may hold a NUL


def _is_relevant(value: _Given) -> bool:
    return isinstance(value, tuple) or (
        isinstance(value, str) and ("{{" in value or len(value) > len(_STAND_IN))
    )


class Scope:
    """The values of names in one Step, and the rendering of texts with them."""

    def __init__(self, where: str, values: Mapping[str, _Given], noun: str) -> None:
        self._where, self._values, self._noun = where, values, noun
        self._texts: dict[str, str] = {}
        self._rendering: list[str] = []  # the vars being rendered, the outermost first
        self._size = 0

    def render_all(self, kind: str, texts: Mapping[str, str]) -> Mapping[str, str]:
        """`texts` rendered; the same object when none of them is a template."""
        if not has_template(texts.values()):
            return texts
        return {
            key: self.render(f"{kind} {key!r} ({text[:80]!r})", text) for key, text in texts.items()
        }

    def render(self, what: str, text: str) -> str:
        """`text` with its references replaced, refused before it gets too large.

        Errors name it by `what`.
        """
        parts = _REFERENCE.split(text) if "{{" in text else [text]  # text, name, text, …
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
            known = [name for name, value in self._values.items() if value is not None]
            raise self._refusal(
                what, f"the var {name!r} is undefined", nearest(name, known, self._noun)
            )
        value = self._values[name]
        if value is None or isinstance(value, tuple):
            raise self._refusal(
                what, f"the var {name!r} has no single value", "give it one in the Step's vars"
            )
        if name in self._rendering:
            loop = " → ".join([*self._rendering[self._rendering.index(name) :], name])
            raise self._refusal(
                what, f"vars use each other in a loop: {loop}", "give one of them a plain value"
            )
        if len(self._rendering) >= MAX_LEVELS:
            raise self._refusal(what, f"vars use vars over {MAX_LEVELS} deep", "use fewer levels")
        self._rendering.append(name)
        text = self._texts[name] = self.render(what, render_value(value))
        self._rendering.pop()
        return text

    def _refusal(self, what: str, problem: str, right: str) -> InvalidInput:
        return InvalidInput(
            ", ".join([self._where, what, *(f"var {name!r}" for name in self._rendering[-1:])]),
            problem,
            right,
        )


def references(texts: Iterable[object]) -> set[str]:
    """The names that templates refer to; values other than text refer to none."""
    return {name for text in texts if isinstance(text, str) for name in _REFERENCE.findall(text)}


def has_template(texts: Iterable[str]) -> bool:
    return "{{" in "\n".join(texts)  # one search for all of them: this is asked of each Step


def check_keys(where: str, step: Step, command: AnyCommand) -> None:
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
                problem = (
                    f"its output {key!r} is what the program prints, "
                    f"and {step.outputs[key]!r} is a directory"
                )
                raise InvalidInput(
                    f"{where}, Command {command.name!r}", problem, "leave out the '/' at the end"
                )
