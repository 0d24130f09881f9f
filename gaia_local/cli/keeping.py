"""Commands that stop, remove, clean up and look after the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaia_local.cli import completing
from gaia_local.cli.output import print_answer, print_json, print_report, print_table
from gaia_local.cli.printing import print_line
from gaia_local.cli.program import COMPLETE, FAILED, Json, Name, app, open_gaia

if TYPE_CHECKING:
    from gaia_local.config import Config
    from gaia_local.model.answer_types import DropAnswer


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
def clean(
    ctx: typer.Context,
    *,
    older: Annotated[
        str | None,
        typer.Option(
            metavar="AGE",
            help="Drop the attempts at Steps instead that ended longer ago: 30d, 12h.",
            show_default=False,
        ),
    ] = None,
    keep_attempts: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Drop all attempts at Steps instead but the newest N of each.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Remove the containers, processes and private files that a dead engine of this root left."""
    from dataclasses import asdict

    from gaia_local.config import Config
    from gaia_local.doctor.leftovers import clean as remove

    if older is not None or keep_attempts is not None:
        _drop_attempts(ctx, older, keep_attempts, as_json)
        return
    removed = remove(Config.parse(ctx.obj.config))
    answer = {"removed": [asdict(leftover) for leftover in removed]}
    print_answer(
        answer,
        "\n".join(f"removed {leftover.kind} {leftover.name}" for leftover in removed)
        or "there were no leftovers",
        as_json,
    )


def _drop_attempts(ctx: typer.Context, older: str | None, keep: int | None, as_json: bool) -> None:
    from gaia_local.config import Config
    from gaia_local.model.durations import parse_duration
    from gaia_local.model.sizes import progress_text

    try:
        age = None if older is None else parse_duration(older)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older") from None
    answer: DropAnswer = {"attempts": 0, "steps": 0, "bytes": 0}
    config = Config.parse(ctx.obj.config)
    config.refuse_file()
    if (config.root / "gaia.db").exists():
        with open_gaia(ctx) as gaia:
            answer = gaia.drop_attempts(keep, age)
    attempts, steps = answer["attempts"], answer["steps"]
    print_answer(
        answer,
        f"dropped {attempts} attempt{'s' * (attempts != 1)} of {steps} Step{'s' * (steps != 1)}, "
        f"{progress_text(answer['bytes'], None)}",
        as_json,
    )


@app.command(rich_help_panel="Maintain")
def bucket(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", show_default=False, help="The bucket's name."),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", show_default=False, help="The directory with its files."),
    ] = None,
    *,
    forget: Annotated[bool, typer.Option("--forget", help="Take the record of NAME back.")] = False,
    as_json: Json = False,
) -> None:
    """Serve a bucket from a directory in all later calls on this root; alone, list all buckets."""
    from gaia_local.config import Config
    from gaia_local.state import buckets

    if (directory is not None or name is None) if forget else (name is None) != (directory is None):
        raise typer.BadParameter("give NAME and DIR, or NAME and --forget, or none of them")
    config = Config.parse(ctx.obj.config)
    if name is None:
        _list_buckets(config, as_json)
    elif directory is None:
        buckets.forget(config, name)
        print_answer({"forget": name}, f"bucket {name} is forgotten", as_json)
    else:
        place = Config.parse({"buckets": {name: directory}}).buckets[name]
        buckets.record(config, name, place)
        answer = {"bucket": name, "directory": str(place)}
        print_answer(answer, f"bucket {name} is {place}", as_json)


def _list_buckets(config: Config, as_json: bool) -> None:
    from gaia_local.state.buckets import remembered, with_remembered

    uses = remembered(config.root)
    rows: dict[str, dict[str, Any]] = {
        name: {
            "directory": str(path),
            "workflows": sorted(
                use.workflow for use in uses if use.workflow and use.bucket == name
            ),
        }
        for name, path in sorted(with_remembered(config.root, config.buckets, uses).items())
    }
    if as_json:
        print_json({"buckets": rows})
    elif rows:
        print_table(
            ["bucket", "directory", "workflows"],
            [[name, row["directory"], " ".join(row["workflows"])] for name, row in rows.items()],
        )
    else:
        print_line("no bucket is mapped to a directory", error=True)


@app.command(rich_help_panel="Maintain")
def doctor(ctx: typer.Context, as_json: Json = False) -> None:
    """Say what works here: the Docker Engine, the root, its buckets, the disk, the watch limit."""
    from dataclasses import asdict

    from gaia_local.config import Config
    from gaia_local.doctor.checks import examine

    report = examine(Config.parse(ctx.obj.config))
    if as_json:
        print_json({"ok": report.ok, "checks": [asdict(check) for check in report.checks]})
    else:
        print_report(report)
    raise typer.Exit(COMPLETE if report.ok else FAILED)
