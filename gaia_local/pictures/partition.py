"""Depths and rows of a graph's Steps, and parts of groups that leave an order between groups."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

Edge = tuple[int, int]


@dataclass(frozen=True)
class Extent:
    """The shape of a graph whose Steps are 0, 1, …"""

    order: tuple[int, ...]
    """The Steps, each after those that lead to it; those on or behind a cycle are missing."""
    depths: tuple[int, ...]
    """The number of Steps on the longest way to each; on a cycle, as far as known."""
    before: tuple[tuple[int, ...], ...]
    """Those that lead to each, each once."""
    after: tuple[tuple[int, ...], ...]

    @property
    def breadth(self) -> int:
        """The most Steps of one depth."""
        return max(collections.Counter(self.depths).values(), default=0)

    def rows(self, least: int) -> Iterator[list[int]]:
        """Runs of at least so many Steps that only lead to the next one, and only from the last."""
        for step in self.order:
            if self._joined(step) is not None:
                continue
            row = [step]
            while len(self.after[row[-1]]) == 1 and len(self.before[self.after[row[-1]][0]]) == 1:
                row.append(self.after[row[-1]][0])
            if len(row) >= least:
                yield row

    def _joined(self, step: int) -> int | None:
        """The Step before this one in a row."""
        before = self.before[step]
        return before[0] if len(before) == 1 and len(self.after[before[0]]) == 1 else None


def extent(number: int, edges: Iterable[Edge]) -> Extent:
    """The shape of `number` Steps with these edges, none of which leads to its own Step."""
    before: list[list[int]] = [[] for _ in range(number)]
    after: list[list[int]] = [[] for _ in range(number)]
    for source, target in dict.fromkeys(edges):
        before[target].append(source)
        after[source].append(target)
    missing = list(map(len, before))
    depths = [0] * number
    order = [step for step, count in enumerate(missing) if not count]
    for step in order:
        below = depths[step] + 1
        for reader in after[step]:
            depths[reader] = max(depths[reader], below)
            missing[reader] -= 1
            if not missing[reader]:
                order.append(reader)
    return Extent(tuple(order), tuple(depths), tuple(map(tuple, before)), tuple(map(tuple, after)))


def divide(
    members: Sequence[int], home: Mapping[int, int], edges: Iterable[Edge], shape: Extent
) -> dict[int, int]:
    """The part of its group that each of some Steps belongs to; those not named: part 0.

    `home` has each member's group. Between two groups of which each leads to the other, edges of
    one direction are taken to lead to the same part or a later one, edges of the other to a later
    one: so parts of groups are in order, first by number, then by group.
    """
    following: dict[int, dict[int, None]] = {}
    for source, target in edges:
        if home[source] != home[target]:
            following.setdefault(home[source], {})[home[target]] = None
    # The groups that come first in the graph are the first in the order, too.
    starts = sorted(following, key=lambda group: (shape.depths[group], group))
    order = _finished(starts, following)
    order.reverse()
    place = {group: number for number, group in enumerate(order)}
    if all(place[one] < place[other] for one in following for other in following[one]):
        return {}
    knot = _knots(order, following)
    inside = set(members)
    parts: dict[int, int] = {}
    for step in shape.order:
        if step not in inside or home[step] not in knot:
            continue
        own = home[step]
        part = 0
        for maker in shape.before[step]:
            if maker in inside and knot.get(home[maker]) == knot[own]:
                part = max(part, parts[maker] + (place[home[maker]] > place[own]))
        parts[step] = part
    return parts


def _finished(
    starts: Iterable[int], following: Mapping[int, Iterable[int]], seen: set[int] | None = None
) -> list[int]:
    """What can be reached, in the order in which a search that goes deep first leaves it."""
    seen = set() if seen is None else seen
    left = []
    for start in starts:
        if start in seen:
            continue
        seen.add(start)
        stack = [(start, iter(following.get(start, ())))]
        while stack:
            group, rest = stack[-1]
            after = next((one for one in rest if one not in seen), None)
            if after is None:
                left.append(group)
                stack.pop()
            else:
                seen.add(after)
                stack.append((after, iter(following.get(after, ()))))
    return left


def _knots(order: Sequence[int], following: Mapping[int, Iterable[int]]) -> dict[int, int]:
    """Group → one of those that it can reach and that can reach it, by Kosaraju's algorithm."""
    leading: dict[int, list[int]] = {}
    for one, others in following.items():
        for other in others:
            leading.setdefault(other, []).append(one)
    seen: set[int] = set()
    return {
        group: start
        for start in order
        if start not in seen
        for group in _finished([start], leading, seen)
    }
