"""The version of a graph: another one exactly when Commands, Steps or edges are others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gaia_local.engine.root_reader import RootReader
from support.builders import command, step
from support.hands import ONE, SRC, Hands


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    with closing(Hands(tmp_path)) as made:
        made.command(SRC, ONE)
        made.merge(step("a", "src", "k:a"), step("b", "one", "k:b", "k:a"))
        yield made


def version(hands: Hands) -> str:
    reader = RootReader(hands.scheduler, hands.storage)
    graph = reader.graph("w")["version"]
    assert reader.step_changes("w", None)["version"] == graph
    return graph


CHANGES: dict[str, Callable[[Hands], object]] = {
    "another Command": lambda hands: hands.command(command("more", "x")),
    "a changed Command": lambda hands: hands.command({**SRC, "image": "other"}),
    "the resources of a Command": lambda hands: hands.command({**SRC, "resources": {"cpus": 1}}),
    "a Command that a Step doesn't fit": lambda hands: hands.command({**ONE, "inputs": {}}),
    "another Step": lambda hands: hands.merge(step("c", "src", "k:c")),
    "a changed Step": lambda hands: hands.merge(step("a", "src", "k:a", vars={"v": 1})),
    "another edge": lambda hands: hands.merge(step("b", "one", "k:b", "k:other")),
    "a Step less": lambda hands: hands.scheduler.remove("w", ["b"], False),
    "a Command less": lambda hands: hands.scheduler.remove("w", ["b", "one"], False),
}
SAME: dict[str, Callable[[Hands], object]] = {
    "the same Commands": lambda hands: hands.command(SRC, ONE),
    "the same Step": lambda hands: hands.merge(step("a", "src", "k:a")),
    "a Step that begins": lambda hands: hands.start("a"),
    "a Step that ends": lambda hands: hands.complete("a"),
    "a Step that fails": lambda hands: hands.fail("a"),
    "a halt": lambda hands: hands.scheduler.halt("w"),
    "a Step that expires": lambda hands: hands.scheduler.expire("w", ["a"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_it_is_another_after(hands: Hands, change: Callable[[Hands], object]) -> None:
    before = version(hands)
    change(hands)
    assert version(hands) != before


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_it_stays_the_same_after(hands: Hands, change: Callable[[Hands], object]) -> None:
    before = version(hands)
    change(hands)
    assert version(hands) == before


def test_another_engine_answers_the_same(hands: Hands) -> None:
    hands.merge(step("c", "src", "k:c"), step("a", "src", "k:a", vars={"v": 1}))
    before = version(hands)
    with closing(hands.reopened()) as again:
        assert version(again) == before
