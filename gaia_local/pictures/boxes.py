"""The parts of a graph's picture before layout: boxes with their sizes, and links.

A Step is a box of its own; if many Steps alike are side by side they share a panel, in which each
is a chip, and all edges to or from them are one link. Steps are alike if they are of one Command,
or, where none has a Command in common, if their names differ by numbers alone. A group is a box
with its numbers of Steps by state, and the time that they took where that is known.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaia_local.errors import InvalidInput, shown
from gaia_local.model.durations import duration
from gaia_local.pictures.grouping import Group
from gaia_local.pictures.labels import labels
from gaia_local.pictures.states import ORDER
from gaia_local.pictures.words import bold, clean, common_prefix, shorten, width, wrap

PANEL = 12
"""So many Steps of one Command at one depth are drawn one by one; more of them share a panel."""
NAME, SMALL = 13.0, 11.0
"""Sizes of text in px."""
ROOM = 190.0
"""The greatest width of the text in a box."""
_GROUP_ROOM = 250.0
LEFT, RIGHT = 38.0, 14.0
"""Around a box's text; the sign is to its left."""
CHIP_HEIGHT, CHIP_SIGN, CHIP_GAP, PADDING, HEADER = 22.0, 22.0, 6.0, 12.0, 46.0
_CHIP_ROOM = 150.0
_PANEL_SHAPE = 2.6
"""The approximate ratio of a panel's width to its height."""
BAR = 8.0
_LOOP = 42.0
"""Room for a loop and its number, in px."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Node:
    """One Step."""

    name: str
    command: str
    state: str


@dataclass(frozen=True)
class Box:
    """A Step (`nodes` has one), a panel, group or frame of Steps (`nodes` has them all), or a
    junction (`nodes` is empty): a point where links meet that lead to the same boxes."""

    kind: str
    """``step``, ``panel``, ``group``, ``frame`` or ``junction``."""
    nodes: tuple[Node, ...]
    lines: tuple[str, ...]
    """The name as it is shown."""
    below: str
    """A smaller line below the name."""
    width: float
    height: float
    columns: int = 1
    chips: tuple[str, ...] = ()
    """In a panel, the name of each Step as it is shown."""
    title: str = ""
    """The whole name of a group or a frame."""
    aside: float = 0.0
    """Room for a loop, beside it."""

    @property
    def counts(self) -> dict[str, int]:
        """State → number of Steps, in the order of legends."""
        return count(node.state for node in self.nodes)


@dataclass(frozen=True)
class Link:
    """The edges from one box to another, by their numbers."""

    source: int
    target: int
    edges: tuple[tuple[str, str], ...]
    """The names of the Steps that it joins."""
    keys: tuple[str, ...]
    """The storage keys that go that way."""


def count(states: Iterable[str]) -> dict[str, int]:
    """State → count, in the order of legends."""
    counted = collections.Counter(states)
    order = {state: number for number, state in enumerate(ORDER)}
    return dict(sorted(counted.items(), key=lambda item: order.get(item[0], len(order))))


def read(graph: Mapping[str, Any]) -> tuple[list[Node], list[tuple[str, str, tuple[str, ...]]]]:
    """The Steps and edges of an answer of `Gaia.graph`; raises `InvalidInput` for anything else."""
    try:
        nodes = [
            Node(clean(step["step"]), clean(step["command"]), clean(step["state"]))
            for step in graph["steps"]
        ]
        edges = [
            (clean(edge["from"]), clean(edge["to"]), tuple(clean(key) for key in edge["keys"]))
            for edge in graph["edges"]
        ]
    except (TypeError, KeyError) as error:
        raise InvalidInput(
            "draw", f"{shown(graph)} isn't a graph ({error!r})", "give what Gaia.graph answers"
        ) from None
    known = {node.name for node in nodes}
    if len(known) < len(nodes):
        raise InvalidInput("draw", "two Steps have one name", "give what Gaia.graph answers")
    for edge in edges:
        for name in edge[:2]:
            if name not in known:
                raise InvalidInput(
                    "draw",
                    f"an edge names {name!r}, which isn't a Step",
                    "give what Gaia.graph answers",
                )
    return nodes, edges


def by_step(graph: Mapping[str, Any]) -> tuple[list[Box], list[Link]]:
    """A box for each Step, but a panel for many alike."""
    nodes, edges = read(graph)
    depth = _depths(nodes, edges)
    texts = dict(zip([node.name for node in nodes], _labels(nodes), strict=True))
    kin = _kin(nodes)
    alike: dict[tuple[int, str, str], list[Node]] = {}
    for node in nodes:
        outer = node.name.rpartition(":")[0]
        alike.setdefault((depth[node.name], kin[node.name], outer), []).append(node)
    boxes: list[Box] = []
    home: dict[str, int] = {}
    for members in alike.values():
        if len(members) > PANEL:
            made, homes = [_panel(members)], [members]
        else:
            made = even([step_box(node, texts[node.name]) for node in members])
            homes = [[node] for node in members]
        for box, together in zip(made, homes, strict=True):
            home |= {node.name: len(boxes) for node in together}
            boxes.append(box)
    return boxes, _links(edges, home)


def by_group(
    graph: Mapping[str, Any],
    groups: Iterable[Group],
    seconds: Mapping[str, float] | None = None,
) -> tuple[list[Box], list[Link]]:
    """A box for each of these groups, and for each Step that is in none, in the order of upload.

    `seconds` are the times that Steps took, by name.
    """
    nodes, edges = read(graph)
    texts = _labels(nodes)
    first = {group.steps[0]: group for group in groups}
    grouped = {step for group in first.values() for step in group.steps}
    boxes: list[Box] = []
    home: dict[str, int] = {}
    for number, node in enumerate(nodes):
        if number in first:
            members = [nodes[step] for step in first[number].steps]
            home |= {member.name: len(boxes) for member in members}
            boxes.append(_group(clean(first[number].name), members, seconds or {}))
        elif number not in grouped:
            home[node.name] = len(boxes)
            boxes.append(step_box(node, texts[number]))
    links = _links(edges, home)
    for link in links:
        if link.source == link.target:
            boxes[link.source] = dataclasses.replace(boxes[link.source], aside=_LOOP)
    return boxes, links


def _labels(nodes: Sequence[Node]) -> list[str]:
    return labels([node.name for node in nodes])


def _kin(nodes: Sequence[Node]) -> dict[str, str]:
    """Step → its Command, or, if it is the only one of it, its name without numbers."""
    commands = collections.Counter(node.command for node in nodes)
    return {
        node.name: f"c {node.command}"
        if commands[node.command] > 1
        else f"n {_NUMBER.sub('*', node.name)}"
        for node in nodes
    }


def even(boxes: Sequence[Box]) -> list[Box]:
    """The same, as wide as the widest."""
    widest = max(box.width for box in boxes)
    return [dataclasses.replace(box, width=widest) for box in boxes]


def _links(
    edges: Iterable[tuple[str, str, tuple[str, ...]]], home: Mapping[str, int]
) -> list[Link]:
    joined: dict[tuple[int, int], tuple[list[tuple[str, str]], dict[str, None]]] = {}
    for source, target, keys in edges:
        pairs, seen = joined.setdefault((home[source], home[target]), ([], {}))
        pairs.append((source, target))
        seen.update(dict.fromkeys(keys))
    return [
        Link(source, target, tuple(pairs), tuple(keys))
        for (source, target), (pairs, keys) in joined.items()
    ]


def _depths(
    nodes: Sequence[Node], edges: Iterable[tuple[str, str, tuple[str, ...]]]
) -> dict[str, int]:
    """The number of Steps on the longest way to each Step; for a cycle, as far as known."""
    readers: dict[str, list[str]] = {node.name: [] for node in nodes}
    missing = dict.fromkeys(readers, 0)
    for source, target, _ in edges:
        readers[source].append(target)
        missing[target] += 1
    depths = dict.fromkeys(readers, 0)
    ready = [name for name, number in missing.items() if not number]
    for name in ready:
        for reader in readers[name]:
            depths[reader] = max(depths[reader], depths[name] + 1)
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    return depths


def step_box(node: Node, label: str) -> Box:
    """A box for one Step, with its label and its Command, if that is another word."""
    lines = wrap(label, ROOM, bold(NAME))
    below = "" if node.command in (node.name, label) else shorten(node.command, ROOM, SMALL)
    text = max(*(width(line, bold(NAME)) for line in lines), width(below, SMALL), 60.0)
    height = 16.0 + 16.0 * len(lines) + (15.0 if below else 0.0)
    return Box(
        "step", (node,), tuple(lines), below, LEFT + min(text, ROOM) + RIGHT, max(height, 36.0)
    )


def _panel(nodes: Sequence[Node]) -> Box:
    names = [node.name for node in nodes]
    prefix = common_prefix(names)
    texts = _within(names)
    chip = CHIP_SIGN + min(max(width(text, SMALL) for text in texts), _CHIP_ROOM) + 8.0
    rows = math.sqrt(len(nodes) * (chip + CHIP_GAP) / (CHIP_HEIGHT + CHIP_GAP) / _PANEL_SHAPE)
    columns = math.ceil(len(nodes) / max(1.0, rows))
    one = len({node.command for node in nodes}) == 1
    title = shorten(nodes[0].command if one else _masked(names), 2 * ROOM, bold(NAME))
    below = f"{len(nodes)} Steps" + (f", {shorten(prefix, ROOM, SMALL)}…" if prefix and one else "")
    least = max(width(title, bold(NAME)), width(below, SMALL)) + 2 * PADDING
    wide = max(columns * (chip + CHIP_GAP) - CHIP_GAP + 2 * PADDING, least)
    high = HEADER + math.ceil(len(nodes) / columns) * (CHIP_HEIGHT + CHIP_GAP) - CHIP_GAP + PADDING
    chips = tuple(shorten(text, _CHIP_ROOM, SMALL) for text in texts)
    return Box("panel", tuple(nodes), (title,), below, wide, high, columns, chips)


def _within(names: Sequence[str]) -> list[str]:
    """What differs in the names of a panel, without the beginning and the end of all."""
    begin = len(common_prefix(names))
    end = len(common_prefix([name[::-1] for name in names]))
    short = [name[begin : len(name) - end] for name in names]
    return short if all(short) and len(set(short)) == len(short) else [n[begin:] for n in names]


def _masked(names: Sequence[str]) -> str:
    """The name that these have in common, with a star for each number that differs."""
    pieces = [re.split(r"(\d+)", name) for name in names]
    return "".join(
        same.pop() if len(same) == 1 else "*"
        for same in (set(column) for column in zip(*pieces, strict=True))
    )


def _group(name: str, nodes: Sequence[Node], seconds: Mapping[str, float]) -> Box:
    lines = wrap(name, _GROUP_ROOM, bold(NAME))
    took = [seconds[node.name] for node in nodes if node.name in seconds]
    below = f"{len(nodes)} Steps"
    if took:
        below += f", {duration(sum(took))} in all, median {duration(statistics.median(took))}"
    counts = count(node.state for node in nodes)
    numbers = sum(26.0 + width(str(number), SMALL) for number in counts.values())
    text = max(*(width(line, bold(NAME)) for line in lines), numbers, width(below, SMALL), 120.0)
    height = 12.0 + 16.0 * len(lines) + 16.0 + BAR + 10.0 + 18.0 + 8.0
    size = text + 2 * PADDING, height
    return Box("group", tuple(nodes), tuple(lines), below, *size, title=name)
