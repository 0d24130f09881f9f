"""Warnings of what is probably not meant in definitions that are valid.

Which are: Commands that no Step uses; vars that no text refers to; names inside a composite Command
that nothing reads; empty arrays; and inputs that no Step makes and that aren't there. Outputs of
Steps that no other Step reads are results, and normal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gaia_local.cli.problems import Entry, Findings
from gaia_local.errors import nearest
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.keys import Capture
from gaia_local.model.steps import Step
from gaia_local.workflow.key_paths import KeyPaths
from gaia_local.workflow.templates import references

Exists = Callable[[str], bool | None]
"""Whether a storage key is there; None if nobody knows where it would be."""

_MISSPELLED = 0.8
"""How like an output an input is that probably means it."""


def warn(found: Findings, locate: Callable[[str], str], exists: Exists) -> list[str]:
    """Add the warnings; answers the inputs from outside of which nobody knows where they'd be."""
    if found.unreadable:
        return []
    known = found.known_commands()
    for entry in found.commands.values():
        if isinstance(entry.parsed, CompositeCommand) and entry.parsed.name not in found.faulty:
            _warn_of_local_names(found, entry, entry.parsed, known)
    if not found.steps and not found.unread_steps:
        return []
    _warn_of_commands(found, known)
    _Vars(found, known).warn()
    return [] if found.unread_steps else _warn_of_inputs(found, locate, exists)


def _warn_of_commands(found: Findings, known: Mapping[str, AnyCommand]) -> None:
    names = [*found.mentioned, *(entry.parsed.command for entry in found.steps.values())]
    used: set[str] = set()
    while names:
        name = names.pop()
        command = known.get(name)
        if isinstance(command, CompositeCommand) and name not in used:
            names += [step.command for step in command.steps]
        used.add(name)
    for name, entry in found.commands.items():
        if name not in used:
            found.warning(entry.file, (entry.number, "name"), f"Command {name!r}: no Step uses it")


class _Vars:
    """Warns of vars that nothing uses."""

    def __init__(self, found: Findings, known: Mapping[str, AnyCommand]) -> None:
        self._found, self._known = found, known
        self._given: dict[str, set[str]] = {}
        """Command → the names that its Steps' vars refer to."""

    def warn(self) -> None:
        """Add the warnings."""
        commands = self._found.commands
        for entry in self._found.steps.values():
            self._check_step(entry, (entry.number,), entry.parsed)
        for entry in commands.values():
            if isinstance(entry.parsed, CompositeCommand):
                for number, inner in enumerate(entry.parsed.steps):
                    self._check_step(entry, (entry.number, "steps", number), inner)
        for name, entry in commands.items():
            used = _used(entry.parsed) | self._given.get(name, set())
            for var in entry.parsed.vars:
                if var not in used:
                    way = (entry.number, "vars", var)
                    message = f"Command {name!r}: nothing uses the var {var!r}"
                    self._found.warning(entry.file, way, message)

    def _check_step(self, entry: Entry, way: tuple[Any, ...], step: Step) -> None:
        own = references(_flat(step.vars.values()))
        self._given.setdefault(step.command, set()).update(own)
        command = self._known.get(step.command)
        if command is None:
            return
        keys = references((*step.inputs.values(), *step.outputs.values()))
        for var, value in step.vars.items():
            problems = []
            if value == ():
                problems.append(f"the array var {var!r} is empty, so it makes no Steps")
            if var not in own | keys | _used(command):
                advice = nearest(var, _used(command), "its Command uses")
                problems.append(f"nothing uses the var {var!r}; {advice}")
            for problem in problems:
                message = f"Step {step.name!r}: {problem}"
                self._found.warning(entry.file, (*way, "vars", var), message)


def _used(command: AnyCommand) -> set[str]:
    """The names that a Command refers to."""
    if isinstance(command, Command):
        paths = (*command.inputs.values(), *command.outputs.values(), command.stdout)
        return references((*command.command, *paths, *command.vars.values()))
    inner = (value for step in command.steps for value in _flat(step.vars.values()))
    return references((*inner, *command.vars.values()))


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    """The values, and those of arrays."""
    for value in values:
        yield from value if isinstance(value, tuple) else (value,)


def _warn_of_local_names(
    found: Findings, entry: Entry, composite: CompositeCommand, known: Mapping[str, AnyCommand]
) -> None:
    read = {name for step in composite.steps for name in step.inputs.values()}
    if any("{{" in name for name in read):  # nobody knows which names these become
        return
    for name in composite.inputs:
        if name not in read:
            found.warning(
                entry.file,
                (entry.number, "inputs"),
                f"Command {composite.name!r}: no inner Step reads the input {name!r}",
            )
    for number, step in enumerate(composite.steps):
        command = known[step.command]
        for key, name in step.outputs.items():
            is_log = (
                isinstance(command, Command) and Capture.parse(command.outputs[key]) is Capture.LOG
            )
            if name not in read and name not in composite.outputs and not is_log:
                found.warning(
                    entry.file,
                    (entry.number, "steps", number, "outputs", key),
                    f"Command {composite.name!r}, inner Step {step.name!r}: no inner Step reads "
                    f"{name!r}, which is no output of the composite Command",
                )


def _warn_of_inputs(found: Findings, locate: Callable[[str], str], exists: Exists) -> list[str]:
    """Warn of inputs that no Step makes and that aren't there, or look like a misspelled output."""
    made: KeyPaths[str] = KeyPaths()
    for step, _ in found.concrete.values():
        for key in step.outputs.values():
            if made.at(locate(key)) is None:
                made.add(locate(key), key)
    outputs = [key for step, _ in found.concrete.values() for key in step.outputs.values()]
    seen: set[str] = set()
    outside = []
    for step, entry in found.concrete.values():
        for name, key in step.inputs.items():
            if key in seen or made.at_or_overlapping(locate(key)):
                continue
            seen.add(key)
            is_there = exists(key)
            advice = "" if is_there else nearest(key, outputs, likeness=_MISSPELLED)
            if not advice.startswith("did you mean"):
                advice = f"put a file at {locate(key)}"
            if is_there is None and advice.startswith("put"):
                outside.append(key)
            elif not is_there:
                problem = f"no Step makes the input {key!r}"
                problem += "" if is_there is None else ", and it isn't there"
                way = (entry.number, *_way_to(entry.parsed, name, key))
                found.warning(entry.file, way, f"Step {entry.parsed.name!r}: {problem}; {advice}")
    return outside


def _way_to(step: Step, name: str, key: str) -> tuple[Any, ...]:
    """The way, in a Step as given, to the input that has this key once it is expanded."""
    names = [one for one, text in step.inputs.items() if text == key]
    return ("inputs", names[0] if names else name)
