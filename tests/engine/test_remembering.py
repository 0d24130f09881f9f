"""A root's records of the files of forgotten workflows, and of shared ones."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local.engine.recovery import recover
from gaia_local.model.answer_types import WorkflowProgress
from gaia_local.pictures.sentences import counts_line
from gaia_local.state.database import Database
from support.builders import COPY, command, step
from support.fixtures import MakeGaia
from support.hands import LOGS, ONE, SRC, TWO, Hands


def double(name: str, x: str, y: str) -> dict[str, Any]:
    return {"name": name, "command": "two", "inputs": {"a": "in"}, "outputs": {"x": x, "y": y}}


def changed(command: dict[str, Any]) -> dict[str, Any]:
    return {**command, "command": ["x", "--new"]}


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    made = Hands(tmp_path / "root")
    made.put("in", "1")
    made.command(SRC, ONE, TWO, LOGS)
    yield made
    made.close()


def delete(hands: Hands, data: bool = False) -> None:
    hands.scheduler.delete(hands.workflow, data)


def progress(hands: Hands) -> WorkflowProgress:
    from gaia_local.workflow.progress import progress as told

    found = hands.scheduler.view(hands.workflow, told)
    assert found is not None
    return found


def again(hands: Hands, *commands: dict[str, Any]) -> None:
    """Delete the workflow without its files, and begin it anew."""
    delete(hands)
    hands.command(*(commands or (SRC, ONE, TWO, LOGS)))


def test_outputs_of_another_definition_are_made_again(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"), step("r", "one", "out", "k"))
    hands.complete("s")
    hands.complete("r")
    again(hands, {**changed(ONE), "name": "new"}, ONE)
    hands.merge(step("s", "new", "k", "in"), step("r", "one", "out", "k"))
    assert hands.reasons() == {"s": "command changed"}
    hands.complete("s")
    assert hands.reasons() == {"r": "upstream s ran again"}
    hands.complete("r")
    assert hands.state == "complete"
    assert "found" not in progress(hands)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({**ONE, "image": "other"}, "command changed"),
        ({**ONE, "command": ["x", "{{a}}"]}, "command changed"),
        ({**ONE, "inputs": {"a": "/in/b"}}, "command changed"),
        ({**ONE, "outputs": {"x": "/out/y"}}, "command changed"),
        ({**ONE, "stdout": "/out/said"}, "command changed"),
    ],
)
def test_any_change_of_a_command_is_another_definition(
    hands: Hands, other: dict[str, Any], reason: str
) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s")
    again(hands, other)
    hands.merge(step("s", "one", "k", "in"))
    assert hands.reasons() == {"s": reason}


def test_another_input_is_another_definition(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s")
    hands.put("in2", "1")
    again(hands)
    hands.merge(step("s", "one", "k", "in2"))
    assert hands.reasons() == {"s": "step changed"}


def test_the_same_definition_takes_up_where_the_deleted_one_ended(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"), step("r", "one", "out", "k"))
    hands.complete("s")
    hands.complete("r")
    again(hands, {**ONE, "resources": {"cpus": 1}})
    hands.merge({**step("s", "one", "k", "in"), "timeout": 7}, step("renamed", "one", "out", "k"))
    assert (hands.runs, hands.state) == ([], "complete")
    assert progress(hands)["found"] == 2
    again_and_again = hands.reopened()
    assert again_and_again.state == "complete"
    assert progress(again_and_again)["found"] == 2
    again_and_again.put("in", "2, longer")
    again_and_again.scheduler.run("w")
    assert again_and_again.reasons() == {"s": "input changed: in"}
    again_and_again.complete("s", "other")
    again_and_again.complete("renamed")
    assert "found" not in progress(again_and_again)
    again_and_again.close()


def test_other_contents_of_an_input_count(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"), step("r", "one", "out", "k"))
    hands.complete("s", "same")
    hands.complete("r")
    delete(hands)
    hands.put("in", "2, longer")
    hands.command(ONE)
    hands.merge(step("s", "one", "k", "in"), step("r", "one", "out", "k"))
    assert hands.reasons() == {"s": "input changed: in"}
    hands.complete("s", "same")  # and its reader doesn't run
    assert (hands.runs, hands.state) == ([], "complete")


def test_a_file_put_there_since_is_the_users(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s")
    delete(hands)
    hands.put("k", "the user's own")
    hands.command(changed(ONE))
    hands.merge(step("s", "one", "k", "in"))
    assert (hands.runs, hands.state) == ([], "complete")
    assert progress(hands)["found"] == 1


def test_a_touched_file_is_unchanged(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s", "made")
    again(hands, changed(ONE))
    hands.put("k", "made")
    hands.merge(step("s", "one", "k", "in"))
    assert hands.reasons() == {"s": "command changed"}


def test_files_of_unknown_origin_are_the_users(hands: Hands) -> None:
    hands.put("k", "x")
    hands.merge(step("s", "one", "k", "in"))
    assert (hands.runs, hands.state) == ([], "complete")
    again(hands, changed(ONE))
    hands.merge(step("s", "one", "k", "in"))
    assert (hands.runs, hands.state) == ([], "complete")


def test_only_some_outputs_are_there(hands: Hands) -> None:
    hands.merge(double("s", "x", "y"))
    hands.complete("s")
    delete(hands)
    Path(hands.storage.path("w", "y")).unlink()
    hands.command(TWO)
    hands.merge(double("s", "x", "y"))
    assert hands.reasons() == {"s": "output missing: y"}


def test_deleted_twice(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s")
    again(hands)
    hands.merge(step("s", "one", "k", "in"))
    assert hands.runs == []
    again(hands)
    hands.merge(step("s", "one", "k", "in"))
    assert hands.runs == []
    again(hands, changed(ONE))
    hands.merge(step("s", "one", "k", "in"))
    assert hands.reasons() == {"s": "command changed"}
    hands.complete("s")
    again(hands)
    hands.merge(step("s", "one", "k", "in"))
    assert hands.reasons() == {"s": "command changed"}


def test_with_its_files_a_workflow_is_forgotten(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s", "made")
    again(hands)
    delete(hands, data=True)
    hands.put("k", "made")
    hands.put("in", "1")
    hands.command(changed(ONE))
    hands.merge(step("s", "one", "k", "in"))
    assert (hands.runs, hands.state) == ([], "complete")
    with contextlib.closing(sqlite3.connect(hands.storage.root / "gaia.db")) as connection:
        for table in ("made", "made_tasks"):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)


def test_a_file_in_a_directory_that_another_step_made_and_the_other_way_round(hands: Hands) -> None:
    hands.merge(step("tree", "one", "tree/", "in"), step("part", "one", "parts/part", "in"))
    hands.complete("tree")
    hands.complete("part")
    again(hands)
    hands.merge(step("part", "one", "tree/part", "in"), step("parts", "one", "parts/", "in"))
    assert hands.reasons() == {"part": "step changed", "parts": "step changed"}


def test_the_log_of_a_failure_is_no_result(hands: Hands) -> None:
    hands.merge({"name": "s", "command": "logs", "outputs": {"log": "k"}})
    hands.fail("s")
    again(hands)
    hands.merge({"name": "s", "command": "logs", "outputs": {"log": "k"}})
    assert hands.reasons() == {"s": "retry after error"}


def test_expired_keys_stay_expired_after_delete(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s")
    hands.scheduler.expire("w", ["s"])
    again(hands)
    hands.merge(step("s", "one", "k", "in"))
    assert hands.reasons() == {"s": "expired"}


def test_files_a_dead_engine_may_have_stored_are_no_results(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.put("k", "half")
    hands.database.close()
    hands._closed = True
    with contextlib.closing(Database(hands.storage.root / "gaia.db")) as database:
        recover(database, hands.storage)
    other = Hands(hands.storage.root)
    again(other)
    other.merge(step("s", "one", "k", "in"))
    assert other.reasons() == {"s": "interrupted"}
    other.close()


def test_a_lost_file_of_a_dead_engine_leaves_its_directory_valid(hands: Hands) -> None:
    hands.merge(step("s", "one", "d/k", "in"))
    hands.put("d/k", "half")
    hands.database.close()
    hands._closed = True
    with contextlib.closing(Database(hands.storage.root / "gaia.db")) as database:
        recover(database, hands.storage)
    other = Hands(hands.storage.root)
    delete(other)
    Path(other.storage.path("w", "d/k")).rename(Path(other.storage.path("w", "d/own")))
    other.command(ONE)
    other.merge(step("s", "one", "d/", "in"))
    assert (other.runs, other.state) == ([], "complete")
    other.close()


def test_a_step_that_comes_after_its_reader(hands: Hands) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s")
    again(hands, {**changed(ONE), "name": "new"}, ONE)
    hands.merge(step("r", "one", "out", "k"))
    hands.complete("r", "as before")
    hands.merge(step("s", "new", "k", "in"))
    assert hands.reasons() == {"s": "command changed"}
    hands.complete("s")
    assert hands.reasons() == {"r": "upstream s ran again"}


def test_outputs_of_two_runs_that_read_different_things(hands: Hands) -> None:
    """As if the second run was only for one of them, and the user put the other back."""
    hands.merge(double("s", "x", "y"))
    hands.complete("s", "first")
    again(hands, TWO)
    hands.merge(double("s", "x", "y"))
    old = hands.database.keys("w")["y"]
    hands.put("in", "2, longer")
    hands.scheduler.run("w")
    hands.complete("s", "second")
    hands.put("y", "first")
    hands.scheduler.loop.files_changed(None)
    delete(hands)
    with (
        contextlib.closing(sqlite3.connect(hands.storage.root / "gaia.db")) as connection,
        connection,
    ):
        # Both runs are remembered, each with one of the files.
        values = (
            old.quick,
            old.digest,
            "w/y",
        )
        first = connection.execute("select id from made_tasks order by created").fetchone()[0]
        connection.execute(
            "update made set quick = ?, digest = ?, task = ? where place = ?",
            (*values[:2], first, values[2]),
        )
    hands.command(TWO)
    hands.merge(double("s", "x", "y"))
    assert hands.reasons() == {"s": "input changed: in"}


def test_another_image_of_the_same_name_counts_at_run(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.merge(step("s", "one", "k", "in"))
    hands.complete("s")
    with (
        contextlib.closing(sqlite3.connect(hands.storage.root / "gaia.db")) as connection,
        connection,
    ):
        connection.execute("update tasks set image_id = 'old'")
    again(hands)
    monkeypatch.setattr(hands.scheduler._runtime, "image_id", lambda image: "new")
    hands.merge(step("s", "one", "k", "in"))
    assert hands.runs == []
    hands.scheduler.run("w")
    assert hands.reasons() == {"s": "image changed"}


# -- buckets that workflows share ------------------------------------------------------------------


@pytest.fixture
def two(tmp_path: Path, hands: Hands) -> Iterator[tuple[Hands, Hands]]:
    """Two workflows of one root that share the bucket `g`."""
    hands.storage.map({"g": tmp_path / "shared"})
    hands.storage.create()
    other = Hands.__new__(Hands)
    vars(other).update(vars(hands), workflow="v")
    other.put("in", "1")
    other.command(ONE, {**changed(ONE), "name": "new"})
    yield hands, other


def test_outputs_of_another_workflows_definition_are_made_again(two: tuple[Hands, Hands]) -> None:
    one, other = two
    one.merge(step("s", "one", "g:k", "in"))
    one.complete("s")
    other.merge(step("s", "new", "g:k", "in"))
    assert other.reasons() == {"s": "command changed"}


@pytest.mark.parametrize("text", ["1", "2, longer"])
def test_outputs_of_another_workflow_count_when_definition_and_inputs_match(
    two: tuple[Hands, Hands], text: str
) -> None:
    one, other = two
    one.merge(step("s", "one", "g:k", "in"))
    one.complete("s")
    other.put("in", text)
    other.merge(step("s", "one", "g:k", "in"))
    assert other.reasons() == ({} if text == "1" else {"s": "input changed: in"})


def test_files_in_a_bucket_stay_and_so_does_what_is_known_of_them(two: tuple[Hands, Hands]) -> None:
    one, other = two
    one.merge(step("s", "one", "g:k", "in"), step("t", "one", "g:tree/", "in"))
    one.complete("s")
    one.complete("t")
    delete(one, data=True)
    other.merge(step("s", "new", "g:k", "in"), step("t", "one", "g:tree//part", "in"))
    assert other.reasons() == {"s": "command changed", "t": "step changed"}


# -- as a whole ------------------------------------------------------------------------------------


def definitions(text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """An array of Steps, and a composite one that reads their outputs."""
    echo = command("echo", f"echo {text} {{{{v}}}} > {{{{x}}}}")
    twice = {
        "name": "twice",
        "inputs": ["a"],
        "outputs": ["x"],
        "steps": [step("first", "copy", "between", "a"), step("second", "copy", "x", "between")],
    }
    steps = [
        {"name": "echo", "command": "echo", "vars": {"v": [1, 2]}, "outputs": {"x": "d:{{v}}"}},
        {"name": "twice", "command": "twice", "inputs": {"a": "d:1"}, "outputs": {"x": "d:end"}},
    ]
    return [echo, COPY, twice], steps


def test_delete_and_upload_of_arrays_and_composites(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    for text, ran in (("a", 4), ("a", 0), ("b", 4), ("b", 0), ("a", 4)):
        gaia.upload("w", {}, *definitions(text))
        assert gaia.wait("w", 20)["state"] == "complete"
        assert gaia.path("w", "d:end").read_text() == f"{text} 1\n"
        started = [event["task"] for event in gaia.events("w") if event["event"] == "step-start"]
        assert len(started) == ran
        line = "4 of 4 Steps done" if ran else "4 of 4 Steps were in the store already, nothing ran"
        assert counts_line(gaia.progress("w")) == line
        for name in ("echo-1", "twice:second", "d:end"):
            assert gaia.explain("w", name)
        assert len(gaia.timeline("w")["attempts"]) == ran
        assert gaia.logs("w", "echo-1") == ""
        gaia.delete("w")


def test_a_workflow_of_another_name_has_files_of_its_own(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    gaia.upload("w", {}, *definitions("a"))
    assert gaia.wait("w", 20)["state"] == "complete"
    gaia.delete("w")
    gaia.upload("v", {}, *definitions("b"))
    assert gaia.wait("v", 20)["state"] == "complete"
    assert gaia.path("v", "d:end").read_text() == "b 1\n"
    assert gaia.path("w", "d:end").read_text() == "a 1\n"


# -- random histories ------------------------------------------------------------------------------

CHAIN = {"k0": ("in",), "k1": ("k0",), "g:k2": ("k1", "in"), "tree/": ("k0",)}
"""Output → inputs, of one Step each."""


class Chance:
    """Makes, runs, halts, deletes a workflow at random; a file's content tells its origin."""

    def __init__(self, hands: Hands, seed: int) -> None:
        self.hands, self.dice = hands, random.Random(seed)
        self.variants = dict.fromkeys(CHAIN, 0)
        self.present = False

    def content(self, key: str) -> str:
        path = Path(self.hands.storage.path("w", key))
        return ((path / "part") if key.endswith("/") else path).read_text()

    def right(self, key: str) -> str:
        """The content that a Step must make now from its present inputs."""
        return f"{key} {self.variants[key]} of {[self.content(source) for source in CHAIN[key]]}"

    def upload(self) -> None:
        for key in CHAIN:
            if self.dice.random() < 0.4:
                self.variants[key] = self.dice.randrange(3)
        commands = [
            {
                "name": f"c{number}",
                "image": "i",
                "command": ["x", str(self.variants[key])],
                "inputs": {name: f"/in/{name}" for name in "ab"[: len(inputs)]},
                "outputs": {"x": "/out/x"},
            }
            for number, (key, inputs) in enumerate(CHAIN.items())
        ]
        steps = [
            step(f"s{number}", f"c{number}", key, *inputs)
            for number, (key, inputs) in enumerate(CHAIN.items())
        ]
        self.dice.shuffle(steps)
        self.hands.command(*commands)
        self.hands.merge(*steps)

    def complete(self, most: int) -> None:
        while most and self.hands.runs:
            most -= 1
            name = self.dice.choice(self.hands.runs)
            key = self.hands.task(name).outputs[0][0]
            lost = any(
                not Path(self.hands.storage.path("w", source)).exists() for source in CHAIN[key]
            )
            if lost or self.dice.random() < 0.1:
                self.hands.fail(name)
            else:
                self.hands.complete(name, self.right(key))

    def act(self) -> None:
        what = self.dice.choice(
            ["run", "input", "some", "all", "expire", "halt", "delete", "delete", "data", "lose"]
        )
        if what == "input":
            self.hands.put("in", "x" * self.dice.randrange(1, 4))
        elif what == "lose":
            place = Path(self.hands.storage.path("w", self.dice.choice(["k0", "k1", "g:k2"])))
            place.unlink(missing_ok=True)
        elif not self.present:
            self.upload()
            self.present = True
        elif what == "run":
            self.hands.scheduler.run("w")
        elif what in ("some", "all"):
            self.complete(1 if what == "some" else 100)
        elif what == "expire":
            self.hands.scheduler.expire("w", [self.dice.choice(["s0", "s1", "s2", "s3"])])
        elif what == "halt":
            self.hands.scheduler.halt("w")
        else:
            self.hands.scheduler.delete("w", data=what == "data")
            self.present = False
            if what == "data":
                self.hands.put("in", "x")

    def check(self) -> None:
        """Drive it to its end, and check all contents."""
        if not self.present:
            self.upload()
            self.present = True
        for _ in range(100):
            self.hands.scheduler.run("w")
            if self.hands.state == "complete":
                break
            self.complete(100)
        assert self.hands.state == "complete"
        assert {key: self.content(key) for key in CHAIN} == {key: self.right(key) for key in CHAIN}


@pytest.mark.parametrize("seed", range(8))
def test_complete_outputs_are_right_after_random_deletions(
    hands: Hands, tmp_path: Path, seed: int
) -> None:
    hands.storage.map({"g": tmp_path / "shared"})
    hands.storage.create()
    hands.scheduler.delete("w", data=False)
    chance = Chance(hands, seed)
    for _ in range(6):
        for _ in range(12):
            chance.act()
        chance.check()
