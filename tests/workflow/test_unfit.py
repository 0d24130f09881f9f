"""Commands that change under their Steps: those that don't fit any more wait for their mending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaia_local import GaiaError
from gaia_local.model.definitions import parse_commands, parse_steps
from gaia_local.workflow import reports
from gaia_local.workflow.progress import progress as count_progress
from support.builders import command, step
from support.hands import Hands

MK = command("mk", "x")
AGG = command("agg", "x", "a")
WIDER = command("agg", "x", "a", "b")
LAST = command("last", "x", "a")


@pytest.fixture
def hands(tmp_path: Path) -> Any:
    hands = Hands(tmp_path)
    hands.command(MK, AGG, LAST)
    hands.merge(
        step("m", "mk", "k:m"), step("g", "agg", "k:g", "k:m"), step("l", "last", "k:l", "k:g")
    )
    for name in ("m", "g", "l"):
        hands.complete(name)
    hands.did()
    yield hands
    hands.close()


def problems(hands: Hands) -> dict[str, str]:
    return dict(hands.status().get("unfit", {}))


def test_a_command_may_leave_its_steps_behind(hands: Hands) -> None:
    hands.command(WIDER)
    assert hands.did() == []
    assert hands.state == "incomplete"
    assert problems(hands) == {
        "g": "workflow 'w', Step 'g', Command 'agg': the Step does not give its input 'b'; "
        "give a storage key for it"
    }
    assert hands.status()["waiting-inputs"] == []


def test_a_merge_mends_them_and_what_depends_on_them_runs(hands: Hands) -> None:
    hands.command(WIDER)
    hands.merge(step("g", "agg", "k:g", "k:m", "k:m"))
    assert problems(hands) == {}
    assert hands.reasons() == {"g": "step changed"}
    hands.complete("g")
    assert hands.reasons() == {"l": "upstream g ran again"}
    hands.complete("l")
    assert hands.state == "complete"


def test_the_command_again_mends_them_and_nothing_runs(hands: Hands) -> None:
    """A slip in a Command, taken back, must not cost the results."""
    hands.command(WIDER)
    hands.command(AGG)
    assert (problems(hands), hands.did(), hands.state) == ({}, [], "complete")


def test_another_command_that_fits_again_recomputes(hands: Hands) -> None:
    hands.command(WIDER)
    hands.command(command("agg", "y", "a"))
    assert hands.reasons() == {"g": "command changed"}


def test_a_merge_that_does_not_fit_is_refused(hands: Hands) -> None:
    hands.command(WIDER)
    with pytest.raises(GaiaError, match="does not give its input 'b'"):
        hands.merge(step("g", "agg", "k:g", "k:m"))
    with pytest.raises(GaiaError, match="does not give its input 'b'"):
        hands.merge(step("h", "agg", "k:h", "k:m"))
    assert list(problems(hands)) == ["g"]


def test_a_step_that_runs_is_cancelled_and_runs_when_it_is_mended(hands: Hands) -> None:
    hands.scheduler.expire("w", ["g"])
    assert hands.runs == ["g"]
    hands.did()
    hands.command(WIDER)
    assert hands.did() == [("cancel", "g")]
    assert hands.state == "incomplete"
    hands.scheduler.run("w")
    assert hands.runs == []
    hands.command(AGG)
    assert hands.reasons() == {"g": "expired"}


def test_an_unfit_step_holds_nobody_and_keeps_its_keys(hands: Hands) -> None:
    """What lies at its keys is used as it is; no other Step may make them."""
    hands.command(WIDER)
    hands.merge(step("other", "last", "k:other", "k:g"))
    assert hands.runs == ["other"]
    with pytest.raises(GaiaError, match="Step 'g' makes it too"):
        hands.merge(step("thief", "mk", "k:g"))
    hands.merge(step("thief", "mk", "k:g"), step("g", "agg", "k:g2", "k:m", "k:m"))
    assert problems(hands) == {}


def test_it_survives_a_restart(hands: Hands) -> None:
    hands.command(WIDER)
    before = problems(hands)
    again = hands.reopened()
    assert (problems(again), again.state, again.runs) == (before, "incomplete", [])
    again.scheduler.run("w")
    assert again.runs == []
    again.command(AGG)
    assert (problems(again), again.runs, again.state) == ({}, [], "complete")
    again.close()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (command("agg", "x"), "it has no input 'a'"),
        (command("agg", "x", "a", y="/out/y"), "it has no output 'x'"),
        (command("agg", "{{word}}", "a"), "the var 'word' is undefined"),
        ({**command("agg", "x", "a", x="/{{p}}/a"), "vars": {"p": "in"}}, "'/in/a'"),
    ],
)
def test_all_that_can_be_missing(hands: Hands, changed: dict[str, Any], told: str) -> None:
    hands.command(changed)
    assert told in problems(hands)["g"]
    hands.command(AGG)
    assert (problems(hands), hands.state, hands.did()) == ({}, "complete", [])


def test_the_words_of_explain_and_progress(hands: Hands) -> None:
    hands.command(WIDER)
    (problem,) = problems(hands).values()

    def look(workflow: Any) -> tuple[Any, Any, Any]:
        node = workflow.graph.steps["g"]
        explained = reports.explain_step(workflow, node, {})
        return explained, count_progress(workflow), reports.graph(workflow)["steps"]

    found = hands.scheduler.view("w", look)
    assert found is not None
    explained, progress, steps = found
    assert (explained["because"], explained["would_run"]) == (problem, False)
    assert (progress["unfit"], progress["lacks"], progress["waiting"]) == (1, problem, 0)
    assert {each["step"]: each["state"] for each in steps}["g"] == "unfit"


COMPOSITE: dict[str, Any] = {
    "name": "both",
    "inputs": ["a"],
    "outputs": ["x"],
    "steps": [
        {"name": "i", "command": "agg", "inputs": {"a": "a"}, "outputs": {"x": "Z"}},
        {"name": "j", "command": "last", "inputs": {"a": "Z"}, "outputs": {"x": "x"}},
    ],
}


def test_a_composite_command_stays_as_it_last_fitted(hands: Hands) -> None:
    hands.command(COMPOSITE)
    hands.merge(step("c", "both", None, "k:m", outputs={"x": "k:c"}))
    for name in ("c:i", "c:j"):
        hands.complete(name)
    hands.did()
    hands.command({**COMPOSITE, "inputs": ["a", "b"]})
    assert list(problems(hands)) == ["c:i", "c:j"]
    again = hands.reopened()
    assert list(problems(again)) == ["c:i", "c:j"]
    again.command(WIDER)  # one of its own that would not fit either
    assert sorted(problems(again)) == ["c:i", "c:j", "g"]
    again.command(COMPOSITE)
    assert "Step 'c'" in problems(again)["c:i"]
    again.command(AGG)
    assert (problems(again), again.runs, again.state) == ({}, [], "complete")
    again.command({**COMPOSITE, "inputs": ["a", "b"]})
    again.merge(step("c", "both", None, "k:m", "k:g", outputs={"x": "k:c"}))
    assert (problems(again), again.runs, again.state) == ({}, [], "complete")
    again.close()


def test_an_array_is_unfit_as_a_whole(hands: Hands) -> None:
    hands.command({**MK, "command": ["x", "{{n}}"]})
    assert list(problems(hands)) == ["m"]
    hands.merge(step("m", "mk", "k:m", vars={"n": 1}))
    many = step("n", "mk", "k:n{{n}}", vars={"n": [1, 2]})
    hands.merge(many)
    for name in ("m", "n-1", "n-2"):
        hands.complete(name)
    hands.command({**MK, "command": ["x", "{{n}}", "{{o}}"]})
    assert list(problems(hands)) == ["m", "n-1", "n-2"]
    hands.merge({**many, "vars": {"n": [2, 3], "o": 1}})
    assert list(problems(hands)) == ["m"]
    assert hands.reasons() == {
        "g": "upstream m ran again",  # it ran already
        "n-2": "step changed",
        "n-3": "new",
    }


def test_definitions_in_one_call_are_one_decision(hands: Hands) -> None:
    hands.scheduler.update("w", [], [])
    update(hands, [WIDER], [step("g", "agg", "k:g", "k:m", "k:m")])
    assert (problems(hands), hands.reasons()) == ({}, {"g": "step changed"})
    before = hands.status()
    with pytest.raises(GaiaError, match="does not give its input 'a'"):
        update(hands, [command("mk", "y")], [step("h", "last", "k:h")])
    assert hands.status() == before


def update(hands: Hands, commands: list[Any], steps: list[Any]) -> None:
    hands.scheduler.update("w", parse_commands("w", commands), parse_steps("w", steps))
