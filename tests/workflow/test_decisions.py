"""Decisions that were wrong once, each with its minimal sequence.

In most of them P makes k1 and k2, and R reads one of these and makes r.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.errors import EngineUnavailable
from gaia_local.store import fingerprints
from gaia_local.store.storage import Storage
from support.builders import command, step
from support.explaining import explain_step, last_run
from support.fixtures import MakeGaia
from support.hands import Hands
from support.recordings import FINDINGS, play

MK = command("mk", "x")
TWO = command("two", "x", a="/out/a", b="/out/b")
LOG = command("log", "x", a=">>", b="/out/b")
CP: dict[str, Any] = {**command("cp", "x {{v}}", "a"), "vars": {"v": 0}}
BOTH = {**TWO, "name": "both", "inputs": {"a": "/in/a"}}
P = {"name": "P", "command": "two", "outputs": {"a": "k1", "b": "k2"}}


def cp(name: str, read: str, out: str, **values: Any) -> dict[str, Any]:
    return step(name, "cp", out, read, vars=values)


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    made = Hands(tmp_path)
    made.command(MK, TWO, LOG, CP, BOTH)
    yield made
    made.close()


def drop(hands: Hands, key: str) -> None:
    """The user deletes a file, and the engine is told."""
    path = Path(hands.storage.path("w", key))
    path.unlink()
    hands.scheduler.loop.files_changed({str(path)})


def put(hands: Hands, key: str, content: str = "outside") -> None:
    """The user writes a file, and the engine is told."""
    hands.scheduler.loop.files_changed({str(hands.put(key, content))})


# -- 1: an input that is made anew while it is read ------------------------------------------------


def test_a_reader_is_cancelled_and_rerun_when_its_input_changes(hands: Hands) -> None:
    hands.put("in:x", "1")
    hands.merge(cp("fast", "in:x", "m"), cp("slow", "m", "r"))
    hands.complete("fast")
    hands.start("slow")
    hands.did()
    put(hands, "in:x", "2")
    assert hands.runs == ["fast", "slow"]  # perhaps m comes out the same
    hands.complete("fast", "another m")
    assert hands.did() == [("cancel", "slow"), ("start", "fast"), ("start", "slow")]
    assert hands.reasons() == {"slow": "upstream fast ran again"}
    hands.complete("slow")
    assert hands.state == "complete"


def test_a_reader_goes_on_when_its_input_comes_out_the_same(hands: Hands) -> None:
    hands.put("in:x", "1")
    hands.merge(cp("fast", "in:x", "m"), cp("slow", "m", "r"))
    hands.complete("fast", "m")
    put(hands, "in:x", "2")
    hands.did()
    hands.complete("fast", "m")
    assert hands.did() == []
    hands.complete("slow")
    assert hands.state == "complete"


def test_a_finished_reader_is_rerun_when_its_input_comes_out_differently(hands: Hands) -> None:
    hands.put("in:x", "1")
    hands.merge(cp("fast", "in:x", "m"), cp("slow", "m", "r"), cp("last", "r", "end"))
    hands.complete("fast")
    put(hands, "in:x", "2")
    hands.complete("slow")
    assert hands.runs == ["fast"]  # nothing that depends on it is certain
    hands.complete("fast", "another m")
    assert hands.runs == ["slow"]


# -- 2 and 3: a Step that must run holds all readers of its outputs --------------------------------


@pytest.mark.parametrize("same", [True, False])
def test_expiring_one_output_makes_readers_of_the_other_wait_and_compare(
    hands: Hands, same: bool
) -> None:
    hands.merge(P, cp("R", "k2", "r"))
    hands.complete("P", "made")
    hands.complete("R")
    hands.scheduler.expire("w", ["k1"])
    assert hands.runs == ["P"]
    hands.complete("P", "made" if same else "made anew")
    assert hands.runs == ([] if same else ["R"])
    assert hands.state == ("complete" if same else "running")


def lost(hands: Hands) -> None:
    hands.merge(P, cp("R", "k1", "r"))
    hands.complete("P", "made")
    hands.complete("R")
    drop(hands, "k2")


def read_later(hands: Hands) -> None:
    hands.merge(P)
    hands.complete("P", "made")
    drop(hands, "k2")
    hands.merge(cp("R", "k1", "r"))


def supplied(hands: Hands) -> None:
    hands.merge({"name": "Q", "command": "mk", "outputs": {"x": "q"}})
    hands.merge({**P, "command": "both", "inputs": {"a": "q"}}, cp("R", "k1", "r"))
    put(hands, "k1", "made")
    assert hands.runs == ["Q"]
    hands.complete("Q")


def added(hands: Hands) -> None:
    hands.put("k1", "made")
    hands.merge(cp("R", "k1", "r"))
    hands.complete("R")
    hands.merge(P)


def failed(hands: Hands) -> None:
    hands.merge({**P, "command": "log"}, cp("R", "k1", "r"))
    hands.fail("P")
    hands.complete("R")  # it reads the log of the failure
    hands.scheduler.run("w")


@pytest.mark.parametrize("happens", [lost, read_later, supplied, added, failed])
@pytest.mark.parametrize("same", [True, False])
def test_no_reader_starts_beside_a_step_that_must_run(
    hands: Hands, happens: Callable[[Hands], None], same: bool
) -> None:
    happens(hands)
    assert hands.runs == ["P"]
    assert hands.status()["data"]["r"]["state"] != "complete"
    hands.complete("P", "made" if same else "made anew")
    ran_before = happens in (lost, added)
    assert hands.runs == ([] if same and ran_before else ["R"])


def test_a_step_that_cannot_run_holds_nobody(hands: Hands) -> None:
    hands.merge({**P, "command": "both", "inputs": {"a": "nobody:makes"}}, cp("R", "k1", "r"))
    put(hands, "k1")
    assert hands.runs == ["R"]
    hands.complete("R")
    assert hands.state == "incomplete"
    put(hands, "nobody:makes")
    assert hands.runs == ["P"]
    hands.complete("P", "another")
    assert hands.runs == ["R"]


def test_a_step_that_failed_holds_nobody(hands: Hands) -> None:
    hands.merge(P, cp("R", "k1", "r"))
    hands.fail("P")
    put(hands, "k1")
    assert hands.runs == ["R"]
    hands.complete("R")
    assert hands.state == "error"


# -- 4: outputs stored only in part ----------------------------------------------------------------


def test_outputs_that_are_stored_in_part_count_for_nobody(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    hands.merge(P, cp("R", "k1", "r"))
    publish = Storage.publish

    def half(storage: Storage, outputs: Any) -> None:
        publish(storage, outputs[:1])
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "publish", half)
        hands.complete("P")
    assert (hands.runs, hands.state) == ([], "error")
    assert hands.status()["data"]["k1"]["state"] == "expired"
    again = hands.reopened()
    assert again.status()["data"]["k1"]["state"] == "expired"
    again.scheduler.run("w")
    assert again.reasons() == {"P": "retry after error"}
    again.close()


# -- 5: values that Python takes for the same ------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"), [(True, 1), (1, 1.0), (0, False), (False, "0"), (1.0, "1")]
)
def test_a_value_that_becomes_another_token_is_another_value(
    hands: Hands, before: Any, after: Any
) -> None:
    hands.put("e")
    hands.merge(cp("R", "e", "r", v=before))
    hands.complete("R")
    hands.merge(cp("R", "e", "r", v=after))
    assert hands.reasons() == {"R": "step changed"}
    hands.complete("R")
    hands.command({**CP, "vars": {"v": 5, "w": before}})
    hands.complete("R")
    hands.command({**CP, "vars": {"v": 5, "w": after}})
    assert hands.reasons() == {"R": "command changed"}


@pytest.mark.parametrize(("before", "after"), [(True, "true"), (1, "1"), (0.5, "0.5")])
def test_a_value_that_becomes_the_same_token_changes_nothing(
    hands: Hands, before: Any, after: Any
) -> None:
    hands.put("e")
    hands.merge(cp("R", "e", "r", v=before))
    hands.complete("R")
    hands.merge(cp("R", "e", "r", v=after))
    assert (hands.runs, hands.state) == ([], "complete")


# -- 6 to 9: files that the user puts --------------------------------------------------------------


def test_a_file_that_no_step_makes_any_more_is_the_users(hands: Hands) -> None:
    hands.merge({"name": "P", "command": "mk", "outputs": {"x": "k1"}})
    hands.merge({"name": "P", "command": "mk", "outputs": {"x": "k2"}})
    hands.complete("P")
    put(hands, "k1")
    hands.merge(cp("R", "k1", "r"))
    assert hands.runs == ["R"]
    hands.complete("R")
    hands.merge({"name": "new", "command": "mk", "outputs": {"x": "k1"}})
    assert (hands.runs, hands.state) == ([], "complete")
    assert Path(hands.storage.path("w", "k1")).read_text() == "outside"


def test_a_former_output_that_no_step_makes_is_no_input(hands: Hands) -> None:
    hands.merge({"name": "P", "command": "mk", "outputs": {"x": "k1"}})
    hands.complete("P")
    hands.merge({"name": "P", "command": "mk", "outputs": {"x": "k2"}})
    hands.complete("P")
    again = hands.reopened()
    again.merge(cp("R", "k1", "r"))
    assert (again.runs, again.state) == ([], "incomplete")
    again.put("k1", "the user's own")
    again.scheduler.run("w")
    assert again.runs == ["R"]
    again.close()


def test_a_failure_whose_outputs_the_user_put_leaves_nothing_open(hands: Hands) -> None:
    hands.merge({"name": "P", "command": "mk", "outputs": {"x": "k"}}, cp("R", "k", "r"))
    put(hands, "k")
    assert hands.runs == ["P"]
    hands.fail("P")
    hands.complete("R")
    assert hands.state == "complete"
    assert hands.status()["waiting-inputs"] == []
    again = hands.reopened()
    assert again.state == "complete"
    again.close()


def test_the_log_of_a_failure_leaves_its_step_open(hands: Hands) -> None:
    hands.merge({**P, "command": "log"})
    put(hands, "k2")
    hands.fail("P")
    assert hands.state == "error"


def test_a_users_file_counts_for_a_redefined_step_that_never_ran(hands: Hands) -> None:
    hands.merge(cp("P", "e", "k"), cp("R", "k", "r"))
    hands.merge(cp("P", "e", "k", v=5))
    put(hands, "k")
    assert hands.runs == ["R"]


def test_a_users_file_counts_for_a_cancelled_step(hands: Hands) -> None:
    mk = {"name": "P", "command": "mk", "outputs": {"x": "k"}}
    hands.merge(mk, cp("R", "k", "r"))
    hands.complete("P")
    assert hands.runs == ["R"]
    hands.merge({**mk, "outputs": {"x": "other"}})
    hands.complete("P")
    assert hands.runs == []
    put(hands, "r")
    hands.merge({**mk, "name": "Q"})
    hands.complete("Q")
    assert (hands.runs, hands.state) == ([], "complete")


def test_found_outputs_must_be_made_when_what_they_stand_for_changes(hands: Hands) -> None:
    """Their former inputs are unknown: any change of an input counts."""
    hands.put("e", "1")
    hands.put("r", "found")
    hands.merge(cp("R", "e", "r"))
    assert hands.state == "complete"
    put(hands, "e", "2")
    assert hands.reasons() == {"R": "input changed: e"}


# -- 10 to 13: reports and plans agree with the runs -----------------------------------------------


def test_dry_run_explain_and_run_agree_on_another_image(tmp_path: Path, docker_image: str) -> None:
    import docker

    client = docker.from_env()
    tag = f"gaia-local-decisions:{tmp_path.name}".lower()
    client.images.get(docker_image).tag(tag)
    config = {"root": tmp_path / "root", "runtime": "docker"}
    command = {
        "name": "c",
        "image": tag,
        "command": ["sh", "-c", "echo x > /out/x"],
        "outputs": {"x": "/out/x"},
    }
    try:
        with Gaia(config) as gaia:
            gaia.upload(
                "w", {}, [command], [{"name": "s", "command": "c", "outputs": {"x": "d:x"}}]
            )
            assert gaia.wait("w", 60)["state"] == "complete"
        other = client.containers.create(docker_image, ["true"])
        try:
            other.commit(*tag.split(":"), changes="LABEL another=1")
        finally:
            other.remove()
        with Gaia(config) as fresh:
            assert fresh.run("w", dry_run=True)["would"] == [
                {"step": "s", "reason": "image changed"}
            ]
            told = explain_step(fresh, "w", "s")
            assert (told["would_run"], told["because"]) == (True, "image changed")
            fresh.run("w")
            assert fresh.run("w", dry_run=True)["would"] in (
                [],
                [{"step": "s", "reason": "image changed"}],
            )
            assert fresh.wait("w", 60)["state"] == "complete"
            assert last_run(fresh, "w", "s")["reason"] == "image changed"
    finally:
        client.images.remove(tag, force=True)
        client.close()


@pytest.mark.parametrize("owned", [True, False])
def test_explain_sees_what_changed_while_no_engine_ran(make_gaia: MakeGaia, owned: bool) -> None:
    sh = {"image": "i", "outputs": {"x": "/out/x"}}
    commands = [
        {**sh, "name": "mk", "command": ["sh", "-c", "echo 1 > /out/x"]},
        {**sh, "name": "cp", "command": ["cp", "/in/a", "/out/x"], "inputs": {"a": "/in/a"}},
    ]
    steps = [
        {"name": "m", "command": "mk", "outputs": {"x": "k"}},
        cp("r", "e", "r"),
        cp("t", "r", "t"),
    ]
    for reader in steps[1:]:
        del reader["vars"]
    gaia = make_gaia(watch=False)
    gaia.path("w", "e").parent.mkdir(parents=True)
    gaia.path("w", "e").write_text("1")
    gaia.upload("w", {}, commands, steps)
    assert gaia.wait("w", 20)["state"] == "complete"
    gaia.close()
    again = make_gaia(watch=False)
    if owned:
        again.own()
    again.path("w", "e").write_text("2")
    again.path("w", "k").unlink()
    would = {step["step"]: step["reason"] for step in again.run("w", dry_run=True)["would"]}
    assert would == {"m": "output missing: k", "r": "input changed: e", "t": "upstream r ran again"}
    for name, reason in would.items():
        told = explain_step(again, "w", name)
        assert told["would_run"], name
        assert told["because"] == (reason if name != "t" else f"it waits for r: {reason}")


def test_reasons_after_a_change_further_up_name_what_ran_again(hands: Hands) -> None:
    hands.put("e")
    hands.merge(cp("A", "e", "a"), cp("B", "a", "b"), cp("C", "b", "c"))
    for name in "ABC":
        hands.complete(name)
    hands.merge(cp("A", "e", "a", v=1))
    assert hands.reasons() == {"A": "step changed"}
    hands.complete("A")
    assert hands.reasons() == {"B": "upstream A ran again"}
    hands.complete("B")
    assert hands.reasons() == {"C": "upstream B ran again"}
    hands.complete("C")
    hands.command({**CP, "command": ["y", "{{v}}"]})
    hands.complete("A")
    assert hands.reasons() == {"B": "command changed"}


@pytest.mark.parametrize("call", ["upload", "command", "merge"])
def test_steps_that_cannot_run_are_refused_before_they_are_stored(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody-listens")
    command = {"name": "c", "image": "i", "command": ["x"], "outputs": {"x": "/out/x"}}
    step = {"name": "s", "command": "c", "outputs": {"x": "k"}}
    with Gaia({"root": tmp_path / "root", "runtime": "docker"}) as gaia:
        if call == "merge":
            gaia.command("w", [command])

        def change() -> None:
            if call == "upload":
                gaia.upload("w", {}, [command], [step])
            elif call == "merge":
                gaia.merge("w", [step])
            else:
                gaia.command("w", [command])

        if call == "command":
            change()  # no Step can start
            assert list(gaia.workflows()["workflows"]) == ["w"]
            return
        for _ in range(2):
            with pytest.raises(EngineUnavailable, match=r"nothing of this call was stored.*`run`"):
                change()
        assert gaia.status("w", debug=True)["status"]["tasks"] == {}
        assert list(gaia.workflows()["workflows"]) == (["w"] if call == "merge" else [])


# -- 14: files are looked at without the lock ------------------------------------------------------


def test_no_file_is_read_under_the_lock(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def outside(function: Any) -> Any:
        def called(path: str, *args: Any, **kwargs: Any) -> Any:
            assert not hands.scheduler.loop.lock._is_owned(), path  # type: ignore[attr-defined]
            read.append(os.path.basename(path))
            return function(path, *args, **kwargs)

        return called

    hands.put("e", "1")
    hands.merge(P, cp("A", "e", "d/a"), cp("B", "k1", "d/b"), cp("C", "d/", "c"))
    for name in ("P", "A", "B", "C"):
        hands.complete(name)
    monkeypatch.setattr(fingerprints, "fingerprint", outside(fingerprints.fingerprint))
    monkeypatch.setattr(fingerprints, "quick_fingerprint", outside(fingerprints.quick_fingerprint))
    put(hands, "k1", "the user's own")
    put(hands, "e", "2")
    assert hands.runs == ["A", "B"]
    drop(hands, "k2")
    hands.scheduler.run("w")
    assert {"k1", "k2", "e"} <= set(read)


# -- the minimal sequences that a comparison with the server came to -------------------------------


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda finding: str(finding["name"]))
def test_decisions_that_were_wrong_once_are_right(finding: dict[str, Any], tmp_path: Path) -> None:
    """A Step said to end that doesn't run with us ends when it runs; in the end all is complete."""
    hands = Hands(tmp_path)
    late: list[str] = []
    for operation in finding["operations"]:
        if operation[0] == "present":
            for key in operation[1]:
                hands.put(key)
        elif operation[0] in ("complete", "fail") and operation[1] not in hands.runs:
            late.append(operation[1])
        else:
            play(hands, {"op": operation})
    runs = hands.runs
    wanted = {
        "expire-one-of-several": ["R"],
        "made-in-part": ["R"],
        "true-is-one": ["R"],
        "by-hand-at-abandoned": ["R"],
        "by-hand-at-expired": ["R"],
        "fail-though-complete": ["R"],
    }
    assert runs == wanted[finding["name"]], finding["right"]
    hands.complete("R")
    assert (
        hands.state == ("incomplete" if finding["name"] == "by-hand-at-expired" else "complete")
        or late == []
    )
    hands.close()
