"""Where boxes and links lie in a picture: all that hang together in layers, and such parts in rows.

Layers and their order come from the library igraph.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from gaia_local.errors import GaiaError
from gaia_local.installation import install_command
from gaia_local.pictures.boxes import Box, Link
from gaia_local.pictures.coordinates import Layout, Point, coordinates
from gaia_local.pictures.layers import arrange

Direction: TypeAlias = Literal["down", "right"]

_GAP = 36.0
"""Between parts, in px."""
_SHAPE = 1.6
"""About how many times as wide as high all parts are together."""
_SCREEN = (1600.0, 1000.0)
_TRIED, _CLEARLY = 120, 1.15
"""Up to so many boxes are laid out in both directions; how many times larger one must be shown than
the usual one to be taken."""


def place(boxes: Sequence[Box], links: Sequence[Link], direction: Direction = "down") -> Layout:
    """Lay out boxes and links, layer after layer downward, or from left to right.

    Raises `GaiaError` if the library isn't installed.
    """
    if direction == "right":
        return _turned(place([_turned_box(box) for box in boxes], links))
    try:
        import igraph
    except ImportError:
        raise GaiaError(
            "a picture needs the library igraph, which is not installed:"
            f" {install_command('pictures')}"
        ) from None
    graph = igraph.Graph(len(boxes), [(link.source, link.target) for link in links])
    clusters = graph.connected_components()
    inside: list[list[int]] = [[] for _ in clusters]
    for number, link in enumerate(links):
        if link.source != link.target:
            inside[clusters.membership[link.source]].append(number)
    parts = [
        (members, numbers, _part(boxes, links, members, numbers))
        for members, numbers in zip(clusters, inside, strict=True)
    ]
    parts.sort(key=lambda part: len(part[0]) == 1)  # single boxes come last
    area = sum((part.width + _GAP) * (part.height + _GAP) for _, _, part in parts)
    longest = max([math.sqrt(_SHAPE * area), *(part.width for _, _, part in parts)])
    corners: list[Point] = [(0.0, 0.0)] * len(boxes)
    ways: list[tuple[Point, ...]] = [()] * len(links)
    x = y = width = height = 0.0
    for members, numbers, part in parts:
        if x + part.width > longest:
            x, y = 0.0, height + _GAP
        for box, (left, top) in zip(members, part.corners, strict=True):
            corners[box] = (x + left, y + top)
        for number, way in zip(numbers, part.ways, strict=True):
            ways[number] = tuple((x + across, y + down) for across, down in way)
        width, height = max(width, x + part.width), max(height, y + part.height)
        x += part.width + _GAP
    return Layout(width, height, tuple(corners), tuple(ways), (False,) * len(links))


def suited(boxes: Sequence[Box], links: Sequence[Link]) -> Layout:
    """Lay them out in the direction that a screen shows larger, downward if that hardly matters."""
    down = place(boxes, links)
    if len(boxes) > _TRIED:
        return down
    right = place(boxes, links, "right")
    return right if _scale(right) > _CLEARLY * _scale(down) else down


def _scale(layout: Layout) -> float:
    """How large a screen shows it."""
    wide, high = _SCREEN
    return min(1.0, wide / max(1.0, layout.width), high / max(1.0, layout.height))


def _turned_box(box: Box) -> Box:
    return dataclasses.replace(box, width=box.height, height=box.width)


def _turned(layout: Layout) -> Layout:
    """Its mirror image, with x for y."""
    return Layout(
        layout.height,
        layout.width,
        tuple((y, x) for x, y in layout.corners),
        tuple(tuple((y, x) for x, y in way) for way in layout.ways),
        tuple(not flat for flat in layout.flat),
    )


def _part(
    boxes: Sequence[Box], links: Sequence[Link], members: Sequence[int], numbers: Sequence[int]
) -> Layout:
    """The layout of some boxes, and of some links between them."""
    index = {box: number for number, box in enumerate(members)}
    own = [boxes[box] for box in members]
    between = [
        dataclasses.replace(link, source=index[link.source], target=index[link.target])
        for link in (links[number] for number in numbers)
    ]
    return coordinates(own, arrange(own, between))
