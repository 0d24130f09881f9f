"""Commands that show a workflow: its graph, its timeline, and its running Steps."""

from __future__ import annotations

import enum
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gaia_local.cli.output import print_json, print_result
from gaia_local.cli.printing import print_line
from gaia_local.cli.program import COMPLETE, FAILED, Json, Name, app, open_gaia, resumable

Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="FILE", help="Write to this file, not to standard output."
    ),
]


class GraphFormat(enum.StrEnum):
    """The formats that `graph` writes."""

    SVG = "svg"
    PNG = "png"
    MERMAID = "mermaid"
    DOT = "dot"


class Direction(enum.StrEnum):
    """The directions in which `graph` draws."""

    DOWN = "down"
    RIGHT = "right"


class TimelineFormat(enum.StrEnum):
    """The formats that `timeline` writes."""

    HTML = "html"
    SVG = "svg"


F = TypeVar("F", GraphFormat, TimelineFormat)
_GRAPH_ENDS = {
    GraphFormat.SVG: (".svg",),
    GraphFormat.PNG: (".png",),
    GraphFormat.MERMAID: (".mmd", ".mermaid", ".md", ".txt"),
    GraphFormat.DOT: (".dot", ".gv", ".txt"),
}
_TIMELINE_ENDS = {
    TimelineFormat.HTML: (".html", ".htm"),
    TimelineFormat.SVG: (".svg",),
}
_AMBIGUOUS = (".md", ".txt")
"""Ends that say no format, but may be those of files in one."""
_READABLE = (GraphFormat.MERMAID, GraphFormat.DOT)
"""The formats that a person may read on a terminal."""


@app.command(rich_help_panel="See")
def graph(
    ctx: typer.Context,
    name: Name,
    *,
    form: Annotated[
        GraphFormat | None,
        typer.Option("--format", help="The format; by default that of FILE's name, else svg."),
    ] = None,
    group: Annotated[
        bool | None,
        typer.Option(
            "--group/--no-group", help="Draw Steps alike as one box; by default in large graphs."
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Group by command, composite, name, array, chain or rank, not as suits it."
        ),
    ] = None,
    direction: Annotated[
        Direction | None,
        typer.Option("--direction", help="SVG and PNG; by default what a screen shows larger."),
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Draw a workflow: its Steps coloured by state, and what leads from one to another."""
    drawn = _format(form, output, _GRAPH_ENDS, as_json)
    picture = drawn in (GraphFormat.SVG, GraphFormat.PNG)
    if by is not None and group is False:
        raise typer.BadParameter("--no-group groups nothing: give it, or --by")
    if direction is not None and not picture:
        raise typer.BadParameter(f"--direction is for svg and png, not {drawn.value}")
    with open_gaia(ctx) as gaia:
        answer = gaia.graph(name)
        attempts = gaia.timeline(name) if picture and not as_json else None
    if as_json:
        print_json(answer)
        return
    from gaia_local import pictures

    grouped = group if by is None else by
    if drawn is GraphFormat.MERMAID:
        _write(pictures.mermaid(answer, grouped), output)
    elif drawn is GraphFormat.DOT:
        _write(pictures.dot(answer, grouped), output)
    else:
        way = None if direction is None else direction.value
        seconds = None if attempts is None else pictures.seconds(attempts)
        made = pictures.draw(answer, grouped, way, seconds)
        _write(made.svg if drawn is GraphFormat.SVG else made.png(), output)


@app.command(rich_help_panel="See")
def timeline(
    ctx: typer.Context,
    name: Name,
    *,
    form: Annotated[
        TimelineFormat | None,
        typer.Option("--format", help="The format; by default that of FILE's name, else html."),
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Draw what ran when, for each worker: one file, for a browser."""
    import time

    drawn = _format(form, output, _TIMELINE_ENDS, as_json)
    with open_gaia(ctx) as gaia:
        answer = gaia.timeline(name)
    if as_json:
        print_json(answer)
        return
    from gaia_local.pictures.timeline import arrange, html, svg

    arranged = arrange(answer, time.time())
    _write(svg(arranged) if drawn is TimelineFormat.SVG else html(arranged), output)


@app.command(rich_help_panel="See")
def watch(ctx: typer.Context, name: Name) -> None:
    """Show what runs, as it runs, until nothing does any more. It starts and stops nothing."""
    from gaia_local.cli.progress import watch as look_on

    with resumable(ctx), open_gaia(ctx) as gaia:
        answer = look_on(gaia, name)
        print_result(gaia, answer)
    raise typer.Exit(COMPLETE if answer["state"] in ("complete", "initialized") else FAILED)


def _format(
    form: F | None, output: Path | None, ends: Mapping[F, tuple[str, ...]], as_json: bool
) -> F:
    """The format to write: as asked, or as the file's name says, or else the first.

    Raises `typer.BadParameter` if the name says another one than is written, or a terminal would
    get what nobody can read there.
    """
    end = "" if output is None else output.suffix.lower()
    if form is None and end not in _AMBIGUOUS:
        fitting = (known for known in ends if not end or end in ends[known])
        form = next(fitting, None)
    if form is None:
        formats = ", ".join(known.value for known in ends)
        names = ", ".join(known[0] for known in ends.values())
        raise typer.BadParameter(
            f"{output} isn't the name of a format; let it end in {names}, or give --format, one of"
            f" {formats}",
            param_hint="--output",
        )
    if end and end not in ends[form]:
        raise typer.BadParameter(
            f"{output} isn't a name for {form.value}; let it end in {' or '.join(ends[form])}",
            param_hint="--output",
        )
    if output is None and not as_json and form not in _READABLE and sys.stdout.isatty():
        raise typer.BadParameter(
            f"a terminal can't show {form.value}; give -o FILE, or redirect standard output"
        )
    return form


def _write(content: str | bytes, output: Path | None) -> None:
    data = content.encode() if isinstance(content, str) else content
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise typer.BadParameter(
            f"{output} can't be written: {error.strerror}", param_hint="--output"
        ) from None
    print_line(f"wrote {output}", error=True)
