"""Places in px for boxes in layers, and the ways of links between them."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from gaia_local.pictures.boxes import Box
from gaia_local.pictures.layers import Layers

Point = tuple[float, float]

_GAP, _MOST_GAP, _ASIDE = 44.0, 200.0, 0.07
"""Between two layers, in px: the least, the most, and the part of how far links lead to the side.
"""
_SWEEPS, _FIRST = 24, 4
"""How often boxes are moved towards those that they are joined to; the first times from one side.
"""
_TWO_BOXES, _BOX_AND_JOINT, _TWO_JOINTS, _CENTRE = 1.0, 0.1, 20.0, 0.02
"""How strongly those that are joined attract each other, and the centre attracts all."""
_BREADTH = 1.25
"""How far from the centre boxes may be, in halves of the longest row."""
_CORNER = 12.0
"""How far from a box's corner a link ends, at least, in px."""
_APART = 30.0
"""How far apart the ends of links are, in px, where there is room."""
_SAME = 1.0
"""Points that are no farther apart are one, in px."""
_UPRIGHT = 100.0
"""How much more an end counts that makes a link upright."""


@dataclass(frozen=True)
class Layout:
    """Places in px, from (0, 0) to (`width`, `height`)."""

    width: float
    height: float
    corners: tuple[Point, ...]
    """The upper left corner of each box."""
    ways: tuple[tuple[Point, ...], ...]
    """For each link its points, from border to border; none if a link leads to its own box."""
    flat: tuple[bool, ...]
    """For each link whether it leaves and arrives horizontally, not vertically."""


def coordinates(boxes: Sequence[Box], layers: Layers) -> Layout:
    """Places for boxes in layers, and a way for each route, from its source to its target."""
    widths = [box.width for box in boxes] + [0.0] * (len(layers.layer) - len(boxes))
    middles = _middles(layers, len(boxes))
    left = min(x - width / 2 for x, width in zip(middles, widths, strict=True))
    middles = [x - left for x in middles]
    tops, bottoms = _bands(boxes, layers, middles)
    corners = tuple(
        (x - box.width / 2, (tops[layer] + bottoms[layer] - box.height) / 2)
        for box, x, layer in zip(boxes, middles, layers.layer, strict=False)
    )
    ends = _ends(layers, middles, widths)
    ways = []
    for route in layers.routes:
        upper, *joints, lower = route.stops
        start = ends[upper, "below", route.stops[1], route.upward]
        end = ends[lower, "above", route.stops[-2], route.upward]
        first = (start, corners[upper][1] + boxes[upper].height)
        last = (end, corners[lower][1])
        between = [(start, bottoms[layers.layer[upper]])]
        for joint in joints:
            layer = layers.layer[joint]
            between += [(middles[joint], tops[layer]), (middles[joint], bottoms[layer])]
        between.append((end, tops[layers.layer[lower]]))
        # The highest box of a row ends where the row does.
        bends = [one for one in between if min(math.dist(one, first), math.dist(one, last)) > _SAME]
        way = [first, *bends, last]
        ways.append(tuple(reversed(way) if route.upward else way))
    width = max(x + width / 2 for x, width in zip(middles, widths, strict=True))
    return Layout(width, bottoms[-1], corners, tuple(ways), (False,) * len(ways))


def _middles(layers: Layers, boxes: int) -> list[float]:
    """An x for each box and joint, near the mean of those that it is joined to."""
    branches = collections.Counter(upper for upper, _ in layers.pairs)
    gathered = collections.Counter(lower for _, lower in layers.pairs)
    above: list[list[tuple[int, float]]] = [[] for _ in layers.layer]
    below: list[list[tuple[int, float]]] = [[] for _ in layers.layer]
    for upper, lower in layers.pairs:
        strength = (_TWO_BOXES, _BOX_AND_JOINT, _TWO_JOINTS)[(upper >= boxes) + (lower >= boxes)]
        if upper < boxes or lower < boxes:
            # Rather than one of a chain, a link bends that is one of many at its box.
            strength /= max(branches[upper], gathered[lower])
        above[lower].append((upper, strength))
        below[upper].append((lower, strength))
    rows = [
        (row, [layers.rooms[one] + layers.rooms[other] for one, other in itertools.pairwise(row)])
        for row in layers.rows
    ]
    middles = [0.0] * len(layers.layer)
    reach = _BREADTH * max(sum(layers.rooms[number] for number in row) for row in layers.rows)
    for sweep in range(_SWEEPS):
        downward = sweep % 2 == 0
        for row, apart in rows if downward else reversed(rows):
            wanted, strengths = [], []
            for number in row:
                near = [] if sweep < _FIRST and downward else below[number]
                near = near if sweep < _FIRST and not downward else near + above[number]
                total = _CENTRE + sum(strength for _, strength in near)
                wanted.append(sum(middles[other] * strength for other, strength in near) / total)
                strengths.append(total)
            places = spaced(wanted, apart, strengths, -reach, reach)
            for number, x in zip(row, places, strict=True):
                middles[number] = x
    return middles


def spaced(
    wanted: Sequence[float],
    apart: Sequence[float],
    weights: Sequence[float],
    low: float,
    high: float,
) -> list[float]:
    """Places as near to those `wanted` as can be, by weighted squares, in the same order.

    `apart` has the least distances between neighbours; all lie between `low` and `high`, where
    there must be room for them.
    """
    # If each place is less by all distances before it, it has only to be no less than the one
    # before. Where places are out of order, the best for all of them is their mean.
    offsets = list(itertools.accumulate(apart, initial=0.0))
    high -= offsets[-1]
    blocks: list[tuple[float, float, int]] = []
    for place, offset, weight in zip(wanted, offsets, weights, strict=True):
        mean, total, members = place - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other_mean, other_total, others = blocks.pop()
            mean = (mean * total + other_mean * other_total) / (total + other_total)
            total, members = total + other_total, members + others
        blocks.append((mean, total, members))
    means = itertools.chain.from_iterable(
        [min(max(mean, low), high)] * members for mean, _, members in blocks
    )
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _bands(
    boxes: Sequence[Box], layers: Layers, middles: Sequence[float]
) -> tuple[list[float], list[float]]:
    """The upper and the lower border of each row."""
    aside = [0.0] * len(layers.rows)
    for upper, lower in layers.pairs:
        above = layers.layer[upper]
        aside[above] = max(aside[above], abs(middles[upper] - middles[lower]))
    tops, bottoms, y = [], [], 0.0
    for row, far in zip(layers.rows, aside, strict=True):
        tops.append(y)
        y += max((boxes[number].height for number in row if number < len(boxes)), default=0.0)
        bottoms.append(y)
        y += min(_GAP + _ASIDE * far, _MOST_GAP)
    return tops, bottoms


End = tuple[int, str, int, bool]
"""A box, a side of it, the boxes linked there, and whether the links lead upward."""


def _ends(layers: Layers, middles: Sequence[float], widths: Sequence[float]) -> dict[End, float]:
    """The x of each end of links: where they are upright, if that can be, and apart."""
    sides: dict[tuple[int, str], set[tuple[float, int, bool]]] = {}
    for route in layers.routes:
        upper, after, before, lower = *route.stops[:2], *route.stops[-2:]
        sides.setdefault((upper, "below"), set()).add((middles[after], after, route.upward))
        sides.setdefault((lower, "above"), set()).add((middles[before], before, route.upward))
    ends: dict[End, float] = {}
    for (box, side), joined in sides.items():
        wanted, weights = [], []
        for _, other, _ in sorted(joined):
            # Upright is a link at the middle of the narrower one, where that is over the other.
            narrow, wide = sorted((box, other), key=lambda number: (widths[number], number))
            upright = abs(middles[narrow] - middles[wide]) <= _reach(widths[wide])
            wanted.append(middles[narrow] if upright else middles[box])
            weights.append(_UPRIGHT if upright else 1.0)
        reach = _reach(widths[box])
        apart = [min(_APART, 2 * reach / len(joined))] * (len(joined) - 1)
        places = spaced(wanted, apart, weights, middles[box] - reach, middles[box] + reach)
        for (_, other, upward), x in zip(sorted(joined), places, strict=True):
            ends[box, side, other, upward] = x
    return ends


def _reach(width: float) -> float:
    """How far from the middle of a box links end, at most."""
    return max(0.0, width / 2 - _CORNER)
