"""The order of boxes and joints within their layers: one in which few links cross."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterable, Sequence

_STARTS, _PAIRS = 8, 3000
"""How many orders of igraph's are tried, at most; fewer where they have more pairs than that
together, but at least one."""
_ITERATIONS, _ROUNDS = 24, 8
"""How often igraph improves each, and then this module, at most."""

Rows = list[list[int]]
"""The members of each layer, from left to right."""


class Order:
    """Orders of boxes and joints by number, where `pairs` are joined from one layer to the next."""

    def __init__(self, layers: Sequence[int], pairs: Sequence[tuple[int, int]]) -> None:
        self._layers = layers
        self._pairs = pairs
        self._above: list[list[int]] = [[] for _ in layers]
        self._below: list[list[int]] = [[] for _ in layers]
        for upper, lower in pairs:
            self._above[lower].append(upper)
            self._below[upper].append(lower)

    def best(self) -> Rows:
        """The order with the fewest crossings that was found, always the same.

        The order of numbers suits most workflows that a program wrote, igraph's those without a
        pattern. As igraph's depends on how boxes are numbered, it is asked more than once.
        """
        starts = max(1, min(_STARTS, _PAIRS // max(1, len(self._pairs))))
        found = [self._rows(range(len(self._layers))), *map(self._sugiyama, range(starts))]
        return min(map(self._improved, found), key=self._crossings)

    def _sugiyama(self, seed: int) -> Rows:
        """The order that igraph finds if boxes are shuffled before; not so for seed 0."""
        import igraph

        chance = random.Random(seed)
        shuffled = sorted(range(len(self._layers)), key=lambda _: chance.random() if seed else 0)
        place = {number: index for index, number in enumerate(shuffled)}
        layout = igraph.Graph(
            len(shuffled),
            [(place[upper], place[lower]) for upper, lower in self._pairs],
            directed=True,
        ).layout_sugiyama(layers=[self._layers[number] for number in shuffled], maxiter=_ITERATIONS)
        return self._rows(sorted(place, key=lambda number: layout[place[number]][0]))

    def _rows(self, numbers: Iterable[int]) -> Rows:
        rows: Rows = [[] for _ in range(max(self._layers) + 1)]
        for number in numbers:
            rows[self._layers[number]].append(number)
        return rows

    def _improved(self, rows: Rows) -> Rows:
        best, fewest = rows, self._crossings(rows)
        for number in range(_ROUNDS):
            if not fewest:
                break
            rows = self._averaged(rows, downward=number % 2 == 0)
            self._exchange(rows)
            crossings = self._crossings(rows)
            if crossings < fewest:
                best, fewest = rows, crossings
        return best

    def _averaged(self, rows: Rows, downward: bool) -> Rows:
        """Each row in the order of the boxes it is linked to, above it or below."""
        joined = self._above if downward else self._below
        place = _places(rows)

        def mean(number: int) -> float:
            near = joined[number]
            return sum(place[other] for other in near) / len(near) if near else place[number]

        moved = []
        for row in rows if downward else reversed(rows):
            moved.append(sorted(row, key=mean))
            place.update(_places(moved[-1:]))
        return moved if downward else moved[::-1]

    def _exchange(self, rows: Rows) -> None:
        """Exchange neighbours in a row where links cross less often then."""
        place = _places(rows)
        for row in rows:
            for left in range(len(row) - 1):
                one, other = row[left : left + 2]
                fewer = sum(
                    _fewer(
                        [place[end] for end in joined[one]], [place[end] for end in joined[other]]
                    )
                    for joined in (self._above, self._below)
                )
                if fewer > 0:
                    row[left : left + 2] = other, one
                    place[one], place[other] = left + 1, left

    def _crossings(self, rows: Rows) -> int:
        place = _places(rows)
        crossings = 0
        for row in rows:
            ends: list[int] = []
            for upper in row:
                lower = [place[number] for number in self._below[upper]]
                crossings += sum(len(ends) - bisect.bisect(ends, end) for end in lower)
                for end in lower:
                    bisect.insort(ends, end)
        return crossings


def _places(rows: Rows) -> dict[int, int]:
    return {number: place for row in rows for place, number in enumerate(row)}


def _fewer(ones: list[int], others: list[int]) -> int:
    """How many crossings fewer there are if links to `others` are left of those to `ones`."""
    ones.sort()
    return sum(
        len(ones) - bisect.bisect_right(ones, end) - bisect.bisect_left(ones, end) for end in others
    )
