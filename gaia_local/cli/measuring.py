"""The command that shows what Steps took: time, CPU, memory, beside what they ask for."""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from gaia_local.cli.output import print_json, print_table
from gaia_local.cli.printing import print_line
from gaia_local.cli.program import Json, Name, app, open_gaia

if TYPE_CHECKING:
    from gaia_local.model.resources import Resources
    from gaia_local.pictures.usage_summary import Spread, UsageSummary


class UsageFormat(enum.StrEnum):
    """The formats that `usage` writes."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class By(enum.StrEnum):
    """The things that `usage` has a row for."""

    COMMAND = "command"
    STEP = "step"


@app.command(rich_help_panel="Ask")
def usage(
    ctx: typer.Context,
    name: Name,
    *,
    by: Annotated[By, typer.Option(help="A row for each Command, or for each Step.")] = By.COMMAND,
    form: Annotated[
        UsageFormat, typer.Option("--format", help="The format; csv and json have plain numbers.")
    ] = UsageFormat.TABLE,
    as_json: Json = False,
) -> None:
    """Say what Steps took, in time, CPU, memory and bytes written, and what they ask for."""
    with open_gaia(ctx) as gaia:
        answer = gaia.timeline(name)
        commands = gaia.definitions(name)["commands"]
    from gaia_local.pictures.usage_summary import summarize

    summaries = summarize(answer, commands, by.value)
    if as_json or form is UsageFormat.JSON:
        print_json([summary.row(by.value) for summary in summaries])
    elif form is UsageFormat.CSV:
        _print_csv(summaries, by)
    elif summaries:
        _print_table(summaries, by)
    else:
        print_line(f"no Step of workflow {name!r} has run to its end yet", error=True)


def _print_csv(summaries: Sequence[UsageSummary], by: By) -> None:
    from gaia_local.pictures.usage_summary import columns

    text = io.StringIO()
    writer = csv.DictWriter(text, columns(by.value), lineterminator="\n")
    writer.writeheader()
    for summary in summaries:
        row = summary.row(by.value)
        writer.writerow({**row, "suggestions": "; ".join(row["suggestions"])})
    print_line(text.getvalue().removesuffix("\n"))


def _print_table(summaries: Sequence[UsageSummary], by: By) -> None:
    """A row for each, then the suggestions: as sentences they are too wide for the table."""
    from gaia_local.model.durations import duration
    from gaia_local.model.sizes import memory_text, progress_text

    def size(number: float) -> str:
        return progress_text(round(number), None)

    headings = [by.value.capitalize(), "runs", "failed"]
    for what in ("time", "CPU", "memory", "written"):
        headings += [what, "most"]
    rows = [
        [
            summary.name,
            str(summary.complete),
            str(summary.failed),
            *_cells(summary.running, duration),
            *_cells(summary.cpu, duration),
            *_cells(summary.memory, memory_text),
            *_cells(summary.written, size),
            _asked(summary.asks),
        ]
        for summary in summaries
    ]
    print_table([*headings, "asks for"], rows)
    for summary in summaries:
        for suggestion in summary.suggestions:
            print_line(f"{summary.name}: {suggestion}")


def _cells(spread: Spread, text: Callable[[float], str]) -> list[str]:
    return ["?" if value is None else text(value) for value in (spread.median, spread.most)]


def _asked(asks: Resources) -> str:
    from gaia_local.model.resources import amount_text

    texts = {"cpus": "CPU", "gpus": "GPU"}
    return ", ".join(
        amount_text(name, amount)
        + (f" {texts[name]}{'' if amount == 1 else 's'}" if name in texts else "")
        for name, amount in asks.items()
    )
