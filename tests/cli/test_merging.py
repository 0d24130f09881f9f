"""`gaia-local merge`, and `upload` of a name that is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gaia_local import Gaia
from support.builders import COPY, step
from support.command_line import answer, call, here

__all__ = ["here"]  # a fixture for all tests

ONE, TWO = step("one", "copy", "b:b", "b:a"), step("two", "copy", "b:c", "b:b")
THREE = step("three", "copy", "b:d", "b:b")
FORCED = {**COPY, "command": ["cp", "-f", "/in/a", "/out/x"]}


def save(commands: list[Any], steps: list[Any]) -> list[str]:
    """Write both files; answers the options that name them."""
    Path("commands.json").write_text(json.dumps(commands))
    Path("steps.json").write_text(json.dumps(steps))
    return ["--commands", "commands.json", "--steps", "steps.json"]


def made(root: Path) -> Path:
    """A complete workflow `w` of two Steps."""
    source = root / "gaia-data/storage/w/b/a"
    source.parent.mkdir(parents=True)
    source.write_text("1")
    call("upload", "w", *save([COPY], [ONE, TWO]))
    return source


def ran() -> list[str]:
    """The Steps of all attempts so far, in order."""
    return [attempt["step"] for attempt in answer("timeline", "w", "--json")["attempts"]]


def test_either_file_or_both_are_merged_and_run(here: Path) -> None:
    made(here)
    told = call("merge", "w", *save([FORCED], [THREE])[:2])
    assert told.stdout == "w: complete, 2 of 2 Steps done\n"
    assert ran() == ["one", "two", "one", "two"]
    told = call("merge", "w", *save([FORCED], [THREE])[2:])
    assert told.stdout == "w: complete, 3 of 3 Steps done\n"
    remain = "2 Steps remain in the workflow, though not in steps.json: one, two (--prune removes)"
    assert remain in told.stderr.splitlines()
    assert ran()[4:] == ["three"]
    answered = answer("merge", "w", *save([COPY], [ONE, TWO, THREE]), "--json")
    assert (answered["state"], answered["progress"]["done"]) == ("complete", 3)
    assert len(ran()) == 8


def test_pruned_steps_leave_and_their_files_stay(here: Path) -> None:
    made(here)
    told = call("merge", "w", *save([COPY], [ONE]), "--prune")
    assert told.stdout == "w: complete, 1 of 1 Steps done\n"
    assert told.stderr.startswith("two: removed, as steps.json has them no more\n")
    with Gaia({"root": "gaia-data", "runtime": "process"}) as gaia:
        assert list(gaia.definitions("w")["steps"]) == ["one"]
    assert (here / "gaia-data/storage/w/b/c").read_text() == "1"


def test_nothing_is_merged_into_nothing(here: Path) -> None:
    files = save([COPY], [ONE])
    refused = call("merge", "w", *files, status=2)
    assert "workflow 'w': it doesn't exist" in refused.stderr
    made(here)
    assert "did you mean 'w'?" in call("merge", "ww", *files, status=2).stderr
    bad = call(
        "merge", "w", *save([{**COPY, "name": "other"}], [{**ONE, "command": "no"}]), status=2
    )
    assert "there is no Command 'no'" in bad.stderr
    with Gaia({"root": "gaia-data", "runtime": "process"}) as gaia:
        assert list(gaia.definitions("w")["commands"]) == ["copy"]


def test_upload_of_a_taken_name_says_how_to_change_it(here: Path) -> None:
    made(here)
    refused = call("upload", "w", *save([FORCED], [ONE, TWO]), status=2).stderr
    assert refused == (
        "gaia-local: workflow 'w': it exists already; `gaia-local merge w --commands commands.json"
        " --steps steps.json` changes it, or choose another name\n"
    )
    assert len(ran()) == 2
    told = call("upload", "w", *save([FORCED], [ONE, TWO]), "--merge")
    assert told.stdout == "w: complete, 2 of 2 Steps done\n"
    assert len(ran()) == 4


def test_definitions_are_answered_as_they_were_given(here: Path) -> None:
    call("upload", "w", *save([COPY], [ONE]), status=1)
    with Gaia({"root": "gaia-data", "runtime": "process"}) as gaia:
        assert gaia.definitions("w") == {"commands": {"copy": COPY}, "steps": {"one": ONE}}
