"""Checks files of definitions, for editors, CI and `upload --dry-run`; and prints their schema."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gaia_local.cli.output import print_json
from gaia_local.cli.printing import Styled, print_line
from gaia_local.cli.program import COMPLETE, FAILED, Json, app

if TYPE_CHECKING:
    from gaia_local.cli.problems import Findings, Problem
    from gaia_local.model.definition_files import DefinitionFile

_UNNAMED = "unnamed"
"""Stands for the workflow's name where none is given."""
_MOST_INPUTS = 5
"""The most inputs from outside that are named."""


@app.command(rich_help_panel="Ask")
def check(
    ctx: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Commands and Steps, in JSON or YAML files."),
    ],
    *,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Look for inputs in the store of this workflow."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings, too.")] = False,
    as_json: Json = False,
) -> None:
    """List all problems of Commands and Steps, with their lines; nothing is stored or started."""
    report(ctx, name, [(path, None) for path in files], strict, as_json)


class Kind(enum.StrEnum):
    """The kinds of definition files."""

    COMMANDS = "commands"
    STEPS = "steps"


@app.command(rich_help_panel="Ask")
def schema(
    kind: Annotated[Kind, typer.Argument(show_default=False, help="What the file holds.")],
    *,
    path: Annotated[
        bool, typer.Option("--path", help="Print the path of the schema's file instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of a file of Commands or Steps, for editors."""
    import json

    from gaia_local.model import json_schema as made

    if path:
        print_line(str(made.schema_file(kind)))
    else:
        sys.stdout.write(json.dumps(made.schema(kind), indent=2) + "\n")


def report(
    ctx: typer.Context,
    name: str | None,
    paths: Sequence[tuple[Path, str | None]],
    strict: bool,
    as_json: bool,
) -> NoReturn:
    """Print the problems of files, and exit with 1 if there are errors.

    Each file comes with its kind, "Command" or "Step", or None if that is to be guessed.
    """
    from gaia_local.cli import problems, unused
    from gaia_local.config import Config
    from gaia_local.model.workflows import check_workflow_name
    from gaia_local.store.storage import Storage

    for path, _ in paths:
        if not path.exists() or path.is_dir():
            raise typer.BadParameter(f"there is no file {path}; give files that are there")
    workflow = _UNNAMED if name is None else check_workflow_name(name)
    config = Config.parse(ctx.obj.config)
    storage = Storage(config.root, config.buckets)

    def locate(key: str) -> str:
        return storage.path(workflow, key)

    def exists(key: str) -> bool | None:
        known = name is not None or storage.is_mapped(key)
        return storage.exists(key, locate(key)) if known else None

    unreadable: list[Problem] = []
    files = _opened(paths, unreadable)
    found = problems.collect(workflow, files, locate, config.max_steps)
    found.problems += unreadable
    found.unreadable |= bool(unreadable)
    outside = unused.warn(found, locate, exists)
    _print(found, outside, as_json)
    levels = {problem.level for problem in found.problems}
    failed = "error" in levels or (strict and "warning" in levels)
    raise typer.Exit(FAILED if failed else COMPLETE)


def _opened(
    paths: Iterable[tuple[Path, str | None]], unreadable: list[Problem]
) -> list[tuple[DefinitionFile, str]]:
    """The files with their kinds; problems of those that can't be read are added to the list."""
    from gaia_local.cli.problems import Problem, guess_kind
    from gaia_local.model.definition_files import InvalidFile, open_file

    files = []
    for path, given in paths:
        try:
            file = open_file(path)
        except InvalidFile as error:
            line, column = error.position or (1, 1)
            message = f"{error.problem}; {error.right}"
            unreadable.append(Problem(str(path), line, column, "error", message))
            continue
        kind = given or guess_kind(file)
        if kind is not None:
            files.append((file, kind))
        elif file.values != []:
            message = "this looks neither like Commands nor like Steps; give a list of either"
            unreadable.append(Problem(str(path), *file.position(()), "error", message))
    return files


def _print(found: Findings, outside: list[str], as_json: bool) -> None:
    ordered = sorted(set(found.problems))
    if as_json:
        answer: dict[str, Any] = {
            "problems": [vars(problem) for problem in ordered],
            "inputs": outside,
        }
        print_json(answer)
        return
    for problem in ordered:
        print_line(
            f"{problem.file}:{problem.line}:{problem.column}: ",
            Styled(f"{problem.level}:", "red" if problem.level == "error" else "yellow"),
            f" {problem.message}",
        )
    if outside:
        more = f" and {len(outside) - _MOST_INPUTS} more" if len(outside) > _MOST_INPUTS else ""
        print_line(f"inputs from outside: {', '.join(outside[:_MOST_INPUTS])}{more}")
    counts = [
        _count(sum(problem.level == level for problem in ordered), level)
        for level in ("error", "warning")
    ]
    of = f"{_count(len(found.commands), 'Command')} and {_count(len(found.steps), 'Step')}"
    print_line(f"{' and '.join(counts)} in {of}")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
