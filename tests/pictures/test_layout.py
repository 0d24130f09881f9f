"""Where boxes and links lie, for graphs of any shape, and what that costs."""

from __future__ import annotations

import itertools
import math
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaia_local.pictures import layers
from gaia_local.pictures.boxes import Box, Link, Node
from gaia_local.pictures.coordinates import Layout, spaced
from gaia_local.pictures.drawing import draw
from gaia_local.pictures.layout import place

Pair = tuple[int, int]


def box(number: int, width: float = 136.0, height: float = 36.0) -> Box:
    node = Node(f"s{number}", f"c{number}", "waiting")
    return Box("step", (node,), (node.name,), "", width, height)


def link(source: int, target: int, edges: int = 1) -> Link:
    return Link(source, target, tuple((f"s{source}", f"s{target}") for _ in range(edges)), ("b:k",))


def laid_out(number: int, pairs: Iterable[Pair]) -> tuple[list[Box], list[Link], Layout]:
    boxes = [box(index) for index in range(number)]
    links = [link(*pair) for pair in pairs]
    return boxes, links, place(boxes, links)


def check(boxes: Sequence[Box], links: Sequence[Link], layout: Layout) -> None:
    """Boxes lie apart and inside; ways end at their own boxes and go around the others."""
    frames = [
        (x, y, x + one.width, y + one.height)
        for one, (x, y) in zip(boxes, layout.corners, strict=True)
    ]
    for left, top, right, bottom in frames:
        assert min(left, top) >= -0.001
        assert right <= layout.width + 0.001
        assert bottom <= layout.height + 0.001
    for one, other in itertools.combinations(frames, 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    for joined, way in zip(links, layout.ways, strict=True):
        if joined.source == joined.target:
            assert way == ()
            continue
        source, target = frames[joined.source], frames[joined.target]
        upward = source[1] > target[1]
        for (x, y), frame, border in ((way[0], source, 3), (way[-1], target, 1)):
            assert frame[0] <= x <= frame[2]
            assert y == pytest.approx(frame[4 - border if upward else border])
        for (x1, y1), (x2, y2) in itertools.pairwise(way):
            assert y2 <= y1 if upward else y1 <= y2
            # A curve between two points lies in the rectangle between them.
            low, high = sorted((y1, y2))
            for number, (left, top, right, bottom) in enumerate(frames):
                if number not in (joined.source, joined.target) and low < bottom and top < high:
                    assert max(x1, x2) < left or right < min(x1, x2)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(10, 900), st.floats(10, 300), st.sampled_from([1, 1, 1, 30])),
        min_size=1,
        max_size=30,
    ),
    st.sets(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=60),
    st.sampled_from([0, 100]),
)
def test_any_graph_has_boxes_apart_and_links_around_them(
    sizes: list[tuple[float, float, int]], pairs: set[Pair], few_joints: int
) -> None:
    boxes = [box(number, *size[:2]) for number, size in enumerate(sizes)]
    links = [
        link(source, target, sizes[source][2])
        for source, target in sorted(pairs)
        if max(source, target) < len(boxes)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "_FEW_JOINTS", few_joints)
        check(boxes, links, place(boxes, links))


def test_a_chain_is_straight() -> None:
    _, _, layout = laid_out(40, itertools.pairwise(range(40)))
    assert len({round(x, 6) for way in layout.ways for x, _ in way}) == 1


def test_a_link_against_the_order_goes_upward_beside_the_other() -> None:
    boxes, links, layout = laid_out(2, [(0, 1), (1, 0)])
    check(boxes, links, layout)
    (down, up) = layout.ways
    assert layout.corners[0][1] < layout.corners[1][1]
    assert down[0][1] < down[-1][1]
    assert up[0][1] > up[-1][1]
    assert abs(down[0][0] - up[-1][0]) >= 20


def test_links_from_one_box_that_are_many_share_their_joints() -> None:
    pairs = [*itertools.pairwise(range(40)), *((0, target) for target in range(2, 40))]
    boxes, links, layout = laid_out(40, pairs)
    check(boxes, links, layout)
    assert layout.width < 2 * boxes[0].width
    starts = {way[0][0] for one, way in zip(links, layout.ways, strict=True) if not one.source}
    assert len(starts) == 2  # to the next box, and to all others


def test_links_with_numbers_end_apart() -> None:
    boxes = [box(number) for number in range(30)]
    links = [link(source, 29, edges=3) for source in range(29)]
    links += [link(source, source + 1) for source in range(28)]
    layout = place(boxes, links)
    ends = sorted(
        way[-1][0] for one, way in zip(links, layout.ways, strict=True) if one.target == 29
    )
    assert all(right - left > 1 for left, right in itertools.pairwise(ends))


def test_a_layer_that_is_too_long_goes_on_below_in_order() -> None:
    boxes, links, layout = laid_out(
        102, [(0, n) for n in range(1, 101)] + [(n, 101) for n in range(1, 101)]
    )
    check(boxes, links, layout)
    assert layout.width < 5000
    rows: dict[float, list[tuple[float, int]]] = {}
    for number in range(1, 101):
        x, y = layout.corners[number]
        rows.setdefault(y, []).append((x, number))
    assert 2 < len(rows) < 10
    read = [number for y in sorted(rows) for _, number in sorted(rows[y])]
    assert read == list(range(1, 101))


def test_boxes_without_links_are_in_rows_after_the_others() -> None:
    boxes, links, layout = laid_out(280, [(277, 278), (277, 279)])
    check(boxes, links, layout)
    assert max(layout.width, layout.height) < 2600
    assert layout.corners[278] == (0.0, max(y for _, y in layout.corners[277:]))
    reading = sorted(range(277), key=lambda number: layout.corners[number][::-1])
    assert reading == list(range(277))


def test_parts_that_nothing_joins_lie_side_by_side() -> None:
    parts = range(0, 90, 3)
    boxes, links, layout = laid_out(90, [(first, first + n) for first in parts for n in (1, 2)])
    check(boxes, links, layout)
    assert 0.5 < layout.width / layout.height < 3
    for first in parts:
        assert {layout.corners[first + n][1] - layout.corners[first][1] for n in (1, 2)} != {0}


def test_nothing_is_laid_out_in_no_room() -> None:
    assert place([], []) == Layout(0.0, 0.0, (), (), ())


def test_links_do_not_cross_where_they_need_not() -> None:
    numbers = list(range(12))
    random.Random(1).shuffle(numbers)
    pairs = [(number, 12 + other) for number, other in enumerate(numbers)]
    pairs += [(24, number) for number in range(12)]
    _, _, layout = laid_out(25, pairs)
    order = [sorted(row, key=lambda n: layout.corners[n][0]) for row in (range(12), range(12, 24))]
    assert [12 + numbers[number] for number in order[0]] == order[1]


def test_a_graph_has_the_same_picture_in_every_process() -> None:
    code = (
        "import random; from test_layout import *; chance = random.Random(2)\n"
        "pairs = {(chance.randrange(60), chance.randrange(60)) for _ in range(120)}\n"
        "print(laid_out(60, sorted(pairs))[2])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path]),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


@given(
    st.lists(
        st.tuples(st.floats(-1e4, 1e4), st.floats(0.1, 100), st.floats(0, 50)),
        min_size=1,
        max_size=20,
    )
)
def test_places_are_apart_and_within_bounds(given_places: list[tuple[float, float, float]]) -> None:
    wanted, weights, gaps = map(list, zip(*given_places, strict=True))
    apart = gaps[1:]
    places = spaced(wanted, apart, weights, -1000.0, 1000.0)
    assert min(places) >= -1000.001
    assert max(places) <= 1000.001
    for (left, right), least in zip(itertools.pairwise(places), apart, strict=True):
        assert right - left >= least - 0.001
    # What keeps to all that already is left as it is.
    assert spaced(places, apart, weights, -1000.0, 1000.0) == pytest.approx(places)


def test_places_are_moved_no_more_than_needed() -> None:
    assert spaced([0.0, 0.0], [10.0], [1.0, 1.0], -99.0, 99.0) == [-5.0, 5.0]
    assert spaced([0.0, 0.0], [10.0], [3.0, 1.0], -99.0, 99.0) == [-2.5, 7.5]
    assert spaced([0.0, 0.0], [10.0], [1.0, 1.0], 0.0, 99.0) == [0.0, 10.0]


# ------------------------------------------------------------------------------------ what it costs


def study(chains: int, generations: int) -> list[Pair]:
    """Chains of simulations, each analysed; all analyses of a chain are joined, then all chains."""
    pairs, last = [(0, 1)], 1
    joins = []
    for _ in range(chains):
        before, analyses = 1, []
        for _ in range(generations):
            simulation, analysis, last = last + 1, last + 2, last + 2
            pairs += [(before, simulation), (0, simulation), (simulation, analysis)]
            analyses.append(analysis)
            before = simulation
        last += 1
        joins.append(last)
        pairs += [(analysis, last) for analysis in analyses]
    return [*pairs, *((join, last + 1) for join in joins)]


def fan(number: int) -> list[Pair]:
    inner = range(1, number - 1)
    return [pair for n in inner for pair in ((0, n), (n, number - 1))]


def chain_with_long_links(number: int) -> list[Pair]:
    chance = random.Random(1)
    half = number // 2
    far = {(chance.randrange(half), half + chance.randrange(half)) for _ in range(number)}
    return sorted(far | set(itertools.pairwise(range(number))))


def in_layers(number: int, count: int) -> list[Pair]:
    """Each Step reads three of the layer above it, or now and then of one farther above."""
    chance, size = random.Random(2), number // count
    pairs = set()
    for step in range(size, size * count):
        above = step // size - 1
        for _ in range(3):
            layer = chance.randrange(above + 1) if chance.random() < 0.2 else above
            pairs.add((layer * size + chance.randrange(size), step))
    return sorted(pairs)


def dense(number: int) -> list[Pair]:
    chance = random.Random(3)
    pairs = (sorted(chance.sample(range(number), 2)) for _ in range(10 * number))
    return sorted({(first, second) for first, second in pairs})


def cyclic(number: int) -> list[Pair]:
    chance = random.Random(4)
    return sorted({(chance.randrange(number), chance.randrange(number)) for _ in range(3 * number)})


SHAPES: dict[str, Callable[[int], list[Pair]]] = {
    "study": lambda number: study(16, 8) if number < 300 else study(60, 16),
    "fan": fan,
    "chain": lambda number: list(itertools.pairwise(range(number))),
    "chain with long links": chain_with_long_links,
    "layers": lambda number: in_layers(number, 9),
    "many layers": lambda number: in_layers(number, number // 10),
    "dense": dense,
    "cyclic": cyclic,
    "no links": lambda number: [],
}


# Of this thread's CPU; on an idle machine a quarter, since a busy one takes more for the same.
def word(number: int) -> str:
    """A name without digits: Steps whose names differ by numbers alone share panels."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


@pytest.mark.parametrize(("number", "seconds"), [(277, 10.0), (2000, 20.0)])
@pytest.mark.parametrize("shape", SHAPES)
def test_large_graphs_are_drawn_in_bounded_time(shape: str, number: int, seconds: float) -> None:
    pairs = SHAPES[shape](number)
    told = {
        "steps": [{"step": word(n), "command": word(n), "state": "waiting"} for n in range(number)],
        "edges": [{"from": word(a), "to": word(b), "keys": ["b:k"]} for a, b in pairs],
    }
    laid_out(2, [(0, 1)])  # the library is imported
    began = time.thread_time()
    drawn = draw(told, group=False)
    assert time.thread_time() - began < seconds
    ways = drawn.svg.count('class="way"')
    assert ways <= len(pairs)  # fewer where they meet
    assert bool(ways) == bool(pairs)


def test_a_study_has_a_picture_that_fits_a_large_screen() -> None:
    boxes, links, layout = laid_out(277, study(16, 8))
    check(boxes, links, layout)
    assert layout.width < 6000
    assert layout.height < 3000


def test_links_beyond_the_bound_have_no_joints_but_end_at_their_boxes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = [*itertools.pairwise(range(30)), (0, 29), (0, 2)]
    monkeypatch.setattr(layers, "_MOST_JOINTS", 20)
    _, _, layout = laid_out(30, pairs)
    assert len(layout.ways[-1]) > 2
    straight = layout.ways[-2]
    assert len(straight) == 2
    assert math.dist(straight[0], (layout.corners[0][0] + 68, layout.corners[0][1] + 36)) < 60
    assert straight[-1][1] == pytest.approx(layout.corners[29][1])
