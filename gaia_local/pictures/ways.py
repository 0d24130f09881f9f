"""Links as SVG: their lines, their heads, and the numbers of edges that they stand for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from gaia_local.pictures.boxes import SMALL, Box, Link
from gaia_local.pictures.coordinates import Layout, Point
from gaia_local.pictures.words import width

_HEAD = 7.0
"""The length of an arrow's head, in px."""
LISTED = 12
"""The most names or keys that a tooltip lists."""


def numbered(links: Sequence[Link], layout: Layout, joints: Sequence[bool]) -> set[int]:
    """The links with a number of edges beside their heads: those with room for it there."""
    ends: dict[tuple[int, bool, float], list[tuple[float, int]]] = {}
    for number, (link, way, flat) in enumerate(zip(links, layout.ways, layout.flat, strict=True)):
        if not way:
            ends[-1 - number, flat, 0.0] = [(0.0, number)]
        elif not joints[link.target]:
            along, across = way[-1] if flat else way[-1][::-1]
            ends.setdefault((link.target, flat, along), []).append((across, number))
    shown = set()
    for (_, flat, _), side in ends.items():
        side.sort()
        for (across, number), (after, _) in itertools.pairwise([*side, (math.inf, -1)]):
            text = f"×{len(links[number].edges)}"
            if after - across > (SMALL if flat else width(text, SMALL) + 9.0):
                shown.add(number)
    return {
        number
        for number in shown
        if len(links[number].edges) > 1 and not joints[links[number].source]
    }


def drawn(
    link: Link,
    points: Sequence[Point],
    source: tuple[Box, Point],
    *,
    flat: bool,
    thin: float,
    joints: tuple[bool, bool],
    numbered: bool,
) -> str:
    """A line with its head, which leaves and arrives upright, or `flat`; without points, a loop.

    `thin` is a factor of its width; `joints` says which of its ends are junctions, `numbered`
    whether the number of its edges is written.
    """
    number = len(link.edges)
    stroke = 1.3 + (0.0 if number == 1 else min(2.2, 0.6 * math.log10(number) + 0.3))
    stroke = min(stroke, 1.3) if any(joints) else stroke
    if points:
        path, arrow, (x, y) = _between(points, flat, 0.0 if joints[1] else _HEAD)
    else:
        box, corner = source
        x, y = corner[0] + box.width, corner[1] + box.height / 2 + 10
        path = f"M{length(x)} {length(y - 20)} c22 -4 22 24 6 20"
        arrow = f"M{length(x)} {length(y)} l7 -3.6 v7.2 Z"
        x, y = x + 12, y + 18
    head = "" if joints[1] else f'<path class="head" d="{arrow}"/>'
    shown = _number(number, x, y) if numbered else ""
    return (
        f'<g><path class="way" style="stroke-width:{stroke * thin:.2g}" d="{path}"/>{head}'
        f"{tooltip(_of_link(link))}{shown}</g>"
    )


def _between(points: Sequence[Point], flat: bool, size: float) -> tuple[str, str, Point]:
    """The line, its head of this size, and a place with room for a number."""
    if flat:
        points = [(y, x) for x, y in points]
    (x, y), down = points[-1], points[-1][1] >= points[-2][1]
    head = size if down else -size
    ends = [*points[:-1], (x, y - head + (1.0 if size else 0.0))]

    def place(across: float, along: float) -> str:
        return " ".join(map(length, (along, across) if flat else (across, along)))

    path = f"M{place(*ends[0])}"
    for (x1, y1), (x2, y2) in itertools.pairwise(ends):
        middle = (y1 + y2) / 2
        path += f" C{place(x1, middle)} {place(x2, middle)} {place(x2, y2)}"
    sides = [place(x - 3.6, y - head), place(x + 3.6, y - head)]
    number = (y - 3.4 * head - 6.0, x - 8.0) if flat else (x + 6, y - 2.6 * head)
    return path, f"M{place(x, y)} L{sides[0]} L{sides[1]} Z", number


def _number(number: int, x: float, y: float) -> str:
    """The number of edges that a link stands for, as text."""
    return "".join(
        f'<text class="{kind}" x="{length(x)}" y="{length(y + 4)}">×{number}</text>'
        for kind in ("halo", "muted")
    )


def _of_link(link: Link) -> list[str]:
    if len(link.edges) == 1:
        ((source, target),) = link.edges
        return [f"{source} → {target}", *some(link.keys)]
    return [
        f"{len(link.edges)} edges",
        *some([f"{source} → {target}" for source, target in link.edges]),
    ]


def some(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = [f"… and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return [*lines[:LISTED], *more]


def tooltip(lines: Iterable[str]) -> str:
    """A `title` element of several lines."""
    return f"<title>{escape(chr(10).join(lines))}</title>"


def length(number: float) -> str:
    """A length with at most one digit after the point."""
    return f"{number:.1f}".removesuffix(".0")
