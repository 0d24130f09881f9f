"""Ways to group the Steps of a large graph: by Command, name, composite, array, chain or rank.

The invariant of each: no group reaches itself through a box outside of it, whichever groups are
opened, unless the Steps themselves go round in a circle. So a picture of groups has an order where
the Steps have one. What would break it is divided (`partition`). Edges within a group are its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gaia_local.errors import InvalidInput
from gaia_local.pictures.labels import labels
from gaia_local.pictures.partition import Extent, divide, extent

KINDS = ("command", "composite", "name", "array", "chain", "rank")
"""The ways to group; not each of them does anything for each graph."""
_LABELS = {"command": "Command"}
FEW, MANY = 3, 40
"""A picture of so many boxes is easy to look at."""
_STEPS, _BREADTH, _EDGES = 200, 24, 1500
"""A graph with more of one of these is better grouped at first."""
_NESTED = 12
"""Groups of at most so many Steps have no groups within."""
_ROW = 4
"""So many Steps in a row are a chain, at least."""
_CLEARER = 0.5
"""How much more must a grouping tell (as entropy, in nats) to be preferred to an earlier one."""
_FARTHER = 0.5
_NUMBER = re.compile(r"(\d+)")
_WORD = re.compile(r"[^\W\d_]+[-_.]?$")

Level = tuple[str, str]
"""The key of a group, and its name for the reader."""
Path = tuple[Level, ...]
"""The groups that a Step lies in, the outermost first; empty: none."""


@dataclass(frozen=True)
class Group:
    """Steps (by their indices in the graph) that are drawn as one, and the groups within."""

    id: str
    """Stays the same when Steps are added."""
    name: str
    steps: tuple[int, ...]
    groups: tuple[Group, ...]

    def answer(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "id": self.id,
            "name": self.name,
            "steps": list(self.steps),
            "groups": [group.answer() for group in self.groups],
        }


@dataclass(frozen=True)
class Grouping:
    """One way to group a workflow: a Step that is in none of its groups is drawn by itself."""

    by: str
    """``command``, ``composite``, ``name``, ``array``, ``chain`` or ``rank``."""
    label: str
    groups: tuple[Group, ...]

    def boxes(self, steps: int) -> int:
        """How many boxes a graph of so many Steps has then."""
        return steps - sum(len(group.steps) - 1 for group in self.groups)

    def answer(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "by": self.by,
            "label": self.label,
            "groups": [group.answer() for group in self.groups],
        }


def groupings(graph: Mapping[str, Any]) -> list[Grouping]:
    """The ways to group an answer of `Gaia.graph` that make fewer boxes than it has Steps."""
    return _Steps(graph).groupings()


def suggested(graph: Mapping[str, Any], choices: Sequence[Grouping]) -> str | None:
    """The `by` of the choice that suits the graph; None if each Step should be drawn by itself.

    It makes few boxes (`FEW` to `MANY`, or as near to that as there is), and of such choices it is
    the first, unless a later one tells clearly more about where the Steps are.
    """
    return _suited(_Steps(graph), choices)


def chosen(graph: Mapping[str, Any], by: str | None = None) -> tuple[Group, ...]:
    """The groups of the choice `by`; of None, those that suit best.

    If each Step should be drawn by itself, these are the first that tell what Steps do, if any.

    Raises `InvalidInput` if there is no choice of that name.
    """
    steps = _Steps(graph)
    if by is not None:
        if by not in KINDS:
            raise InvalidInput(
                "group", f"Steps can't be grouped by {by!r}", f"give one of {', '.join(KINDS)}"
            )
        return steps.tree(by)
    choices = steps.groupings()
    best = _suited(steps, choices)
    fitting = [
        choice
        for choice in choices
        if choice.by == best or (best is None and choice.by not in ("chain", "rank"))
    ]
    return fitting[0].groups if fitting else ()
    for choice in choices:
        if choice.by == by:
            return choice.groups
    if by in KINDS:
        return ()
    raise InvalidInput(
        "draw", f"Steps can't be grouped by {by!r}", f"give one of {', '.join(KINDS)}"
    )


def facts(graph: Mapping[str, Any]) -> dict[str, Any]:
    """``labels``, ``groupings`` and ``suggested`` for an answer of `Gaia.graph`."""
    steps = _Steps(graph)
    choices = steps.groupings()
    return {
        "labels": labels(steps.names),
        "groupings": [choice.answer() for choice in choices],
        "suggested": _suited(steps, choices),
    }


def _suited(steps: _Steps, choices: Sequence[Grouping]) -> str | None:
    number = len(steps.names)
    large = number > _STEPS or len(steps.edges) > _EDGES or steps.extent.breadth > _BREADTH
    if not large or not choices:
        return None
    off = [_off(choice, number) for choice in choices]
    best = None
    for choice, cost in zip(choices, off, strict=True):
        clearer = best is None or _told(choice, number) > _told(best, number) + _CLEARER
        if cost == min(off) and clearer:
            best = choice
    return None if best is None else best.by


def _off(choice: Grouping, number: int) -> float:
    """How far the number of boxes is from a good one; ranks say little, so they are farther."""
    boxes = choice.boxes(number)
    return abs(math.log(boxes / min(max(boxes, FEW), MANY))) + _FARTHER * (choice.by == "rank")


def _told(choice: Grouping, number: int) -> float:
    """The entropy of the sizes of its boxes."""
    singles = number - sum(len(group.steps) for group in choice.groups)
    shares = [len(group.steps) / number for group in choice.groups] + [1 / number] * singles
    return -sum(share * math.log(share) for share in shares)


class _Steps:
    """The Steps of a graph, by index, and the edges between them."""

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self.names = [str(step["step"]) for step in graph["steps"]]
        self._commands = [str(step["command"]) for step in graph["steps"]]
        index = {name: number for number, name in enumerate(self.names)}
        self.edges = [
            (source, target)
            for edge in graph["edges"]
            if (source := index[edge["from"]]) != (target := index[edge["to"]])
        ]
        self.extent: Extent = extent(len(self.names), self.edges)

    def groupings(self) -> list[Grouping]:
        number = len(self.names)
        found: list[Grouping] = []
        seen: set[frozenset[tuple[int, ...]]] = set()
        for by in KINDS[:-1]:
            paths = self._paths(by)
            top = frozenset(map(tuple, _alike(range(number), paths, 0)[0].values()))
            if top and top not in seen:
                seen.add(top)
                groups = self.tree(by, paths)
                found += [Grouping(by, _LABELS.get(by, by), groups)] if groups else []
        if min((choice.boxes(number) for choice in found), default=number) > MANY:
            groups = self.tree("rank")
            found += [Grouping("rank", "rank", groups)] if groups else []
        return found

    def tree(self, by: str, paths: Sequence[Path] | None = None) -> tuple[Group, ...]:
        """The groups of one of `KINDS`, of which there may be none."""
        paths = self._paths(by) if paths is None else paths
        return self._tree(by, range(len(self.names)), self.edges, paths, 0)

    def _paths(self, by: str) -> list[Path]:
        make = {
            "command": self._by_command,
            "composite": self._by_composite,
            "name": self._by_name,
            "array": self._by_array,
            "chain": self._by_chain,
            "rank": self._by_rank,
        }[by]
        return make()

    def _tree(
        self,
        above: str,
        members: Sequence[int],
        edges: Sequence[tuple[int, int]],
        paths: Sequence[Path],
        level: int,
    ) -> tuple[Group, ...]:
        """The groups of some Steps at one level of their paths, with those below."""
        kept, names = _alike(members, paths, level)
        if not kept:
            return ()
        home = dict(zip(members, members, strict=True))
        heads = {key: steps[0] for key, steps in kept.items()}
        home |= {step: heads[key] for key, steps in kept.items() for step in steps}
        parts = divide(members, home, edges, self.extent)
        inner = _inside(edges, home)
        made = []
        for key, steps in kept.items():
            rounds: dict[int, list[int]] = {}
            for step in steps:
                rounds.setdefault(parts.get(step, 0), []).append(step)
            for turn, number in enumerate(sorted(rounds), 1):
                some = rounds[number]
                if len(some) == 1:
                    continue
                name = names[key] if len(rounds) == 1 else f"{names[key]} ({turn})"
                id_ = f"{above}:{key}" + (f"#{number}" if number else "")
                below: tuple[Group, ...] = ()
                if len(some) > _NESTED:
                    own = inner.get(heads[key], [])
                    if len(rounds) > 1:
                        within = set(some)
                        own = [edge for edge in own if within.issuperset(edge)]
                    below = self._tree(id_, some, own, paths, level + 1)
                    while len(below) == 1 and len(below[0].steps) == len(some):
                        below = below[0].groups
                made.append(Group(id_, name, tuple(some), below))
        return tuple(made)

    def _by_command(self) -> list[Path]:
        return [((command, command),) for command in self._commands]

    def _by_composite(self) -> list[Path]:
        """Inner Steps are ``OUTER:INNER``; outer ones that differ by numbers are together."""
        paths: list[Path] = []
        for name in self.names:
            outer = name.split(":")[:-1]
            if not outer:
                paths.append(())
                continue
            masked = _NUMBER.sub("*", outer[0])
            levels = [":".join(outer[: end + 1]) for end in range(len(outer))]
            paths.append(((masked, masked), *((level, level) for level in levels)))
        return self._named(paths)

    def _named(self, paths: list[Path]) -> list[Path]:
        """The same, but where only one name has a mask, the group has that name."""
        outer: dict[str, set[str]] = {}
        for path in paths:
            if path:
                outer.setdefault(path[0][0], set()).add(path[1][1])
        return [
            ((path[0][0], path[1][1]), *path[1:]) if path and len(outer[path[0][0]]) == 1 else path
            for path in paths
        ]

    def _by_name(self) -> list[Path]:
        """Names that differ by numbers are together; within, those with equal first numbers."""
        families: dict[tuple[str, ...], list[int]] = {}
        pieces = [_NUMBER.split(name) for name in self.names]
        for step, split in enumerate(pieces):
            families.setdefault(tuple(split[::2]), []).append(step)
        paths: list[Path] = [()] * len(self.names)
        for texts, members in families.items():
            columns = list(zip(*(pieces[step][1::2] for step in members), strict=True))
            varied = [len(set(column)) for column in columns]
            shown = [
                column[0] if kinds == 1 else "*"
                for column, kinds in zip(columns, varied, strict=True)
            ]
            top = "*".join(texts), _joined(texts, shown)
            levels = [n for n, kinds in enumerate(varied) if 1 < kinds <= len(members) / 2]
            words = [_WORD.search(texts[n]) for n in levels]
            for step in members:
                path, key = [top], ""
                for n, word in zip(levels, words, strict=True):
                    number = pieces[step][2 * n + 1]
                    key += f"/{n}={number}"
                    path.append((key, f"{word.group() if word else ''}{number}"))
                paths[step] = tuple(path)
        return paths

    def _by_array(self) -> list[Path]:
        """Steps of an array are ``NAME-VALUE-VALUE``, of one Command."""
        paths: list[Path] = []
        for name, command in zip(self.names, self._commands, strict=True):
            if "-" not in name:
                paths.append(())
                continue
            stem = ":".join(
                f"{head}-*" if dash else head
                for head, dash, _ in (part.partition("-") for part in name.split(":"))
            )
            paths.append(((f"{command} {stem}", stem),))
        return paths

    def _by_chain(self) -> list[Path]:
        """Steps that nothing leads to or from but each other, in a row."""
        paths: list[Path] = [()] * len(self.names)
        for row in self.extent.rows(_ROW):
            first, last = self.names[row[0]], self.names[row[-1]]
            for step in row:
                paths[step] = ((first, f"{first} … {last}"),)
        return paths

    def _by_rank(self) -> list[Path]:
        """The number of Steps on the longest way to each, in at most `MANY` bands."""
        depths = self.extent.depths
        step = 1
        while max(depths, default=0) // step >= MANY:
            step *= 2
        return [((str(depth // step), _ranks(depth // step * step, step)),) for depth in depths]


def _alike(
    members: Iterable[int], paths: Sequence[Path], level: int
) -> tuple[dict[str, list[int]], dict[str, str]]:
    """Steps by their key at one level, where several have it, and the name of each key."""
    alike: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    for step in members:
        if level < len(paths[step]):
            key, name = paths[step][level]
            alike.setdefault(key, []).append(step)
            names[key] = name
    return {key: steps for key, steps in alike.items() if len(steps) > 1}, names


def _inside(
    edges: Iterable[tuple[int, int]], home: Mapping[int, int]
) -> dict[int, list[tuple[int, int]]]:
    """The edges within each group."""
    inner: dict[int, list[tuple[int, int]]] = {}
    for source, target in edges:
        if home[source] == home[target]:
            inner.setdefault(home[source], []).append((source, target))
    return inner


def _joined(texts: Sequence[str], numbers: Sequence[str]) -> str:
    """A name of its pieces of text and the numbers between them."""
    return "".join(text + number for text, number in zip(texts, [*numbers, ""], strict=True))


def _ranks(first: int, number: int) -> str:
    return f"rank {first + 1}" if number == 1 else f"ranks {first + 1}–{first + number}"
