"""The program itself: its options, errors and signals, and helpers of several commands."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

import typer
import typer.core

from gaia_local import interrupts
from gaia_local.cli import completing, streams
from gaia_local.cli.options import Options, options_again, with_number, with_options_named
from gaia_local.cli.output import Messages, print_refusal, print_trace
from gaia_local.cli.printing import print_line
from gaia_local.errors import GaiaError
from gaia_local.terminal_text import LINES, escaped

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from gaia_local import Gaia
    from gaia_local.model.answer_types import StatusAnswer

COMPLETE, FAILED, REFUSED = 0, 1, 2

BadUsage: Any = typer.BadParameter.__base__
"""click's `UsageError`, found here because typer's versions keep click in different modules."""
Hook: TypeAlias = "Callable[[type[BaseException], BaseException, TracebackType | None], object]"
"""The type of `sys.excepthook`."""


class Stopped(KeyboardInterrupt):
    """A signal asks this process to end; unlike a plain KeyboardInterrupt it has its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class ScriptError(Exception):
    """Carries an error of a user's script to `main`, past handlers of this program's errors."""

    def __init__(
        self,
        error: BaseException,
        trace: TracebackType | None,
        hook: Hook,
        hints: Sequence[str] = (),
    ) -> None:
        """`trace` is the part of its traceback that belongs to the script; `hook` prints it.

        The `hints` are printed after it, a line each.
        """
        super().__init__(error)
        self.error, self._trace, self._hook, self._hints = error, trace, hook, hints

    def show(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """A `sys.excepthook`."""
        self._hook(kind, error.with_traceback(self._trace), self._trace)
        for line in self._hints:
            print_line(line, error=True)


class _Group(typer.core.TyperGroup):
    """Turns errors of the API, bad usage and signals into a message and an exit status."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_number(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Stopped as stopped:
            raise typer.Exit(128 + stopped.number) from None
        except BadUsage as error:  # its message quotes files and arguments
            if sys.stderr.isatty():
                vars(error)["message"] = escaped(error.message, LINES)
            raise
        except GaiaError as error:
            if isinstance(ctx.obj, Options) and ctx.obj.debug:
                sys.excepthook = print_trace
                raise
            print_refusal(_in_words_of_options(ctx, str(error)))
            raise typer.Exit(REFUSED) from None


app = typer.Typer(
    name="gaia-local",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The workflow's name.", autocompletion=completing.workflows
    ),
]
StepName = Annotated[
    str, typer.Argument(metavar="STEP", help="The Step's name.", autocompletion=completing.steps)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def main() -> NoReturn:
    """The console script ``gaia-local``."""
    streams.install()
    end: BaseException = SystemExit(COMPLETE)
    try:
        app(prog_name="gaia-local")
    except ScriptError as escaped:
        end, sys.excepthook = escaped.error, escaped.show
    except (OSError, SystemExit) as error:
        end = error
    if (status := streams.failure()) is not None:
        raise SystemExit(status) from None
    raise end


def _version(wanted: bool) -> None:
    if wanted:
        from gaia_local.installation import version

        typer.echo(f"gaia-local {version()}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    *,
    root: Annotated[
        Path | None,
        typer.Option(
            help="Where workflows and data are kept; $GAIA_LOCAL_ROOT, or gaia-data, here or above."
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="docker|process|auto",
            help="How Steps run; $GAIA_LOCAL_RUNTIME, or docker.",
            autocompletion=lambda: ["docker", "process", "auto"],
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="How many Steps run at a time; one for each CPU.")
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="How many Steps one call may make; 200000.")
    ] = None,
    bucket: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="Serve a bucket from a directory. May be repeated."),
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|N",
            help="Run Steps on the Dask cluster of this scheduler, or on N local workers.",
        ),
    ] = None,
    reuse: Annotated[
        bool | None,
        typer.Option(
            "--reuse/--no-reuse",
            help="Give Steps the results of equal ones that ran before; $GAIA_LOCAL_REUSE, or no.",
        ),
    ] = None,
    keep_failed: Annotated[
        int | None,
        typer.Option(
            metavar="[N]",
            help="Keep the files of the newest N failed attempts of each Step (alone: 1); "
            "$GAIA_LOCAL_KEEP_FAILED, or none.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Gaia without the server: run Gaia workflows on this machine, in containers or processes."""
    ctx.obj = Options()
    ctx.obj.update(ctx.params)
    logger = logging.getLogger("gaia_local")
    if not any(isinstance(handler, Messages) for handler in logger.handlers):
        logger.addHandler(Messages(logging.WARNING))


def _in_words_of_options(ctx: Any, message: str) -> str:
    return with_options_named(message, ctx.obj.given if isinstance(ctx.obj, Options) else {})


# ----------------------------------------------------------------------------- for several commands


def open_gaia(ctx: typer.Context) -> Gaia:
    from gaia_local import Gaia

    return Gaia(ctx.obj.config)


@contextlib.contextmanager
def resumable(ctx: typer.Context, root: Path | None = None) -> Iterator[list[str]]:
    """While inside, a signal raises `Stopped` where the program waits, or else at the end.

    Then it prints how to resume the listed workflows of `root`, by default that of the options.
    """
    names: list[str] = []

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    try:
        with interrupts.deferred(stop):
            yield names
    except Stopped:
        for name in names:
            print_line(error=True)
            print_line(resume_hint(ctx, name, root), error=True)
        raise


def resume_hint(ctx: typer.Context, name: str, root: Path | None = None) -> str:
    """How to go on with a workflow of `root`, by default that of the options."""
    from gaia_local.config import Config
    from gaia_local.store.ownership import owner

    config = ctx.obj.config if root is None else {**ctx.obj.config, "root": str(root)}
    pid = owner(root or Config.parse(config).root)
    if pid in (None, os.getpid()):  # this process ran it
        return f"Stopped. `gaia-local{options_again(config)} run {name}` goes on from here."
    options = options_again(config, only=("root",))
    return f"It goes on in process {pid}; `gaia-local{options} halt {name}` stops it."


def with_progress(gaia: Gaia, status: StatusAnswer) -> dict[str, Any]:
    """A status, with the progress and the failures that `print_result` shows."""
    name = status["workflow"]
    return {**status, "progress": gaia.progress(name), "failures": gaia.failures(name)}
