"""Steps and Commands leave a workflow; their files stay, or leave with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaia_local import GaiaError
from support.builders import command, step
from support.hands import Hands

MK = command("mk", "x")
ONE = command("one", "x", "a")


@pytest.fixture
def hands(tmp_path: Path) -> Any:
    hands = Hands(tmp_path)
    hands.command(MK, ONE)
    hands.merge(step("m", "mk", "k:m"), step("r", "one", "k:r", "k:m"))
    hands.complete("m")
    hands.complete("r")
    hands.did()
    yield hands
    hands.close()


def remove(hands: Hands, *names: str, data: bool = False) -> None:
    hands.scheduler.remove("w", list(names), data)


def place(hands: Hands, key: str) -> Path:
    return Path(hands.storage.path("w", key))


def steps(hands: Hands) -> list[str]:
    return sorted(hands.status()["flow"])


def test_readers_keep_what_a_removed_step_made(hands: Hands) -> None:
    made = place(hands, "k:m").read_text()
    remove(hands, "m")
    assert (steps(hands), hands.did(), hands.state) == (["r"], [], "complete")
    assert place(hands, "k:m").read_text() == made
    again = hands.reopened()
    again.scheduler.run("w")
    assert (steps(again), again.did(), again.state) == (["r"], [], "complete")
    again.put("k:m", "the user's own")
    again.scheduler.loop.files_changed({str(place(again, "k:m"))})
    assert again.reasons() == {"r": "input changed: k:m"}
    again.close()


def test_what_runs_is_cancelled_and_its_late_end_changes_nothing(hands: Hands) -> None:
    hands.scheduler.expire("w", ["m"])
    task, observer = hands.executor.tasks[hands.task("m").id]
    remove(hands, "m")
    assert hands.did() == [("cancel", "m"), ("start", "m")]
    assert observer is hands.scheduler.loop
    assert task.id not in hands.executor.tasks
    assert hands.state == "incomplete"  # the expired file doesn't count
    assert hands.status()["waiting-inputs"] == ["k:m"]


def test_the_last_step_leaves(hands: Hands) -> None:
    remove(hands, "m", "r", "mk", "one")
    assert (hands.state, steps(hands), hands.status()["commands"]) == ("initialized", [], {})
    again = hands.reopened()
    assert (again.state, steps(again), again.status()["commands"]) == ("initialized", [], {})
    again.close()


def test_a_used_command_stays(hands: Hands) -> None:
    hands.merge(step("q", "one", "k:q", "k:m"))
    before = hands.status()
    with pytest.raises(GaiaError, match=r"Command 'one': Step 'r' and 1 more use it; remove them"):
        remove(hands, "one")
    with pytest.raises(GaiaError, match=r"Command 'one': Step 'q' uses it; remove them"):
        remove(hands, "one", "r")
    with pytest.raises(GaiaError, match="Command 'mk': Step 'm' uses it"):
        remove(hands, "mk")
    assert hands.status() == before
    remove(hands, "one", "r", "q")
    assert list(hands.status()["commands"]) == ["mk"]


def test_a_command_that_is_used_through_another_stays(hands: Hands) -> None:
    inner = [{"name": "i", "command": "mk", "inputs": {}, "outputs": {"x": "x"}}]
    hands.command({"name": "box", "inputs": [], "outputs": ["x"], "steps": inner})
    hands.merge(step("b", "box", "k:b"))
    with pytest.raises(GaiaError, match="Command 'mk': Step 'b' uses it"):
        remove(hands, "mk", "m")
    with pytest.raises(GaiaError, match="Step 'b:i' was made from the Step 'b'; remove 'b'"):
        remove(hands, "b:i")
    remove(hands, "mk", "m", "b")


def test_unknown_names_are_refused(hands: Hands) -> None:
    with pytest.raises(GaiaError, match="there is no Step and no Command 'mm'; did you mean"):
        remove(hands, "m", "mm")
    assert steps(hands) == ["m", "r"]


def test_a_name_of_both_means_the_step(hands: Hands) -> None:
    hands.merge(step("one", "mk", "k:one"))
    remove(hands, "one")
    assert steps(hands) == ["m", "r"]
    assert "one" in hands.status()["commands"]


def test_the_same_step_again_finds_its_files(hands: Hands) -> None:
    remove(hands, "m")
    hands.merge(step("m", "mk", "k:m"))
    assert (hands.did(), hands.state) == ([], "complete")
    remove(hands, "m", "r")
    hands.command(command("mk", "another"))
    hands.merge(step("m", "mk", "k:m"), step("r", "one", "k:r", "k:m"))
    assert hands.reasons() == {"m": "command changed"}


def test_a_halted_workflow_stays_halted(hands: Hands) -> None:
    hands.scheduler.expire("w", ["r"])
    hands.scheduler.halt("w")
    remove(hands, "m")
    assert (hands.runs, hands.state) == ([], "halted")


def test_files_leave_with_their_step(hands: Hands) -> None:
    hands.merge(step("t", "mk", "k:t/"))
    hands.merge(step("u", "one", "k:u", "k:t/part"), step("v", "one", "k:v", "k:t/"))
    hands.complete("t")
    hands.complete("u")
    hands.complete("v")
    hands.did()
    remove(hands, "t", "m", data=True)
    assert not place(hands, "k:t/").exists()
    assert not place(hands, "k:m").exists()
    assert place(hands, "k:r").exists()
    assert hands.state == "incomplete"
    assert {"k:m", "k:t/", "k:t/part"} == set(hands.status()["waiting-inputs"])
    assert not [path for path in hands.storage.staging.iterdir() if "removed" in path.name]
    again = hands.reopened()
    assert {"k:m", "k:t/", "k:t/part"} == set(again.status()["waiting-inputs"])
    again.close()


def test_a_file_that_can_t_be_removed_keeps_its_step(hands: Hands, tmp_path: Path) -> None:
    directory = place(hands, "k:m").parent
    directory.rename(tmp_path / "elsewhere")
    directory.symlink_to(tmp_path / "elsewhere")
    before = hands.status()
    with pytest.raises(GaiaError, match=r"^output 'k:m' can't be removed: .* out of the store$"):
        remove(hands, "m", data=True)
    assert hands.status() == before
    assert place(hands, "k:r").exists()
    assert place(hands, "k:m").exists()
    assert not [path for path in hands.storage.staging.iterdir() if "removed" in path.name]


def test_a_step_that_takes_the_key_at_once_keeps_its_file(hands: Hands) -> None:
    loop = hands.scheduler.loop
    handle = loop.handle

    def between(*given: Any) -> bool:
        loop.handle = handle  # type: ignore[method-assign]
        hands.merge(step("new", "mk", "k:m"))
        hands.complete("new", "made anew") if "new" in hands.runs else None
        return handle(*given)

    def insist(*given: Any) -> None:
        type(loop).insist(loop, *given)
        loop.handle = between  # type: ignore[method-assign,assignment]

    loop.insist = insist  # type: ignore[method-assign,assignment]
    remove(hands, "m", data=True)
    assert place(hands, "k:m").exists()
    assert hands.state == "complete"


def test_unfit_steps_leave(hands: Hands) -> None:
    hands.command(command("one", "x", "a", "b"))
    remove(hands, "r")
    assert (hands.state, "unfit" in hands.status()) == ("complete", False)
    again = hands.reopened()
    assert (again.state, "unfit" in again.status()) == ("complete", False)
    again.merge(step("r", "one", "k:r", "k:m", "k:m"))
    assert again.reasons() == {"r": "command changed"}
    again.close()
