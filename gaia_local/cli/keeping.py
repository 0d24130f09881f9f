"""Commands that stop, remove, clean up and look after the machine."""

from __future__ import annotations

from typing import Annotated

import typer

from gaia_local.cli import completing
from gaia_local.cli.output import print_answer, print_json, print_report
from gaia_local.cli.program import COMPLETE, FAILED, Json, Name, app, open_gaia


@app.command(rich_help_panel="Maintain")
def halt(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Stop a workflow; `run` starts it again."""
    with open_gaia(ctx) as gaia:
        answer = gaia.halt(name)
    print_answer(answer, f"{name} is halted", as_json)


@app.command(rich_help_panel="Maintain")
def remove(
    ctx: typer.Context,
    name: Name,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAMES...",
            help="Steps, as they were given, and Commands.",
            autocompletion=completing.steps_and_commands,
        ),
    ],
    *,
    data: Annotated[
        bool, typer.Option("--data", help="Remove the files that the Steps made, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove Steps from a workflow, and Commands that no other Step uses."""
    with open_gaia(ctx) as gaia:
        answer = gaia.remove(name, names, data=data)
    what = "removed with their files" if data else "removed; their files stay"
    print_answer(answer, f"{', '.join(names)}: {what}", as_json)


@app.command(rich_help_panel="Maintain")
def delete(
    ctx: typer.Context,
    name: Name,
    data: Annotated[
        bool, typer.Option("--data", help="Remove its files from the store, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove a workflow: what is known of it, and its logs."""
    with open_gaia(ctx) as gaia:
        answer = gaia.delete(name, data=data)
    print_answer(
        answer, f"{name} is deleted" + (" with its files" if data else "; its files stay"), as_json
    )


@app.command(rich_help_panel="Maintain")
def clean(ctx: typer.Context, as_json: Json = False) -> None:
    """Remove the containers, processes and private files that a dead engine of this root left."""
    from dataclasses import asdict

    from gaia_local.config import Config
    from gaia_local.doctor.leftovers import clean as remove

    removed = remove(Config.parse(ctx.obj.config))
    answer = {"removed": [asdict(leftover) for leftover in removed]}
    print_answer(
        answer,
        "\n".join(f"removed {leftover.kind} {leftover.name}" for leftover in removed)
        or "there were no leftovers",
        as_json,
    )


@app.command(rich_help_panel="Maintain")
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Say what works here: the Docker Engine, the root, the disk, the file-watch limit."""
    from dataclasses import asdict

    from gaia_local.config import Config
    from gaia_local.doctor.checks import examine

    report = examine(Config.parse(ctx.obj.config))
    if as_json:
        print_json({"ok": report.ok, "checks": [asdict(check) for check in report.checks]})
    else:
        print_report(report)
    raise typer.Exit(COMPLETE if report.ok else FAILED)
