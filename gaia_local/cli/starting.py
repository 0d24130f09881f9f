"""Commands that run Steps."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gaia_local.cli import completing
from gaia_local.cli.options import options_again, pairs
from gaia_local.cli.output import print_demo, print_json, print_plan, print_result
from gaia_local.cli.printing import print_line
from gaia_local.cli.program import (
    COMPLETE,
    FAILED,
    Json,
    Name,
    Stopped,
    app,
    open_gaia,
    resumable,
    with_progress,
)
from gaia_local.errors import InvalidInput, WorkflowExists

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.cli.watching import Definitions

Watch = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Keep watching, and run Steps again when files change, until Ctrl-C.",
    ),
]
CommandsFile = Annotated[
    Path | None,
    typer.Option("--commands", metavar="FILE", help="The Commands: a JSON or YAML file."),
]
StepsFile = Annotated[
    Path | None, typer.Option("--steps", metavar="FILE", help="The Steps: a JSON or YAML file.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Remove the workflow's Steps that aren't in the file.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list what would run, and why.")]


@app.command(rich_help_panel="Run")
def demo(ctx: typer.Context, as_json: Json = False) -> None:
    """Run a small workflow that comes with the package, and show its results.

    It counts the words of three short texts, in containers where a Docker Engine answers and as
    processes elsewhere.
    """
    import os

    from gaia_local import demo as example

    given: dict[str, Any] = ctx.obj.config
    if not os.environ.get("GAIA_LOCAL_RUNTIME"):
        given.setdefault("runtime", "auto")
    with resumable(ctx) as about, open_gaia(ctx) as gaia:
        name = example.name(gaia.workflows()["workflows"])
        gaia.upload(
            name, {"description": "words of three short texts"}, example.commands(), example.steps()
        )
        about.append(name)
        example.place_inputs(lambda key: gaia.path(name, key))
        with _saying_what_is_stored(ctx, gaia, name):
            gaia.run(name)
        state = _follow(gaia, name, as_json)
        if state == COMPLETE and not as_json:
            print_demo(gaia, name, f"{_program()}{options_again(given)}")
    raise typer.Exit(state)


@app.command(rich_help_panel="Run")
def upload(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The new workflow's name, as owner_program_datetime."),
    ],
    *,
    commands: CommandsFile = None,
    steps: StepsFile = None,
    path: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX", help="Instead of both: read PREFIXcommands.json and PREFIXsteps.json."
        ),
    ] = None,
    extension: Annotated[
        str, typer.Option(metavar="json|yaml", help="The extension of the files of --path.")
    ] = "json",
    properties: Annotated[
        list[str] | None,
        typer.Option(
            "--property", metavar="KEY=VALUE", help="A property of the workflow. May be repeated."
        ),
    ] = None,
    merge: Annotated[
        bool,
        typer.Option("--merge", help="If there is a workflow of this name, update it, as merge."),
    ] = False,
    prune: Prune = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only list problems of the two files, as `check` does."),
    ] = False,
    watch: Watch = False,
    as_json: Json = False,
) -> None:
    """Upload a new workflow and run it to its end; --watch also merges changes of its two files."""
    if dry_run and watch:
        raise typer.BadParameter("give either --dry-run or --watch")
    if path is not None and (commands or steps):
        raise typer.BadParameter("give either --path, or --commands and --steps")
    if path is not None:
        if extension not in ("json", "yaml"):
            raise typer.BadParameter(
                f"it is {extension!r}; give 'json' or 'yaml'", param_hint="--extension"
            )
        commands, steps = Path(f"{path}commands.{extension}"), Path(f"{path}steps.{extension}")
    if commands is None or steps is None:
        raise typer.BadParameter("give --commands FILE and --steps FILE, or --path PREFIX")
    given = dict(pairs("--property", properties))
    if dry_run:
        from gaia_local.cli.checking import report

        report(ctx, name, [(commands, "Command"), (steps, "Step")], False, as_json)
    files = _read(commands, steps, prune)

    def start(gaia: Gaia) -> None:
        try:
            gaia.upload(name, given, files.commands, files.steps)
        except WorkflowExists:
            if not merge and not (watch and _agrees_to_merge(name)):
                options = f"--commands {commands} --steps {steps}"
                right = f"`gaia-local merge {name} {options}` changes it, or choose another name"
                raise InvalidInput(f"workflow {name!r}", "it exists already", right) from None
            _update(gaia, name, files)

    if watch:
        _keep_running(ctx, name, start, as_json, files)
    _run(ctx, name, start, as_json)


@app.command(rich_help_panel="Run")
def merge(
    ctx: typer.Context,
    name: Name,
    *,
    commands: CommandsFile = None,
    steps: StepsFile = None,
    prune: Prune = False,
    as_json: Json = False,
) -> None:
    """Add Commands and Steps to a workflow, or replace those of the same names, and run it.

    All are merged at once, or none. What has changed runs, and what depends on that.
    """
    if commands is None and steps is None:
        raise typer.BadParameter("give --commands FILE, --steps FILE, or both")
    files = _read(commands, steps, prune)
    _run(ctx, name, lambda gaia: _update(gaia, name, files), as_json)


@app.command(rich_help_panel="Run")
def run(
    ctx: typer.Context,
    name: Name,
    *,
    dry_run: DryRun = False,
    watch: Watch = False,
    commands: CommandsFile = None,
    steps: StepsFile = None,
    prune: Prune = False,
    as_json: Json = False,
) -> None:
    """Run what is left of a workflow: after a stop, a halt or a failure.

    With --watch it also merges changes of the files that --commands and --steps name.
    """
    if dry_run and watch:
        raise typer.BadParameter("give either --dry-run or --watch")
    files = _read(commands, steps, prune) if commands or steps or prune else None
    if files and not watch:
        raise typer.BadParameter(
            f"they are for --watch; `gaia-local merge {name}` changes a workflow once",
            param_hint="--commands, --steps",
        )

    def start(gaia: Gaia) -> None:
        if files:
            _update(gaia, name, files)
        gaia.run(name)

    if watch:
        _keep_running(ctx, name, start, as_json, files)
    if dry_run:
        _plan(ctx, lambda gaia: gaia.run(name, dry_run=True), as_json)
    else:
        _run(ctx, name, lambda gaia: gaia.run(name), as_json)


@app.command(rich_help_panel="Run")
def expire(
    ctx: typer.Context,
    name: Name,
    keys: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY...",
            help="Step names and storage keys.",
            autocompletion=completing.steps_and_keys,
        ),
    ],
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run Steps again: those named, those that make the named keys, and all that depend on them."""
    if dry_run:
        _plan(ctx, lambda gaia: gaia.expire(name, keys, dry_run=True), as_json)
    else:
        _run(ctx, name, lambda gaia: gaia.expire(name, keys), as_json)


# ------------------------------------------------------------------------------------------- inside


def _run(ctx: typer.Context, name: str, start: Callable[[Gaia], object], as_json: bool) -> NoReturn:
    with resumable(ctx) as about, open_gaia(ctx) as gaia:
        with _saying_what_is_stored(ctx, gaia, name):
            start(gaia)
        about.append(name)
        state = _follow(gaia, name, as_json)
    raise typer.Exit(state)


@contextlib.contextmanager
def _saying_what_is_stored(ctx: typer.Context, gaia: Gaia, name: str) -> Iterator[None]:
    """Where no engine runs the Steps of a stored workflow, say that it is stored, and what helps.

    Of an `upload` that is refused because its Steps could not start, nothing is stored.
    """
    from gaia_local.errors import EngineUnavailable

    try:
        yield
    except EngineUnavailable as error:
        if name not in gaia.workflows()["workflows"]:
            raise
        again = dict(ctx.obj.config)
        if not again.get("dask"):
            again["runtime"] = "process"
        why = str(error).partition("; nothing of this call was stored")[0]
        raise EngineUnavailable(
            f"{why}; {name} is stored; `gaia-local{options_again(again)} run {name}` starts it"
        ) from error


def _keep_running(
    ctx: typer.Context,
    name: str,
    start: Callable[[Gaia], object],
    as_json: bool,
    files: Definitions | None = None,
) -> NoReturn:
    """Run a workflow again as files change, until a signal; after Ctrl-C exit by its state."""
    from gaia_local.cli.progress import follow
    from gaia_local.cli.watching import ChangeReporter

    if as_json:
        raise typer.BadParameter("--watch prints lines of text; leave out --json")
    state = FAILED
    try:
        with (
            resumable(ctx) as about,
            open_gaia(ctx) as gaia,
            ChangeReporter(gaia, name, lambda: follow(gaia, name), files) as reporter,
        ):
            with _saying_what_is_stored(ctx, gaia, name):
                start(gaia)
            about.append(name)
            try:
                for line in reporter.lines():
                    print_line(*line)
            except Stopped:
                if gaia.progress(name)["state"] == "complete":
                    about.clear()
                    state = COMPLETE
                raise
    except Stopped as stopped:
        if stopped.number != signal.SIGINT:
            raise
    raise typer.Exit(state)


def _plan(ctx: typer.Context, ask: Callable[[Gaia], Mapping[str, Any]], as_json: bool) -> None:
    with open_gaia(ctx) as gaia:
        answer = ask(gaia)
    if as_json:
        print_json(answer)
    else:
        print_plan(answer["would"])


def _follow(gaia: Gaia, name: str, as_json: bool) -> int:
    """Wait for a workflow's end, print its result, and return the exit status."""
    from gaia_local.cli.progress import follow

    answer = follow(gaia, name)
    if as_json:
        print_json(with_progress(gaia, answer))
    else:
        print_result(gaia, answer)
    return COMPLETE if answer["state"] in ("complete", "initialized") else FAILED


def _update(gaia: Gaia, name: str, files: Definitions) -> None:
    """Bring an existing workflow to what the files hold; lines about Steps that they don't."""
    gaia.progress(name)  # refused where there is none: `update` would make it
    for line in files.update(gaia, name):
        print_line(line, error=True)


def _agrees_to_merge(name: str) -> bool:
    """Ask on a terminal whether the files are to be merged into an existing workflow."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    return typer.confirm(f"Workflow {name!r} exists. Merge the files into it?", err=True)


def _read(commands: Path | None, steps: Path | None, prune: bool = False) -> Definitions:
    """Read the files of Commands and Steps; `typer.BadParameter` if one is invalid."""
    from gaia_local.cli.watching import Definitions
    from gaia_local.model.definition_fields import kind_of

    if prune and steps is None:
        raise typer.BadParameter("give --steps FILE, too", param_hint="--prune")
    try:
        files = Definitions(commands, steps, prune)
    except InvalidInput as error:
        raise typer.BadParameter(str(error)) from None
    if (kind_of(files.commands), kind_of(files.steps)) == ("Step", "Command"):
        raise typer.BadParameter(
            f"{commands} holds Steps, and {steps} holds Commands; "
            f"give --commands {steps} --steps {commands}"
        )
    return files


def _program() -> str:
    """The command that starts this program again, for hints."""
    import shutil

    called = Path(sys.argv[0])
    if shutil.which("gaia-local"):
        return "gaia-local"
    if called.name == "gaia-local":
        return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
    return f"{sys.executable} -m gaia_local"
