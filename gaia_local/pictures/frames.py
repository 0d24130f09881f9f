"""Frames: parts of a picture that are laid out by themselves. Links from outside end at the frame.

A composite Command's Steps have a frame with its name. Many Steps in a row are folded like a
serpent, since nobody can look at a picture that is twenty times as long as broad.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gaia_local.pictures.boxes import NAME, PADDING, ROOM, Box, Link, step_box
from gaia_local.pictures.coordinates import Layout, Point
from gaia_local.pictures.words import bold, shorten, width

HEADER = 30.0
_MOST = 12
"""More composite Steps than that side by side have no frames: their inner Steps share panels."""
_ROW = 12
"""So many Steps in a row are folded, at least."""
_GAP = 34.0
"""Between folded Steps, in px."""
_SHAPE = 1.8
"""About how many times as wide as high folded Steps are."""

Place = Callable[[Sequence[Box], Sequence[Link]], Layout]


@dataclass(frozen=True)
class Frame(Box):
    """Boxes and links inside of a box; `layout` begins below its title."""

    boxes: tuple[Box, ...] = ()
    links: tuple[Link, ...] = ()
    layout: Layout | None = None


def framed(
    boxes: Sequence[Box], links: Sequence[Link], place: Place
) -> tuple[list[Box], list[Link]]:
    """The same with frames for composite Commands and long rows."""
    return _folded(*_composites(boxes, links, place, ""))


def _composites(
    boxes: Sequence[Box], links: Sequence[Link], place: Place, prefix: str
) -> tuple[list[Box], list[Link]]:
    """Frames for the composite Steps whose names follow `prefix`."""
    inside: dict[str, list[int]] = {}
    for number, box in enumerate(boxes):
        outer = {node.name.removeprefix(prefix).partition(":")[::2] for node in box.nodes}
        names = {name for name, inner in outer if inner}
        if len(names) == 1 and all(inner for _, inner in outer):
            inside.setdefault(names.pop(), []).append(number)
    if len(inside) > _MOST:
        return list(boxes), list(links)

    def make(name: str, own: Sequence[Box], between: Sequence[Link]) -> Frame:
        begin = f"{prefix}{name}:"
        named = [
            step_box(box.nodes[0], box.nodes[0].name.removeprefix(begin))
            if box.kind == "step"
            else box
            for box in own
        ]
        widest = max((box.width for box in named if box.kind == "step"), default=0.0)
        named = [
            dataclasses.replace(box, width=widest) if box.kind == "step" else box for box in named
        ]
        parts = _folded(*_composites(named, between, place, begin))
        return _frame(name, *parts, place(*parts))

    return _replaced(boxes, links, inside, make)


def _folded(boxes: Sequence[Box], links: Sequence[Link]) -> tuple[list[Box], list[Link]]:
    """Frames for long rows of Steps."""
    after: dict[int, set[int]] = collections.defaultdict(set)
    before: dict[int, set[int]] = collections.defaultdict(set)
    for link in links:
        after[link.source].add(link.target)
        before[link.target].add(link.source)

    def following(number: int) -> int | None:
        """The box after this one in a row."""
        if len(after[number]) != 1 or boxes[number].kind != "step":
            return None
        (other,) = after[number]
        alone = len(before[other]) == 1 and boxes[other].kind == "step"
        return other if alone and other != number else None

    followed = {following(number) for number in range(len(boxes))}
    rows: dict[str, list[int]] = {}
    for number in range(len(boxes)):
        row = [number]
        if number in followed:
            continue
        while (other := following(row[-1])) is not None:
            row.append(other)
        if len(row) >= _ROW:
            rows[str(number)] = row

    def make(_: str, own: Sequence[Box], between: Sequence[Link]) -> Frame:
        even = [
            dataclasses.replace(
                box,
                width=max(one.width for one in own),
                height=max(one.height for one in own),
            )
            for box in own
        ]
        in_order = sorted(between, key=lambda link: link.source)
        return _frame(f"{len(own)} in a row", even, in_order, _serpent(even))

    return _replaced(boxes, links, rows, make)


def _replaced(
    boxes: Sequence[Box],
    links: Sequence[Link],
    inside: dict[str, list[int]],
    make: Callable[[str, Sequence[Box], Sequence[Link]], Frame],
) -> tuple[list[Box], list[Link]]:
    """Boxes with a frame for each of `inside` that has several, and links between what is left."""
    inside = {name: numbers for name, numbers in inside.items() if len(numbers) > 1}
    home = {number: name for name, numbers in inside.items() for number in numbers}
    place_in = {n: place for numbers in inside.values() for place, n in enumerate(numbers)}
    between: dict[str, list[Link]] = {name: [] for name in inside}
    for link in links:
        name = home.get(link.source)
        if name is not None and name == home.get(link.target):
            source, target = place_in[link.source], place_in[link.target]
            between[name].append(dataclasses.replace(link, source=source, target=target))
    made: list[Box] = []
    new: dict[int, int] = {}
    for number, box in enumerate(boxes):
        name = home.get(number)
        if name is None:
            new[number] = len(made)
            made.append(box)
        elif number == inside[name][0]:
            new |= dict.fromkeys(inside[name], len(made))
            made.append(make(name, [boxes[n] for n in inside[name]], between[name]))
    outside: dict[tuple[int, int], list[Link]] = {}
    for link in links:
        if link.source not in home or home[link.source] != home.get(link.target):
            outside.setdefault((new[link.source], new[link.target]), []).append(link)
    return made, [_one(*ends, some) for ends, some in outside.items()]


def _one(source: int, target: int, links: Iterable[Link]) -> Link:
    some = list(links)
    edges = tuple(edge for link in some for edge in link.edges)
    keys = tuple(dict.fromkeys(key for link in some for key in link.keys))
    return Link(source, target, edges, keys)


def _frame(name: str, boxes: Sequence[Box], links: Sequence[Link], layout: Layout) -> Frame:
    title = shorten(name, max(ROOM, layout.width), bold(NAME))
    wide = max(layout.width, width(title, bold(NAME))) + 2 * PADDING
    high = HEADER + layout.height + PADDING
    nodes = tuple(node for box in boxes for node in box.nodes)
    shown = (title,), "", wide, high
    return Frame(
        "frame", nodes, *shown, title=name, boxes=tuple(boxes), links=tuple(links), layout=layout
    )


def _serpent(boxes: Sequence[Box]) -> Layout:
    """Boxes of one size in rows, from left to right and back, each joined to the next one."""
    wide, high = boxes[0].width, boxes[0].height
    ratio = _SHAPE * (high + _GAP) / (wide + _GAP)
    columns = max(2, math.ceil(math.sqrt(len(boxes) * ratio)))
    corners: list[Point] = []
    for number in range(len(boxes)):
        row, place = divmod(number, columns)
        column = place if row % 2 == 0 else columns - 1 - place
        corners.append((column * (wide + _GAP), row * (high + _GAP)))
    ways, flat = [], []
    for (x, y), (to_x, to_y) in itertools.pairwise(corners):
        middle, right = y + high / 2, to_x > x
        flat.append(y == to_y)
        if y == to_y:
            ways.append(
                ((x + (wide if right else 0), middle), (to_x + (0 if right else wide), middle))
            )
        else:
            ways.append(((x + wide / 2, y + high), (to_x + wide / 2, to_y)))
    rows = math.ceil(len(boxes) / columns)
    size = columns * (wide + _GAP) - _GAP, rows * (high + _GAP) - _GAP
    return Layout(*size, tuple(corners), tuple(ways), tuple(flat))
