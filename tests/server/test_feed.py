"""The feed of a server: what its clients come to know, whenever they join and however they read."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from gaia_local import Gaia
from gaia_local.engine.root_reader import RootReader
from gaia_local.errors import InvalidInput
from gaia_local.server import Server, feed
from gaia_local.server.feed import Client, Feed
from gaia_local.server.known import Follow, Known, News
from support.builders import step
from support.executors import REPEAT
from support.hands import ONE, SRC, Hands
from support.servers import COMMANDS, A, B, events, gaia, held, let_go, server

__all__ = ["gaia", "server"]

W, V = frozenset({"w"}), frozenset({"v"})
NOBODY = Follow(frozenset(), True)
FOLLOWS = [NOBODY, Follow(W, True), Follow(V, True), Follow(W, False), Follow(W | V, False)]
CHANGES = 60
PATIENCE = 60.0


class Face:
    """What a feed asks of a `Gaia`, answered by a scheduler whose Tasks a test ends."""

    def __init__(self, hands: Hands) -> None:
        self._reader = RootReader(hands.scheduler, hands.storage)
        self.subscribe = hands.scheduler.subscribe
        self.listed, self.step_changes = self._reader.listed, self._reader.step_changes
        self.step_states = self._reader.step_states

    def workflows(self) -> dict[str, Any]:
        return {"workflows": self._reader.workflows()}


class View:
    """What one client knows."""

    def __init__(self, follow: Follow) -> None:
        self.follow = follow
        self.workflows: dict[str, Any] = {}
        self.steps: dict[str, dict[str, Any]] = {name: {} for name in follow.names}
        self.graphs: dict[str, str] = {}
        self._tasks: dict[tuple[str, str], list[str | None]] = {}

    def take(self, text: str) -> None:
        """An event."""
        told = json.loads(text)
        merge(self.workflows, told["workflows"])
        for name in [name for name, row in told["workflows"].items() if row is None]:
            self.graphs.pop(name, None)
        followed = told.get("followed")
        if followed is None:
            followed = dict.fromkeys(self.follow.names, told)
        for name, changes in followed.items():
            merge(self.steps[name], changes["steps"])
            if "graph" in changes:
                self.graphs[name] = changes["graph"]
            for each, news in changes["steps"].items():
                self._note(name, each, news)

    def _note(self, name: str, step: str, news: dict[str, Any] | None) -> None:
        """Fail if a Task is told of after a later one."""
        if news is None:
            self._tasks.pop((name, step), None)
            return
        tasks = self._tasks.setdefault((name, step), [])
        if news["task"] not in tasks:
            tasks.append(news["task"])
        assert news["task"] == tasks[-1]

    def knows(self, face: Face) -> bool:
        """Whether it is what there is."""
        names = face.workflows()["workflows"]
        there = {name: face.listed(name) for name in names}
        steps = {
            name: face.step_states(name) if name in names else {} for name in self.follow.names
        }
        graphs = {
            name: face.step_changes(name, None)["version"]
            for name in self.follow.names
            if name in names
        }
        return (self.workflows, self.steps, self.graphs) == (there, steps, graphs)


def merge(known: dict[str, Any], told: dict[str, Any]) -> None:
    for name, news in told.items():
        if news is None:
            known.pop(name, None)
        else:
            known[name] = news


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    with closing(Hands(tmp_path)) as made:
        yield made


def other(hands: Hands) -> Hands:
    """The same for another workflow."""
    made = copy.copy(hands)
    made.workflow = "v"
    return made


def change(hands: Hands, dice: random.Random) -> None:
    """One random change of a workflow; refused ones change nothing."""
    name, each = hands.workflow, f"{hands.workflow}{dice.randrange(5)}"
    before = f"{hands.workflow}{dice.randrange(5)}"
    running = [step for step in hands.runs if step.startswith(name)]
    acts: list[Callable[[], object]] = [
        lambda: hands.merge(step(each, "src", f"k:{each}")),
        lambda: hands.merge(step(each, "one", f"k:{each}", f"k:{before}")),
        lambda: hands.scheduler.remove(name, [each], False),
        lambda: hands.scheduler.expire(name, [each]),
        lambda: hands.scheduler.run(name),
        *([lambda: hands.start(dice.choice(running))] * 4 if running else []),
        *([lambda: hands.complete(dice.choice(running))] * 8 if running else []),
        *([lambda: hands.fail(dice.choice(running))] if running else []),
    ]
    if dice.random() < 0.05:
        acts = [lambda: hands.scheduler.delete(name, False), lambda: hands.scheduler.halt(name)]
    try:
        dice.choice(acts)()
    except InvalidInput:
        hands.command(SRC, ONE)


@pytest.mark.parametrize("seed", range(REPEAT))
def test_each_client_comes_to_know_what_there_is(
    hands: Hands, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(feed, "EVENT_PAUSE_SECONDS", 0.001)
    dice, face = random.Random(seed), Face(hands)
    workflows = [hands, other(hands)]
    for each in workflows:
        each.command(SRC, ONE)

    def change_all() -> None:
        for _ in range(CHANGES):
            change(dice.choice(workflows), dice)

    async def client(told: Feed, number: int, changing: asyncio.Future[None]) -> None:
        own = random.Random(f"{seed} {number}")
        while True:
            view, takes = View(own.choice(FOLLOWS)), own.randrange(12)
            with told.joined(view.follow) as joined:
                while takes or changing.done():
                    if changing.done() and view.knows(face):
                        return
                    called = asyncio.create_task(joined.wait())
                    await asyncio.wait({called, changing}, return_when="FIRST_COMPLETED")
                    if changing.done() and not view.knows(face):
                        await called
                    if own.random() < 0.3:
                        await asyncio.sleep(own.random() * 0.01)
                    if called.done():
                        view.take(await joined.take())
                        takes -= 1
                    called.cancel()

    async def run() -> None:
        told = Feed(cast("Gaia", face))
        changing = asyncio.ensure_future(asyncio.to_thread(change_all))
        clients = [client(told, number, changing) for number in range(4)]
        await asyncio.wait_for(asyncio.gather(changing, *clients), PATIENCE)

    asyncio.run(run())


async def taken(client: Client) -> str:
    await asyncio.wait_for(client.wait(), PATIENCE)
    return await client.take()


def test_clients_that_follow_the_same_get_the_same_text_from_one_look(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    face, looks, look = Face(hands), list[set[str]](), Known.look

    def counted(known: Known, names: set[str], followed: set[str]) -> News:
        looks.append(names)
        return look(known, names, followed)

    monkeypatch.setattr(Known, "look", counted)
    hands.command(SRC)
    hands.merge(step("s", "src", "k"))

    async def run() -> None:
        told, follow = Feed(cast("Gaia", face)), Follow(W, True)
        with told.joined(follow) as one, told.joined(follow) as two, told.joined(NOBODY) as three:
            assert await taken(one) is await taken(two)
            assert json.loads(await taken(three)).keys() == {"workflows", "steps"}
            assert len(looks) == 1
            hands.start("s")
            text = await taken(one)
            assert await taken(two) is text
            assert json.loads(text)["steps"]["s"]["state"] == "running"
            assert json.loads(await taken(three))["steps"] == {}
            assert len(looks) == 2

    asyncio.run(run())


def test_a_late_client_gets_everything_and_a_slow_one_gets_it_at_once(hands: Hands) -> None:
    face = Face(hands)
    hands.command(SRC)

    async def run() -> None:
        told, follow = Feed(cast("Gaia", face)), Follow(W, True)
        with told.joined(follow) as slow, told.joined(follow) as quick:
            await taken(slow)
            await taken(quick)
            for number in range(3):
                hands.merge(step(f"s{number}", "src", f"k{number}"))
                await taken(quick)
            hands.scheduler.remove("w", ["s0"], False)
            await taken(quick)
            with told.joined(follow) as late:
                whole = json.loads(await taken(late))
            news = json.loads(await taken(slow))
            assert whole["steps"].keys() == {"s1", "s2"}
            assert {**whole["steps"], "s0": None} == news["steps"]
            assert whole["workflows"] == news["workflows"]
            assert whole["graph"] == news["graph"]

    asyncio.run(run())


def test_a_workflow_that_was_made_anew_meanwhile_is_told_anew(gaia: Gaia) -> None:
    known, follow = Known(gaia), Follow(W, True)
    gaia.upload("w", {"owner": "me", "n": 1}, COMMANDS, [A])
    gaia.wait("w", 30)
    first = known.look((), W).told(follow)
    gaia.delete("w")
    gaia.upload("w", {"owner": "me", "n": 2}, COMMANDS, [A, B])
    gaia.wait("w", 30)
    news = known.look({"w"}, W).told(follow)
    assert news["workflows"] == {"w": gaia.listed("w")}
    assert gaia.listed("w")["properties"] == {"owner": "me", "n": 2}
    assert cast("dict[str, Any]", news)["steps"] == gaia.step_states("w")
    assert cast("dict[str, Any]", first)["graph"] != cast("dict[str, Any]", news)["graph"]


def test_a_step_that_ran_again_is_told_though_its_state_is_the_same(gaia: Gaia) -> None:
    gaia.upload("w", {}, COMMANDS, [A, B])
    gaia.wait("w", 30)
    known = Known(gaia)
    first = known.look((), W)
    assert first.steps["w"].keys() == {"a", "b"}
    gaia.expire("w", ["b"])
    gaia.wait("w", 30)
    news = known.look({"w"}, W)
    (before, after) = first.workflows["w"], news.workflows["w"]
    assert before is not None
    assert after is not None
    times = {"started": after["started"], "ended": after["ended"]}
    assert after == {**before, **times}  # it ran once more
    assert news.graphs == {}
    assert news.steps == {"w": {"b": gaia.step_states("w")["b"]}}
    assert not known.look({"w"}, W).is_for(Follow(W, True))


def test_several_workflows_can_be_followed_at_once(
    server: Server, gaia: Gaia, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    gaia.upload("w", {}, COMMANDS, [A])
    gaia.upload("v", {}, COMMANDS, [held(fifo)])
    gaia.upload("u", {}, COMMANDS, [A])
    gaia.wait("w", 30)
    with events(server, "?follow=w&follow=v&follow=w") as told:
        first = told.next()
        assert first["workflows"].keys() == {"u", "v", "w"}
        assert first["followed"]["w"] == {
            "steps": gaia.step_states("w"),
            "graph": gaia.graph("w")["version"],
        }
        let_go(fifo)
        last = first
        while last["followed"].get("v", {}).get("steps", {}).get("h", {}).get("ended") is None:
            last = told.next()
            assert "w" not in last["followed"]
        assert last["followed"]["v"] == {"steps": gaia.step_states("v")}


def test_what_a_step_told_is_when_it_began_and_ended(gaia: Gaia) -> None:
    gaia.upload("w", {}, COMMANDS, [A, {**B, "inputs": {"from": "d:none"}}])
    gaia.wait("w", 30)
    states = gaia.step_states("w")
    (attempt,) = gaia.timeline("w")["attempts"]
    assert states == {
        "a": {
            "state": "complete",
            "task": attempt["task"],
            "started": attempt["started"],
            "ended": attempt["ended"],
        },
        "b": {"state": "waiting", "task": None, "started": None, "ended": None},
    }


def test_news_are_merged_in_their_order() -> None:
    one = News({"w": None}, {"w": {"a": None}}, {"w": "1"})
    state: Any = {"state": "ready", "task": None, "started": None, "ended": None}
    two = News({}, {"w": {"a": state, "b": None}}, {})
    both = one.then(two)
    assert (both.workflows, both.steps, both.graphs) == (
        {"w": None},
        {"w": {"a": state, "b": None}},
        {"w": "1"},
    )
