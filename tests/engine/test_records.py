"""`Gaia.attempts`, `Gaia.table` and `Gaia.definition`: what is recorded of Steps, for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, GaiaError
from support.builders import COPY, command, step
from support.fixtures import MakeGaia, WaitUntil
from support.gates import FileGate
from support.owner import Owner

FAIL = command("fail", "echo no; exit 3", "a")
INNER = {
    "name": "pair",
    "inputs": ["from"],
    "outputs": ["to"],
    "vars": {},
    "steps": [
        {"name": "one", "command": "copy", "inputs": {"a": "from"}, "outputs": {"x": "between"}},
        {"name": "two", "command": "copy", "inputs": {"a": "between"}, "outputs": {"x": "to"}},
    ],
}
SHOW = command("show", "cat /in/a > {{x}}; echo {{number}}", "a")
COMMANDS = [COPY, FAIL, INNER, SHOW]
STEPS = [
    step("first", "copy", "b:first", "b:own"),
    step("failed", "fail", "b:never", "b:first"),
    step("waiting", "copy", "b:last", "b:never"),
    step("outer", "pair", inputs={"from": "b:own"}, outputs={"to": "b:outer"}),
    step("many", "show", "b:many/{{number}}", "b:own", vars={"number": [1, 2, 10]}),
]


@pytest.fixture(params=["in process", "another process", "files alone"])
def gaia(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gaia]:
    config = {"root": str(tmp_path / "root"), "runtime": "process", "watch": False}
    owner = Owner()
    if request.param == "another process":
        owner.own(config)
    with Gaia(config) as made:
        write(made, "own")
        made.upload("w", {}, COMMANDS, STEPS)
        made.wait("w", 30)
        if request.param != "files alone":
            yield made
    if request.param == "files alone":
        with Gaia(config) as made:
            yield made
    owner.close()


def write(gaia: Gaia, text: str) -> None:
    """The user's own file, which every Step begins with."""
    path = gaia.path("w", "b:own")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def row(gaia: Gaia, name: str) -> dict[str, Any]:
    (found,) = (row for row in gaia.table("w")["steps"] if row["step"] == name)
    return dict(found)


# ------------------------------------------------------------------------------------- the attempts


def test_all_attempts_at_a_step_are_told_newest_first(gaia: Gaia) -> None:
    write(gaia, "other")
    gaia.run("w")
    gaia.wait("w", 30)
    answer = gaia.attempts("w", "first")
    assert (answer["workflow"], answer["step"]) == ("w", "first")
    newest, oldest = answer["attempts"]
    assert [newest["number"], oldest["number"]] == [2, 1]
    assert [newest["reason"], oldest["reason"]] == ["input changed: b:own", "new"]
    assert newest["inputs"].keys() == {"b:own"}
    assert newest["inputs"] != oldest["inputs"]
    assert newest["command"] == oldest["command"] == COPY["command"]
    assert newest["task"] != oldest["task"]
    assert newest["worker"] is not None
    assert newest["worker"] >= 1
    assert newest["started"] is not None
    assert newest["queued"] <= newest["started"]
    explained = gaia.explain("w", "first")
    assert "last" in explained
    last = explained["last"]
    assert last is not None
    assert {key: dict(newest).get(key) for key in last} == dict(last)


def test_an_attempt_says_whether_there_is_a_log(gaia: Gaia) -> None:
    failed, first = (gaia.attempts("w", name)["attempts"][0] for name in ("failed", "first"))
    assert (failed["state"], failed["exit_code"], failed["has_log"]) == ("error", 3, True)
    Path(str(gaia.attempt("w", "first")["log"])).unlink(missing_ok=True)
    first = gaia.attempts("w", "first")["attempts"][0]
    assert (first["state"], first["exit_code"], first["has_log"]) == ("complete", 0, False)


def test_a_step_that_never_ran_has_no_attempts(gaia: Gaia) -> None:
    assert gaia.attempts("w", "waiting")["attempts"] == []
    with pytest.raises(GaiaError, match=r"there is no Step 'wating'.*waiting"):
        gaia.attempts("w", "wating")
    with pytest.raises(GaiaError, match="stands for 3 Steps"):
        gaia.attempts("w", "many")


def test_attempts_that_were_dropped_leave_the_others_whole(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    write(gaia, "own")
    gaia.upload("w", {}, [COPY], STEPS[:1])
    gaia.wait("w", 30)
    for _ in range(3):
        gaia.expire("w", ["first"])
        gaia.wait("w", 30)
    before = gaia.attempts("w", "first")["attempts"]
    assert [attempt["number"] for attempt in before] == [4, 3, 2, 1]
    assert gaia.drop_attempts(keep=2)["attempts"] == 2
    after = gaia.attempts("w", "first")["attempts"]
    assert [attempt["number"] for attempt in after] == [2, 1]
    assert [{**one, "number": 0} for one in after] == [{**one, "number": 0} for one in before[:2]]
    assert row(gaia, "first")["attempts"] == 2


def test_a_queued_attempt_has_a_log_only_when_it_began(
    make_gaia: MakeGaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    gate = FileGate(tmp_path / "gate")
    gaia = make_gaia(watch=False, workers=1)
    held = command("held", f"{gate.hold(gate.folder)}; echo > /out/x")
    gaia.upload("w", {}, [held], [step("s", "held", "b:s"), step("t", "held", "b:t")])
    wait_until(lambda: gaia.progress("w")["running"] == 1)
    (queued,) = (row for row in gaia.table("w")["steps"] if row["state"] == "queued")
    (attempt,) = gaia.attempts("w", queued["step"])["attempts"]
    assert (attempt["state"], attempt["started"], attempt["elapsed"]) == ("queued", None, None)
    assert (attempt["has_log"], attempt["worker"]) == (False, None)
    gate.open()


# ---------------------------------------------------------------------------------------- the table


def test_each_step_has_a_row_with_its_state_and_why(gaia: Gaia) -> None:
    answer = gaia.table("w")
    assert answer["workflow"] == "w"
    told = {row["step"]: (row["command"], row["state"], row["reason"]) for row in answer["steps"]}
    assert told == {
        "first": ("copy", "complete", "new"),
        "failed": ("fail", "error", "exit code 3"),
        "waiting": ("copy", "waiting", "waits for b:never"),
        "outer:one": ("copy", "complete", "new"),
        "outer:two": ("copy", "complete", "new"),
        "many-1": ("show", "complete", "new"),
        "many-2": ("show", "complete", "new"),
        "many-10": ("show", "complete", "new"),
    }
    assert [row["step"] for row in answer["steps"]] == [
        step["step"] for step in gaia.graph("w")["steps"]
    ]


def test_a_row_has_the_figures_of_the_latest_attempt_and_of_the_latest_complete_one(
    gaia: Gaia,
) -> None:
    first = row(gaia, "first")
    (attempt,) = gaia.attempts("w", "first")["attempts"]
    for key in ("task", "started", "ended", "elapsed"):
        assert first[key] == attempt[key]
    assert first["duration"] == pytest.approx(first["elapsed"])
    assert first["attempts"] == 1
    failed = row(gaia, "failed")
    assert failed["elapsed"] is not None
    assert failed["duration"] is None
    waiting = row(gaia, "waiting")
    figures = ("task", "started", "ended", "elapsed", "duration", "cpu", "memory")
    assert {waiting[key] for key in figures} == {None}
    assert waiting["attempts"] == 0


def test_a_row_keeps_the_duration_of_a_run_that_was_complete(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    write(gaia, "own")
    gaia.upload("w", {}, [COPY], STEPS[:1])
    gaia.wait("w", 30)
    took = row(gaia, "first")["elapsed"]
    gaia.command("w", [{**COPY, "command": ["sh", "-c", "exit 7"]}])
    gaia.wait("w", 30)
    failed = row(gaia, "first")
    assert (failed["state"], failed["reason"], failed["attempts"]) == ("error", "exit code 7", 2)
    assert failed["duration"] == pytest.approx(took)


def test_what_lies_in_the_store_already_is_said(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    write(gaia, "own")
    gaia.path("w", "b:first").write_text("found")
    gaia.upload("w", {}, [COPY], [STEPS[0], step("long", "copy", "b:long", "b:none")])
    gaia.wait("w", 30)
    assert row(gaia, "first")["reason"] == "its outputs were in the store"
    assert row(gaia, "first")["attempts"] == 0


def test_of_many_missing_inputs_the_first_is_named(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    names = [f"in{number}" for number in range(9)]
    join = command("join", "true", *names)
    inputs = {name: f"b:{name}" for name in names}
    gaia.upload("w", {}, [join], [step("s", "join", "b:s", inputs=inputs)])
    assert row(gaia, "s")["reason"] == "waits for b:in0 and 8 more"


# ----------------------------------------------------------------------------------- the definition


def test_a_definition_has_what_was_submitted_and_what_it_became(gaia: Gaia) -> None:
    answer = gaia.definition("w", "many")
    assert answer["submitted"] == STEPS[4]
    assert answer["commands"] == {"show": SHOW}
    assert [each["step"] for each in answer["became"]] == ["many-1", "many-2", "many-10"]
    last = answer["became"][-1]
    assert last["command"] == "show"
    assert last["tokens"] == ["sh", "-c", "cat /in/a > /out/x; echo 10"]
    assert last["inputs"] == [["b:own", "/in/a"]]
    assert last["outputs"] == [["b:many/10", "/out/x"]]
    assert last["image"] == "busybox"
    assert last["timeout"] == 3600
    assert last["vars"] == {"number": 10}
    assert last["unfit"] is None


def test_an_inner_step_has_the_definition_of_the_one_that_it_came_from(gaia: Gaia) -> None:
    answer = gaia.definition("w", "outer:two")
    assert answer["submitted"] == STEPS[3]
    assert answer["commands"] == {"pair": INNER, "copy": COPY}
    (became,) = answer["became"]
    assert became["step"] == "outer:two"
    assert became["outputs"] == [["b:outer", "/out/x"]]
    both = gaia.definition("w", "outer")["became"]
    assert [each["step"] for each in both] == ["outer:one", "outer:two"]
    with pytest.raises(GaiaError, match=r"there is no Step 'outr'.*outer"):
        gaia.definition("w", "outr")


def test_a_step_that_does_not_fit_is_shown_as_it_last_fitted(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    write(gaia, "own")
    gaia.upload("w", {}, [COPY], STEPS[:1])
    gaia.wait("w", 30)
    gaia.command("w", [command("copy", "cat /in/b /in/a > /out/x", "a", "b")])
    (became,) = gaia.definition("w", "first")["became"]
    assert became["unfit"] is not None
    assert "'b'" in became["unfit"]
    assert became["tokens"] == COPY["command"]
    assert row(gaia, "first")["state"] == "unfit"
    assert row(gaia, "first")["reason"] == became["unfit"]
