"""Commands that ask, and change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from gaia_local import interrupts
from gaia_local.cli import completing
from gaia_local.cli.output import (
    first_names,
    log_printer,
    print_events,
    print_explanation,
    print_json,
    print_result,
    print_table,
    print_workflows,
)
from gaia_local.cli.printing import print_line
from gaia_local.cli.program import Json, Name, StepName, app, open_gaia, resumable, with_progress

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import ReusableEntry

FOLLOW_CHECK_SECONDS = 0.4
"""Seconds between two looks at a log that is followed."""
MAX_WORKFLOWS = 3
"""The most workflows that are named for the results of a Command."""
READ_BYTES = 65_536
"""Bytes of a log that are read at a time."""


@app.command(rich_help_panel="Ask")
def status(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            show_default=False,
            help="The workflow's name; without one, all are listed.",
            autocompletion=completing.workflows,
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Also tasks, data and flow (as JSON).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how far a workflow is, what failed, and which inputs it waits for."""
    if name is None:
        _list_workflows(ctx, as_json)
        return
    with open_gaia(ctx) as gaia:
        # Refuses an unknown workflow, which `status` answers as the server does.
        gaia.progress(name)
        answer = gaia.status(name, debug=debug)
        if as_json or debug:
            print_json(with_progress(gaia, answer))
        else:
            print_result(gaia, answer)


@app.command(rich_help_panel="Ask")
def workflows(ctx: typer.Context, as_json: Json = False) -> None:
    """List the workflows of this root, and when each last changed."""
    _list_workflows(ctx, as_json)


def _list_workflows(ctx: typer.Context, as_json: bool) -> None:
    from gaia_local.config import Config
    from gaia_local.state.names import last_changes

    with open_gaia(ctx) as gaia:
        answer = gaia.workflows()
    if as_json:
        print_json(answer)
        return
    root = Config.parse(ctx.obj.config).root
    if answer["workflows"]:
        print_workflows(answer["workflows"], last_changes(root))
    else:
        absent = "" if root.exists() else ", which isn't there"
        print_line(f"no workflows yet in root {root}{absent}", error=True)


@app.command(rich_help_panel="Ask")
def explain(
    ctx: typer.Context,
    name: Name,
    what: Annotated[
        str,
        typer.Argument(
            metavar="STEP|KEY",
            help="The name of a Step, or a storage key.",
            autocompletion=completing.steps_and_keys,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Say why a Step ran, would or wouldn't run now; or how a storage key was made."""
    with open_gaia(ctx) as gaia:
        answer = gaia.explain(name, what)
    if as_json:
        print_json(answer)
    else:
        print_explanation(answer)


@app.command(rich_help_panel="Ask")
def logs(
    ctx: typer.Context,
    name: Name,
    step: StepName,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Follow the log until the Step ends.")
    ] = False,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Print its bytes unchanged; a terminal obeys control characters in them.",
        ),
    ] = False,
) -> None:
    """Print the log of a Step's latest attempt; a terminal shows control characters as text."""
    import time

    with resumable(ctx), open_gaia(ctx) as gaia, log_printer(raw) as write:
        at, task = 0, None
        while True:
            more = follow and _may_write_more(gaia, name, step)
            attempt = gaia.attempt(name, step)
            if attempt["task"] != task:
                at, task = 0, attempt["task"]
            if attempt["log"] is not None:
                at = _print_from(at, attempt["log"], write)
            if not more:
                return
            time.sleep(FOLLOW_CHECK_SECONDS)
            interrupts.check()


@app.command(rich_help_panel="Ask")
def events(
    ctx: typer.Context,
    name: Name,
    *,
    full: Annotated[bool, typer.Option("--full", help="Don't shorten long fields.")] = False,
    as_json: Json = False,
) -> None:
    """List what happened in a workflow, oldest first."""
    with open_gaia(ctx) as gaia:
        answer = gaia.events(name)
    if as_json:
        print_json(answer)
    else:
        print_events(answer, full)


@app.command(rich_help_panel="Ask")
def reuse(ctx: typer.Context, as_json: Json = False) -> None:
    """List the results that Steps can be given with --reuse, by Command: those of all workflows."""
    from gaia_local.config import Config

    with open_gaia(ctx) as gaia:
        answer = gaia.reusable()
    if as_json:
        print_json(answer)
    elif answer:
        headings = ["Command", "image", "results", "size", "workflows"]
        print_table(headings, [reusable_row(entry) for entry in answer])
    else:
        root = Config.parse(ctx.obj.config).root
        print_line(
            f"nothing to be reused yet in root {root}, which keeps the results of Steps that ran"
            " to their end; with --reuse, equal Steps of all workflows are given them",
            error=True,
        )


def reusable_row(entry: ReusableEntry) -> list[str]:
    """The cells of one Command's row."""
    from gaia_local.model.sizes import progress_text

    return [
        entry["command"],
        entry["image"],
        str(entry["results"]),
        progress_text(entry["bytes"], None),
        first_names(entry["workflows"], MAX_WORKFLOWS),
    ]


def _print_from(at: int, log: str, write: Callable[[bytes], None]) -> int:
    """Print a log from byte `at` on; return the offset of its end (`at` if it isn't there yet)."""
    try:
        with open(log, "rb") as file:
            file.seek(at)
            while piece := file.read(READ_BYTES):
                write(piece)
            return file.tell()
    except FileNotFoundError:
        return at


def _may_write_more(gaia: Gaia, name: str, step: str) -> bool:
    """Whether the Step runs, or may still begin."""
    answer = gaia.status(name, debug=True)
    task = answer["status"]["tasks"].get(step)
    state: str = answer["state"] if task is None else task["state"]
    return state == "running"
