"""The command that opens a shell in a Step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gaia_local.cli.options import pairs
from gaia_local.cli.printing import print_line
from gaia_local.cli.program import Name, StepName, app, resumable


@app.command(rich_help_panel="See")
def shell(
    ctx: typer.Context,
    name: Name,
    step: StepName,
    *,
    command: Annotated[
        str | None,
        typer.Option(metavar="CMD", help="Run this instead, and exit with its status."),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Leave the files in this new or empty directory."),
    ] = None,
    replaced: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="KEY=PATH",
            help="Put this file in the place of an input. May be repeated.",
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Take another image than the Step's.")
    ] = None,
    as_left: Annotated[
        bool,
        typer.Option(
            "--as-left", help="In the files that its last failed attempt left, if they are kept."
        ),
    ] = False,
) -> None:
    """Open a shell in what a Step finds when it runs: its image, its inputs, its command."""
    if command is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter(
            "a shell needs a terminal; without one give --command 'PROGRAM ARGUMENTS'"
        )
    from gaia_local.config import Config
    from gaia_local.engine.shells import Wish, run_shell
    from gaia_local.model.definitions import check_key_or_step
    from gaia_local.model.workflows import check_workflow_name

    check_key_or_step(check_workflow_name(name), step)
    wish = Wish(name, step, command, keep, dict(pairs("--input", replaced)), image, as_left)

    def tell(script: str) -> None:
        if command is None:
            print_line(f"the command of Step {step!r} is the script {script}", error=True)
            print_line("you may edit it; all is removed when you exit", error=True)

    with resumable(ctx):
        status = run_shell(Config.parse(ctx.obj.config), wish, tell)
    raise typer.Exit(status)
