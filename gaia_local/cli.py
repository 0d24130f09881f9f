"""The command line: reads arguments and files, calls the API, shows its answers.

Exit status: 0 the workflow is complete (or the call did what it says), 1 Steps failed or still wait, 2 the call was
refused, 130 and 143 stopped by Ctrl-C and SIGTERM. Whatever takes long to import is imported where it is used, so that
``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
import typer.core

from gaia_local.output import (
    Messages,
    open_console,
    print_answer,
    print_demo,
    print_events,
    print_explanation,
    print_json,
    print_plan,
    print_refusal,
    print_report,
    print_result,
    print_table,
)

if TYPE_CHECKING:
    from types import FrameType

    from gaia_local import Gaia

COMPLETE, FAILED, REFUSED = 0, 1, 2
FOLLOW_ROUND = 0.4
"""Seconds between two looks at a log that is followed."""


class Stopped(KeyboardInterrupt):
    """A signal asks this process to end; unlike a plain KeyboardInterrupt it knows which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@dataclass
class Options:
    """What stands before the command."""

    config: dict[str, Any] = field(default_factory=dict)
    debug: bool = False


class _Group(typer.core.TyperGroup):
    """Turns what the API refuses into a message and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Stopped as stopped:
            raise typer.Exit(128 + stopped.number) from None
        except OSError as error:  # which GaiaError is: naming it here would import half a second of libraries for --help
            from gaia_local.errors import GaiaError

            if not isinstance(error, GaiaError) or (isinstance(ctx.obj, Options) and ctx.obj.debug):
                raise
            print_refusal(str(error))
            raise typer.Exit(REFUSED) from None


app = typer.Typer(
    name="gaia-local",
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The workflow's name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only list what would run, and why.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> NoReturn:
    """The console script ``gaia-local``."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that knows few characters shows '?' for the others
            stream.reconfigure(errors="replace")
    app(prog_name="gaia-local")
    raise SystemExit(COMPLETE)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = version("gaia-local")
        except PackageNotFoundError:
            found = "(its source, not installed)"
        typer.echo(f"gaia-local {found}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    *,
    root: Annotated[
        Path | None, typer.Option(help="Where workflows and data are kept; $GAIA_LOCAL_ROOT, or ./gaia-data.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(metavar="docker|process|auto", help="How Steps run; $GAIA_LOCAL_RUNTIME, or docker.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many Steps run at a time; one for each CPU.")] = None,
    bucket: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DIR", help="Serve a bucket from a directory. May be repeated.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Gaia without the server: run Gaia workflows on this machine, in containers or processes."""
    given = {
        "root": root and str(root),
        "runtime": runtime,
        "workers": workers,
        "buckets": dict(_pairs("--bucket", bucket)) or None,
    }
    ctx.obj = Options({key: value for key, value in given.items() if value is not None}, debug)
    logger = logging.getLogger("gaia_local")
    if not any(isinstance(handler, Messages) for handler in logger.handlers):
        logger.addHandler(Messages(logging.WARNING))


# ---------------------------------------------------------------------------------------- commands that run Steps


@app.command()
def demo(ctx: typer.Context, as_json: Json = False) -> None:
    """Run a small workflow that comes with the package, and show its results.

    It counts the words of three short texts, in containers where a Docker Engine answers and as processes elsewhere.
    """
    import os

    from gaia_local import demo as example

    given: dict[str, Any] = ctx.obj.config
    if not os.environ.get("GAIA_LOCAL_RUNTIME"):
        given.setdefault("runtime", "auto")
    with _resumable() as about, _open(ctx) as gaia:
        name = example.name(gaia.workflows()["workflows"])
        gaia.upload(name, {"description": "words of three short texts"}, example.commands(), example.steps())
        about.append(name)
        example.place_inputs(lambda key: gaia.path(name, key))
        gaia.run(name)
        state = _follow(gaia, name, as_json)
        if state == COMPLETE and not as_json:
            print_demo(gaia, name, f"{_program()}{_options_again(given)}")
    raise typer.Exit(state)


@app.command()
def upload(
    ctx: typer.Context,
    name: Name,
    *,
    commands: Annotated[Path | None, typer.Option(metavar="FILE", help="The Commands: a JSON or YAML file.")] = None,
    steps: Annotated[Path | None, typer.Option(metavar="FILE", help="The Steps: a JSON or YAML file.")] = None,
    path: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="Instead of both: take PREFIXcommands.json and PREFIXsteps.json.")
    ] = None,
    extension: Annotated[str, typer.Option(metavar="json|yaml", help="What the files of --path end in.")] = "json",
    properties: Annotated[
        list[str] | None, typer.Option("--property", metavar="KEY=VALUE", help="A property of the workflow. May be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Upload a new workflow and run it to its end."""
    if path is not None and (commands or steps):
        raise typer.BadParameter("give either --path, or --commands and --steps")
    if path is not None:
        if extension not in ("json", "yaml"):
            raise typer.BadParameter(f"it is {extension!r}; give 'json' or 'yaml'", param_hint="--extension")
        commands, steps = Path(f"{path}commands.{extension}"), Path(f"{path}steps.{extension}")
    if commands is None or steps is None:
        raise typer.BadParameter("give --commands FILE and --steps FILE, or --path PREFIX")
    files = _read(commands), _read(steps)
    _run(ctx, name, lambda gaia: gaia.upload(name, dict(_pairs("--property", properties)), *files), as_json)


@app.command()
def run(ctx: typer.Context, name: Name, *, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Run what is left of a workflow: after a stop, a halt or a failure."""
    if dry_run:
        _plan(ctx, lambda gaia: gaia.run(name, dry_run=True), as_json)
    else:
        _run(ctx, name, lambda gaia: gaia.run(name), as_json)


@app.command()
def expire(
    ctx: typer.Context,
    name: Name,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Step names and storage keys.")],
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run Steps again: those named, those that make the named keys, and all that depend on them."""
    if dry_run:
        _plan(ctx, lambda gaia: gaia.expire(name, keys, dry_run=True), as_json)
    else:
        _run(ctx, name, lambda gaia: gaia.expire(name, keys), as_json)


# ---------------------------------------------------------------------------------------------- commands that ask


@app.command()
def status(
    ctx: typer.Context,
    name: Name,
    debug: Annotated[bool, typer.Option("--debug", help="Also tasks, data and flow (as JSON).")] = False,
    as_json: Json = False,
) -> None:
    """Say how far a workflow is, what failed, and which inputs it waits for."""
    with _open(ctx) as gaia:
        gaia.progress(name)  # refuses a name that nobody uploaded, which status answers as the server does
        answer = gaia.status(name, debug=debug)
        if as_json or debug:
            print_json(_whole(gaia, answer))
        else:
            print_result(gaia, answer)


@app.command()
def workflows(ctx: typer.Context, as_json: Json = False) -> None:
    """List the workflows of this root."""
    with _open(ctx) as gaia:
        answer = gaia.workflows()
    if as_json:
        print_json(answer)
        return
    rows = [
        [name, each["state"], str(each["step-count"]), str(each["properties"].get("owner", ""))]
        for name, each in sorted(answer["workflows"].items())
    ]
    if rows:
        print_table(["workflow", "state", "Steps", "owner"], rows)
    else:
        open_console(error=True).print("no workflows yet")


@app.command()
def explain(
    ctx: typer.Context,
    name: Name,
    what: Annotated[str, typer.Argument(metavar="STEP|KEY", help="The name of a Step, or a storage key.")],
    as_json: Json = False,
) -> None:
    """Say why a Step ran, would or wouldn't run now; or where the data of a storage key come from."""
    with _open(ctx) as gaia:
        answer = gaia.explain(name, what)
    if as_json:
        print_json(answer)
    else:
        print_explanation(answer)


@app.command()
def logs(
    ctx: typer.Context,
    name: Name,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The Step's name.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on showing it until the Step ends.")] = False,
) -> None:
    """Print the log of a Step's latest attempt."""
    import threading

    never = threading.Event()
    with _resumable(), _open(ctx) as gaia:
        shown = ""
        while True:
            more = follow and _goes_on(gaia, name, step)
            text = gaia.logs(name, step)
            if more:
                text = text.rstrip("\ufffd")  # the first half of a character whose other half is still to come
            typer.echo(text[len(shown) :] if len(text) >= len(shown) else text, nl=False)
            if not more:
                return
            shown = text
            never.wait(FOLLOW_ROUND)


@app.command()
def events(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """List what happened in a workflow, oldest first."""
    with _open(ctx) as gaia:
        answer = gaia.events(name)
    if as_json:
        print_json(answer)
    else:
        print_events(answer)


@app.command()
def halt(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Stop a workflow; `run` starts it again."""
    with _open(ctx) as gaia:
        answer = gaia.halt(name)
    print_answer(answer, f"{name} is halted", as_json)


@app.command()
def delete(
    ctx: typer.Context,
    name: Name,
    data: Annotated[bool, typer.Option("--data", help="Remove its files from the store, too.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a workflow: what is known of it, and its logs."""
    with _open(ctx) as gaia:
        answer = gaia.delete(name, data=data)
    print_answer(answer, f"{name} is deleted" + (" with its files" if data else "; its files stay"), as_json)


@app.command()
def clean(ctx: typer.Context, as_json: Json = False) -> None:
    """Remove the containers, processes and private files that an engine of this root left when it died."""
    from dataclasses import asdict

    from gaia_local.config import Config
    from gaia_local.leftovers import clean as remove

    removed = remove(Config.parse(ctx.obj.config))
    answer = {"removed": [asdict(each) for each in removed]}
    print_answer(answer, "\n".join(f"removed {each.kind} {each.name}" for each in removed) or "nothing was left", as_json)


@app.command()
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Say what works here: the Docker Engine, the root, the disk, the file-watch limit."""
    from dataclasses import asdict

    from gaia_local.config import Config
    from gaia_local.doctor import examine

    report = examine(Config.parse(ctx.obj.config))
    if as_json:
        print_json({"ok": report.ok, "checks": [asdict(check) for check in report.checks]})
    else:
        print_report(report)
    raise typer.Exit(COMPLETE if report.ok else FAILED)


# ---------------------------------------------------------------------------------------------------------- inside


def _open(ctx: typer.Context) -> Gaia:
    from gaia_local import Gaia

    return Gaia(ctx.obj.config)


def _run(ctx: typer.Context, name: str, start: Callable[[Gaia], object], as_json: bool) -> NoReturn:
    with _resumable() as about, _open(ctx) as gaia:
        start(gaia)
        about.append(name)
        state = _follow(gaia, name, as_json)
    raise typer.Exit(state)


def _plan(ctx: typer.Context, ask: Callable[[Gaia], Mapping[str, Any]], as_json: bool) -> None:
    with _open(ctx) as gaia:
        answer = ask(gaia)
    if as_json:
        print_json(answer)
    else:
        print_plan(answer["would"])


def _follow(gaia: Gaia, name: str, as_json: bool) -> int:
    """Wait for a workflow's end and show how it ended; answers the exit status."""
    from gaia_local.progress import follow

    answer = follow(gaia, name)
    if as_json:
        print_json(_whole(gaia, answer))
    else:
        print_result(gaia, answer)
    return COMPLETE if answer["state"] in ("complete", "initialized") else FAILED


def _whole(gaia: Gaia, status: dict[str, Any]) -> dict[str, Any]:
    """A status with what print_result tells beside it."""
    name = status["workflow"]
    return {**status, "progress": gaia.progress(name), "failures": gaia.failures(name)}


@contextlib.contextmanager
def _resumable() -> Iterator[list[str]]:
    """While inside, a signal that asks for the end raises `Stopped`; then says how the workflows in the list go on."""
    about: list[str] = []
    before: dict[int, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        from gaia_local.engine import hurry

        for each in before:  # an exception a second time would break into the closing
            signal.signal(each, lambda *_: hurry())
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            before[number] = signal.signal(number, stop)
    try:
        yield about
    except Stopped:
        for name in about:
            open_console(error=True).print(f"\nStopped. `gaia-local run {name}` goes on from here.", markup=False)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _goes_on(gaia: Gaia, name: str, step: str) -> bool:
    """Whether the Step runs, or may still begin."""
    answer = gaia.status(name, debug=True)
    task = answer["status"]["tasks"].get(step)
    state: str = answer["state"] if task is None else task["state"]
    return state == "running"


def _pairs(option: str, given: list[str] | None) -> Iterator[tuple[str, str]]:
    for each in given or ():
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"it is {each!r}; give a name, '=' and a value", param_hint=option)
        yield key, value


def _read(path: Path) -> Any:
    """The contents of a file of Commands or Steps; what is wrong with it is bad usage."""
    from gaia_local.definitions import read
    from gaia_local.errors import InvalidInput

    try:
        return read(path)
    except InvalidInput as error:
        raise typer.BadParameter(str(error)) from None


def _program() -> str:
    """How this program can be called again."""
    import shutil

    called = Path(sys.argv[0])
    if shutil.which("gaia-local"):
        return "gaia-local"
    if called.name == "gaia-local":
        return str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)
    return f"{sys.executable} -m gaia_local"


def _options_again(config: Mapping[str, Any]) -> str:
    """The options that lead to the same configuration, each with a blank before it."""
    import shlex

    words = [word for key in ("root", "runtime", "workers") if key in config for word in (f"--{key}", str(config[key]))]
    words += [word for name, path in config.get("buckets", {}).items() for word in ("--bucket", f"{name}={path}")]
    return "".join(f" {shlex.quote(word)}" for word in words)
