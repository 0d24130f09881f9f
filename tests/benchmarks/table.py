"""The results as a table of text or Markdown, as JSON, and as a plot."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.measuring import Finding, Missing, Point, Row

COLUMNS = ("what", "measured", "reference", "ratio", "target", "met")
FACTORS = {"s": 1.0, "ms": 1e3, "µs": 1e6, "MB": 1e-6}


def shown(value: float, unit: str) -> str:
    """A value in its unit, with three digits that count."""
    number = value * FACTORS[unit]
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2 if abs(number) >= 1 else 3
    return f"{number:,.{digits}f} {unit}"


def cells(row: Row, judged: bool) -> tuple[str, ...]:
    """A row's text, a cell a column; `judged` is False if the sizes have no targets."""
    reference = (
        f"{shown(statistics.median(row.reference), row.unit)} ({row.against})"
        if row.reference
        else ""
    )
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    targets = [] if row.most is None else [f"≤ {shown(row.most, row.unit)}"]
    targets += [] if row.ratio_most is None else [f"≤ {row.ratio_most:g} times"]
    met = "" if row.met is None else "not judged" if not judged else "met" if row.met else "MISSED"
    return row.what, shown(row.median, row.unit), reference, ratio, " and ".join(targets), met


def text(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown(about: Mapping[str, str], findings: Sequence[Finding], judged: bool) -> str:
    """The whole as Markdown."""
    rows = [cells(row, judged) for row in findings if isinstance(row, Row)]
    lines = [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    lines += [f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |" for row in rows]
    missing = [finding for finding in findings if isinstance(finding, Missing)]
    if missing:
        lines += ["", "Not measured:", "", *(f"- {absent.what} {absent.why}" for absent in missing)]
    return "\n".join(lines) + "\n"


def as_json(about: Mapping[str, str], findings: Sequence[Finding]) -> str:
    """All values of all rounds."""

    def whole(row: Row) -> dict[str, Any]:
        return {**asdict(row), "median": row.median, "ratio": row.ratio, "met": row.met}

    return json.dumps(
        {
            "about": dict(about),
            "rows": [whole(row) for row in findings if isinstance(row, Row)],
            "points": [asdict(point) for point in findings if isinstance(point, Point)],
            "missing": [asdict(absent) for absent in findings if isinstance(absent, Missing)],
        },
        indent=1,
        ensure_ascii=False,
    )


def plot(points: Sequence[Point], about: Mapping[str, str], path: Path) -> None:
    """The cost of one Step against the workflow's size, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for line in dict.fromkeys(point.line for point in points):
        ours = [(point.steps, 1e3 * point.seconds) for point in points if point.line == line]
        style = "--" if line.startswith("bare") else "-"
        (drawn,) = axes.plot(*zip(*ours, strict=True), marker="o", label=line, linestyle=style)
        axes.annotate(
            f"{ours[-1][1]:.2f}",
            ours[-1],
            (6, 4),
            textcoords="offset points",
            color=drawn.get_color(),
        )
    axes.margins(x=0.1, y=0.1)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.set_xlabel("Steps in the workflow")
    axes.set_ylabel("milliseconds per Step")
    axes.set_title(
        f"What a Step costs as a workflow grows\n{about['CPUs']}, Python {about['Python']}",
        fontsize=11,
    )
    axes.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    figure.savefig(path, dpi=120)
