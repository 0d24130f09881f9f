"""The layers of a picture: which boxes lie in which one, and how links pass those between.

A link that leads past a layer has a joint there, a point among its boxes. Where links are many,
those with one source, or with one target, share joints as branches of a tree share its trunk.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gaia_local.pictures.boxes import Box, Link
from gaia_local.pictures.order import Order, Rows

_SIDE, _JOINT = 12.0, 6.0
"""Free room on either side of a box and of a joint, in px."""
_LONG, _LONG_SHAPE = 2400.0, 3.0
"""The longest row in px: the first, or, if it is more, the side of a square with room for all boxes
times the second. A layer with more goes on below."""
_LINE = 90.0
"""About the height of a row with the gap below it, in px."""
_FEW_JOINTS, _MOST_JOINTS = 100, 20_000
"""Joints of all links together: up to the first number each link has its own; beyond the second the
longest links have none and go behind boxes, so that time is bounded."""


@dataclass(frozen=True)
class Route:
    """A place in a layer that a link passes."""

    stops: tuple[int, ...]
    """From the upper box over its joints to the lower box."""
    upward: bool
    """Whether its source is the lower box: so for a link of each cycle."""


@dataclass(frozen=True)
class Layers:
    """Boxes and joints by number; joints come after all boxes."""

    layer: list[int]
    """The layer of each, from the top."""
    rows: Rows
    rooms: list[float]
    """How much room each needs on either side of its middle, in px."""
    routes: list[Route]
    """One for each link."""
    pairs: list[tuple[int, int]]
    """Those that routes join from one layer to the next, the upper one first."""


def arrange(boxes: Sequence[Box], links: Sequence[Link]) -> Layers:
    """The layers of boxes that hang together. No link may lead to its own box."""
    import igraph

    cyclic = igraph.Graph(len(boxes), [(link.source, link.target) for link in links], directed=True)
    # A cycle is cut at a link against the order of boxes, if there is one.
    weights = [2 if link.source < link.target else 1 for link in links]
    upward = set(cyclic.feedback_arc_set(weights=weights, method="eades"))
    down = [
        (link.target, link.source) if number in upward else (link.source, link.target)
        for number, link in enumerate(links)
    ]
    rooms = [box.width / 2 + _SIDE + box.aside for box in boxes]
    layer = _layer(rooms, down)
    routes = [
        Route(stops, number in upward)
        for number, stops in enumerate(_stops(layer, links, down, upward))
    ]
    rooms += [_JOINT] * (len(layer) - len(boxes))
    joined = {pair for route in routes for pair in itertools.pairwise(route.stops)}
    pairs = [pair for pair in sorted(joined) if layer[pair[1]] - layer[pair[0]] == 1]
    return Layers(layer, Order(layer, pairs).best(), rooms, routes, pairs)


def _layer(rooms: Sequence[float], down: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: below those of all boxes from which links lead down to it."""
    import igraph

    above: list[list[int]] = [[] for _ in rooms]
    below: list[list[int]] = [[] for _ in rooms]
    for upper, lower in down:
        above[lower].append(upper)
        below[upper].append(lower)
    depth = [0] * len(rooms)
    for box in igraph.Graph(len(rooms), down, directed=True).topological_sorting():
        depth[box] = max((depth[upper] + 1 for upper in above[box]), default=0)
    longest = max(_LONG, _LONG_SHAPE * math.sqrt(2 * sum(rooms) * _LINE))
    length: dict[int, float] = collections.defaultdict(float)

    def fits(box: int, layer: int) -> bool:
        return not length[layer] or length[layer] + 2 * rooms[box] <= longest

    layers = [0] * len(rooms)

    def put(box: int, choice: Iterable[int]) -> None:
        layers[box] = next((one for one in choice if fits(box, one)), layers[box])
        length[layers[box]] += 2 * rooms[box]

    order = sorted(range(len(rooms)), key=lambda box: (depth[box], box))
    for box in order:
        put(box, itertools.count(max((layers[upper] + 1 for upper in above[box]), default=0)))
    # Links are shorter where a box with more of them below lies as low as it can.
    for box in reversed(order):
        if len(below[box]) > len(above[box]):
            length[layers[box]] -= 2 * rooms[box]
            lowest = min(layers[lower] for lower in below[box]) - 1
            put(box, range(lowest, layers[box], -1))
    used = {layer: number for number, layer in enumerate(sorted(set(layers)))}
    return [used[layer] for layer in layers]


def _stops(
    layer: list[int], links: Sequence[Link], down: Sequence[tuple[int, int]], upward: set[int]
) -> list[tuple[int, ...]]:
    """The stops of each link; the layers of the joints are added to those of the boxes."""
    passed = [range(layer[upper] + 1, layer[lower]) for upper, lower in down]
    shared = sum(map(len, passed)) > _FEW_JOINTS
    ends: list[list[tuple[str, int, bool]]] = []
    for number, link in enumerate(links):
        source, target = ("from", link.source), ("to", link.target)
        # The number of edges stands at the target, where links that have one must be apart.
        both = [source, target] if len(link.edges) == 1 else [source]
        ends.append([(*end, number in upward) for end in both])
    branches = collections.Counter(
        end for both, layers in zip(ends, passed, strict=True) if layers for end in both
    )
    joints: dict[tuple[object, int], int] = {}
    stops: list[tuple[int, ...]] = list(down)
    left = _MOST_JOINTS
    for number in sorted(range(len(links)), key=lambda number: len(passed[number])):
        left -= len(passed[number])
        if left < 0:
            break
        trunk = max(ends[number], key=branches.__getitem__) if shared else number
        way = []
        for one in passed[number]:
            if (trunk, one) not in joints:
                joints[trunk, one] = len(layer)
                layer.append(one)
            way.append(joints[trunk, one])
        upper, lower = down[number]
        stops[number] = (upper, *way, lower)
    return stops
