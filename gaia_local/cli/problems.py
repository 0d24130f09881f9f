"""All problems of files of definitions at once, each with its place, without an engine.

Errors are what `upload` would refuse. Definitions that can't be parsed take no part in the checks
of the others, and Steps of a faulty Command are not checked against it: so one fault is told once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gaia_local.errors import InvalidInput, nearest, shown
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.definition_faults import parse_or_blame
from gaia_local.model.definition_fields import FIELDS, kind_of
from gaia_local.model.definition_files import DefinitionFile
from gaia_local.model.steps import Step
from gaia_local.workflow import expansion, templates
from gaia_local.workflow.graph import Graph

_FIT = re.compile(r"(?:has no|does not give its) (input|output) '([^']*)'")
"""In a refusal, the input or output of a Step that doesn't fit."""


@dataclass(frozen=True, order=True)
class Problem:
    """A line of the report. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    level: Literal["error", "warning"]
    message: str


@dataclass(frozen=True)
class Entry:
    """A definition that was parsed, and its place."""

    file: DefinitionFile
    number: int
    """From 0 on."""
    parsed: Any
    """A Command or a Step."""


@dataclass
class Findings:
    """What the files hold, and the problems found so far."""

    workflow: str
    commands: dict[str, Entry] = field(default_factory=dict)
    steps: dict[str, Entry] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
    """The names of Commands that aren't parsed, or whose inner Steps don't fit."""
    unreadable: bool = False
    """Whether nothing is known of a whole file."""
    unread_steps: bool = False
    """Whether Steps were given that aren't parsed, or don't fit."""
    mentioned: set[str] = field(default_factory=set)
    """The Commands that Steps name which aren't parsed."""
    concrete: dict[str, tuple[Step, Entry]] = field(default_factory=dict)
    """The Steps that the others become, with their origins."""
    problems: list[Problem] = field(default_factory=list)

    def error(self, file: DefinitionFile, way: tuple[Any, ...], message: str) -> None:
        """Add what `upload` would refuse."""
        self._add("error", file, way, message)

    def warning(self, file: DefinitionFile, way: tuple[Any, ...], message: str) -> None:
        """Add what is probably not meant."""
        self._add("warning", file, way, message)

    def refused(self, entry: Entry, way: tuple[Any, ...], error: InvalidInput) -> None:
        """Add an error of a definition."""
        self.error(entry.file, (entry.number, *way), self.text(error))

    def text(self, error: InvalidInput) -> str:
        """The message without the workflow, of which there is only one."""
        return re.sub(rf"^workflow {re.escape(repr(self.workflow))}(, |: )", "", str(error))

    def known_commands(self) -> dict[str, AnyCommand]:
        """Name → Command, of all that were parsed."""
        return {name: entry.parsed for name, entry in self.commands.items()}

    def _add(
        self,
        level: Literal["error", "warning"],
        file: DefinitionFile,
        way: tuple[Any, ...],
        message: str,
    ) -> None:
        line, column = file.position(way)
        self.problems.append(Problem(str(file.path), line, column, level, message))


def collect(
    workflow: str,
    files: Iterable[tuple[DefinitionFile, str]],
    locate: Callable[[str], str],
    max_steps: int,
) -> Findings:
    """The errors of files, each with the kind of its definitions, "Command" or "Step".

    `locate` maps a storage key to its path. Files of one kind alone are not checked against the
    other kind.
    """
    found = Findings(workflow)
    kinds = set()
    for file, kind in files:
        kinds.add(kind)
        _parse_entries(found, file, kind)
        for (line, column), text, meaning in file.respelled():
            message = f"YAML reads {text} as {meaning}; put it in quotes if you mean the text"
            found.problems.append(Problem(str(file.path), line, column, "warning", message))
    if "Command" in kinds:
        for entry in list(found.commands.values()):
            if isinstance(entry.parsed, CompositeCommand):
                _check_inner_steps(found, entry, entry.parsed)
    if kinds == {"Command", "Step"}:
        _fit(found, max_steps)
        _join(found, locate)
    return found


def guess_kind(file: DefinitionFile) -> str | None:
    """What a file seems to hold: by its entries, or else by its name."""
    kind = kind_of(file.values)
    if kind is None:
        kinds = [kind for kind in FIELDS if kind.lower() in file.path.stem.lower()]
        kind = kinds[0] if len(kinds) == 1 else None
    return kind


def _parse_entries(found: Findings, file: DefinitionFile, kind: str) -> None:
    if not isinstance(file.values, list):
        held = "nothing" if file.values is None else shown(file.values)
        found.error(file, (), f"it holds {held}; give a list of {kind}s")
        found.unreadable = True
        return
    known = found.commands if kind == "Command" else found.steps
    unknown: dict[str, list[tuple[Any, ...]]] = {}
    for number, given in enumerate(file.values):
        parsed, faults = parse_or_blame(found.workflow, kind, given, number + 1)
        entry = Entry(file, number, parsed)
        for fault in faults:
            found.refused(entry, fault.way, fault.error)
        told = {fault.way for fault in faults}
        for way, name in _unknown_fields(kind, given):
            if way not in told:
                unknown.setdefault(name, []).append((number, *way))
        if parsed is None:
            _remember_unparsed(found, kind, given)
        elif parsed.name in known:
            first = known[parsed.name]
            line = first.file.position((first.number, "name")).line
            found.error(
                file,
                (number, "name"),
                f"{kind} {parsed.name!r}: {first.file.path} has another one of this name in line "
                f"{line}; give each a name of its own",
            )
        else:
            known[parsed.name] = entry
    for name, ways in unknown.items():
        more = f" (nor do {len(ways) - 1} more of this name)" if len(ways) > 1 else ""
        inner = "Step" if len(ways[0]) > 2 else kind
        advice = nearest(name, FIELDS[inner])
        found.warning(file, ways[0], f"the field {shown(name)} means nothing here{more}; {advice}")


def _remember_unparsed(found: Findings, kind: str, given: object) -> None:
    given = given if isinstance(given, dict) else {}
    if kind == "Command":
        found.faulty.add(str(given.get("name")))
        inner = given.get("steps")
        given_steps: Sequence[Any] = inner if isinstance(inner, list) else []
    else:
        found.unread_steps = True
        given_steps = [given]
    found.mentioned.update(
        str(step.get("command")) for step in given_steps if isinstance(step, dict)
    )


def _unknown_fields(kind: str, given: object) -> Iterable[tuple[tuple[Any, ...], str]]:
    if not isinstance(given, dict):
        return
    for name in given:
        if name not in FIELDS[kind]:
            yield (name,), str(name)
    inner = given.get("steps") if kind == "Command" else None
    for number, step in enumerate(inner if isinstance(inner, list) else ()):
        for way, name in _unknown_fields("Step", step):
            yield ("steps", number, *way), name


def _check_inner_steps(found: Findings, entry: Entry, composite: CompositeCommand) -> None:
    """Check whether inner Steps fit their Commands."""
    known = found.known_commands()
    for number, inner in enumerate(composite.steps):
        where = f"Command {composite.name!r}, inner Step {inner.name!r}"
        way: tuple[Any, ...] = (entry.number, "steps", number)
        command = known.get(inner.command)
        if command is None:
            if inner.command not in found.faulty:
                advice = nearest(inner.command, known, "the Commands are")
                message = f"{where}: there is no Command {inner.command!r}; {advice}"
                found.error(entry.file, (*way, "command"), message)
            found.faulty.add(composite.name)
            continue
        try:
            templates.check_keys(where, inner, command)
        except InvalidInput as error:
            found.error(entry.file, (*way, *_way_of(error)), str(error))
            found.faulty.add(composite.name)


def _fit(found: Findings, max_steps: int) -> None:
    """Check each Step against its Command; the Steps that fit are expanded."""
    known = found.known_commands()
    verdicts: templates.Verdicts = {}
    counter, total = expansion.Counter(found.workflow, known), 0
    for entry in found.steps.values():
        step: Step = entry.parsed
        if _rests_on(step.command, known, found.faulty):
            found.unread_steps = True
            continue
        try:
            total += counter.count(step)
            if total > max_steps:
                problem = f"up to it there are {total:,} Steps, and max_steps is {max_steps:,}"
                right = "use shorter arrays, or another max_steps"
                raise InvalidInput(f"Step {step.name!r}", problem, right)
            made = _expand(found, step, known)
            for concrete in made:
                command = known[concrete.command]
                assert isinstance(command, Command)
                templates.check(found.workflow, concrete, command, verdicts)
        except InvalidInput as error:
            found.unread_steps = True
            found.refused(entry, _way_of(error), error)
            continue
        for concrete in made:
            found.concrete.setdefault(concrete.name, (concrete, entry))
            if found.concrete[concrete.name][0] is not concrete:
                found.error(
                    entry.file,
                    (entry.number, "name"),
                    f"Step {step.name!r}: it becomes a Step {concrete.name!r}, and so does "
                    "another; give each Step a name of its own",
                )


def _expand(found: Findings, step: Step, known: dict[str, AnyCommand]) -> list[Step]:
    """The Steps that it becomes; an empty array is a warning of `unused`, not a line of a log."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        return expansion.expand(found.workflow, step, known)
    finally:
        logging.disable(before)


def _rests_on(name: str, known: dict[str, AnyCommand], faulty: set[str]) -> bool:
    """Whether a Command, or one that it invokes at any depth, is faulty."""
    names, seen = [name], set()
    while names:
        name = names.pop()
        if name in faulty:
            return True
        command = known.get(name)
        if isinstance(command, CompositeCommand) and name not in seen:
            names += [step.command for step in command.steps]
        seen.add(name)
    return False


def _join(found: Findings, locate: Callable[[str], str]) -> None:
    """Check for conflicts between Steps: two that make one file, or that wait for each other."""
    everything = [step for step, _ in found.concrete.values()]
    try:
        Graph(found.workflow, locate).replace([], everything)
    except InvalidInput:
        graph = Graph(found.workflow, locate)
        told: set[str] = set()
        for step, entry in found.concrete.values():
            try:
                graph.replace([], [step])
            except InvalidInput as error:
                if entry.parsed.name not in told:
                    found.refused(entry, (), error)
                told.add(entry.parsed.name)


def _way_of(error: InvalidInput) -> tuple[Any, ...]:
    """The way, inside a Step, to what doesn't fit."""
    if "there is no Command" in error.problem:
        return ("command",)
    if ", Command " in error.where and (fit := _FIT.search(error.problem)):
        return (f"{fit[1]}s", fit[2])
    return ()
