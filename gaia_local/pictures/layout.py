"""Where boxes and links lie: a layered layout from top to bottom, by the library graphlay."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gaia_local.errors import GaiaError
from gaia_local.installation import install_command
from gaia_local.pictures.boxes import Box, Link

Point = tuple[float, float]

_OPTIONS: dict[str, Any] = {
    "direction": "topbottom",
    "spacing": {"layer_gap": 56.0, "node_gap": 24.0},
    "routing": {"style": "diagonal", "port_sides": "facing_only"},
}
_VARIANTS: list[dict[str, Any]] = [
    {"coords": {"branch_style": style}, "tuning": {"order": {"balance_rounds": rounds}}}
    for rounds in (0, 4)
    for style in ("straight_main", "symmetric")
]
"""Each is the best for some graphs: all are tried, the best is taken."""
_FEW = 120
"""Boxes; of more only the first variant is tried."""
_DISORDER = 400.0
"""The cost, in px of link length, of two Steps of a Command against the order of upload."""
_CORNER = 12.0
"""How far from a box's corner a link ends, at least."""
_CLOSE, _APART = 8.0, 16.0
"""Ends that are closer together than the first are moved apart, by the second where there is room.
"""


@dataclass(frozen=True)
class Layout:
    """Places in px, from (0, 0) to (`width`, `height`)."""

    width: float
    height: float
    corners: tuple[Point, ...]
    """The upper left corner of each box."""
    ways: tuple[tuple[Point, ...], ...]
    """For each link its points, from border to border; none where a link leads to its own box."""


def place(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Lay out boxes and links. Raises `GaiaError` where the library isn't installed."""
    try:
        import graphlay
    except ImportError:
        raise GaiaError(
            f"a picture needs the library graphlay, which is not installed:"
            f" {install_command('pictures')}"
        ) from None
    if not boxes:
        return Layout(0.0, 0.0, (), ())
    graph = graphlay.Graph()
    for number, box in enumerate(boxes):
        graph.node(number, width=box.width, height=box.height)
    between = [link for link in links if link.source != link.target]
    for link in between:
        graph.edge(link.source, link.target)
    drawings = [
        graphlay.layout(graph, preset="process_map", options={**_OPTIONS, **variant})
        for variant in _VARIANTS[: len(_VARIANTS) if len(boxes) <= _FEW else 1]
    ]
    drawing = (
        min(drawings, key=lambda drawing: _cost(drawing, boxes, between))
        if len(drawings) > 1
        else drawings[0]
    )
    low, high = drawing.bounds["min"], drawing.bounds["max"]
    corners = tuple(
        (
            node["center"]["x"] - box.width / 2 - low["x"],
            node["center"]["y"] - box.height / 2 - low["y"],
        )
        for node, box in zip(drawing.nodes, boxes, strict=True)
    )
    lines = [
        [(point["x"] - low["x"], point["y"] - low["y"]) for point in edge["points"]]
        for edge in drawing.edges
    ]
    _spread(boxes, corners, between, lines)
    ways = {
        (link.source, link.target): tuple(line) for link, line in zip(between, lines, strict=True)
    }
    width, height = high["x"] - low["x"], high["y"] - low["y"]
    return Layout(
        width, height, corners, tuple(ways.get((link.source, link.target), ()) for link in links)
    )


def _cost(drawing: Any, boxes: Sequence[Box], links: Sequence[Link]) -> tuple[float, float]:
    """How hard a drawing is to read: crossings, then sideways length of links, and disorder."""
    centers = [(node["center"]["x"], round(node["center"]["y"])) for node in drawing.nodes]
    aside = sum(abs(centers[link.source][0] - centers[link.target][0]) for link in links)
    rows: dict[tuple[str, int], list[float]] = {}
    for box, (x, y) in zip(boxes, centers, strict=True):
        rows.setdefault((box.nodes[0].command, y), []).append(x)
    swapped = sum(
        first > second for row in rows.values() for first, second in itertools.combinations(row, 2)
    )
    return drawing.metrics()["crossings"], aside + _DISORDER * swapped


def _spread(
    boxes: Sequence[Box], corners: Sequence[Point], links: Sequence[Link], lines: list[list[Point]]
) -> None:
    """Keep the ends of lines off the corners of boxes, and off each other, in their order."""
    ends: dict[tuple[int, float], list[tuple[float, int, int]]] = {}
    for number, (link, line) in enumerate(zip(links, lines, strict=True)):
        ends.setdefault((link.source, line[0][1]), []).append((line[0][0], number, 0))
        ends.setdefault((link.target, line[-1][1]), []).append((line[-1][0], number, -1))
    for (box, y), side in ends.items():
        side.sort()
        left, right = corners[box][0] + _CORNER, corners[box][0] + boxes[box].width - _CORNER
        places = [min(max(x, left), right) for x, _, _ in side]
        if any(end - start < _CLOSE for start, end in itertools.pairwise(places)):
            gap = min(_APART, (right - left) / (len(places) - 1))
            first = min(
                max(sum(places) / len(places) - gap * (len(places) - 1) / 2, left),
                right - gap * (len(places) - 1),
            )
            places = [first + gap * number for number in range(len(places))]
        for x, (_, number, end) in zip(places, side, strict=True):
            lines[number][end] = (x, y)
