"""Commands that show a workflow: its graph, its timeline, and its running Steps."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

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


class TimelineFormat(enum.StrEnum):
    """The formats that `timeline` writes."""

    HTML = "html"
    SVG = "svg"


_GRAPH_ENDS = {
    ".png": GraphFormat.PNG,
    ".mmd": GraphFormat.MERMAID,
    ".mermaid": GraphFormat.MERMAID,
}
_GRAPH_ENDS |= {".dot": GraphFormat.DOT, ".gv": GraphFormat.DOT}
_TIMELINE_ENDS = {".svg": TimelineFormat.SVG}


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
            "--group/--no-group", help="One box for each Command; by default for very large graphs."
        ),
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Draw a workflow: its Steps coloured by state, and what leads from one to another."""
    with open_gaia(ctx) as gaia:
        answer = gaia.graph(name)
    if as_json:
        print_json(answer)
        return
    from gaia_local import pictures

    form = form or _GRAPH_ENDS.get(output.suffix.lower() if output else "", GraphFormat.SVG)
    if form is GraphFormat.MERMAID:
        _write(pictures.mermaid(answer, group), output)
    elif form is GraphFormat.DOT:
        _write(pictures.dot(answer, bool(group)), output)
    elif form is GraphFormat.SVG:
        _write(pictures.draw(answer, group).svg, output)
    elif output is None and sys.stdout.isatty():
        raise typer.BadParameter(
            "a terminal can't show a PNG; give -o FILE, or redirect standard output"
        )
    else:
        _write(pictures.draw(answer, group).png(), output)


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

    with open_gaia(ctx) as gaia:
        answer = gaia.timeline(name)
    if as_json:
        print_json(answer)
        return
    from gaia_local.pictures.timeline import arrange, html, svg

    form = form or _TIMELINE_ENDS.get(output.suffix.lower() if output else "", TimelineFormat.HTML)
    arranged = arrange(answer, time.time())
    _write(svg(arranged) if form is TimelineFormat.SVG else html(arranged), output)


@app.command(rich_help_panel="See")
def watch(ctx: typer.Context, name: Name) -> None:
    """Show what runs, as it runs, until nothing does any more. It starts and stops nothing."""
    from gaia_local.cli.progress import watch as look_on

    with resumable(ctx), open_gaia(ctx) as gaia:
        answer = look_on(gaia, name)
        print_result(gaia, answer)
    raise typer.Exit(COMPLETE if answer["state"] in ("complete", "initialized") else FAILED)


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
