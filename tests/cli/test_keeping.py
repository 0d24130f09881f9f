"""The commands that drop old attempts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.builders import COPY, step
from support.command_line import call
from support.fixtures import MakeGaia


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, in which the commands are called."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran_often(make_gaia: MakeGaia, times: int) -> None:
    with make_gaia() as gaia:
        place = gaia.path("w", "in:a")
        place.parent.mkdir(parents=True)
        for number in range(times):
            place.write_text(str(number))
            gaia.update("w", [COPY], [step("s", "copy", "o:x", "in:a")])
            gaia.run("w")
            gaia.wait("w")


def test_clean_drops_old_attempts(make_gaia: MakeGaia, gaia_root: Path) -> None:
    ran_often(make_gaia, 4)
    options = ("--root", str(gaia_root), "--runtime", "process")
    assert call("clean", "--older", "30d", *options).stdout == (
        "dropped 0 attempts of 0 Steps, 0 bytes\n"
    )
    assert call("clean", "--keep-attempts", "3", *options).stdout == (
        "dropped 1 attempt of 1 Step, 0 bytes\n"
    )
    found = call("clean", "--older=0s", "--json", *options)
    assert json.loads(found.stdout) == {"attempts": 2, "steps": 1, "bytes": 0}
    with make_gaia() as gaia:
        assert len(gaia.timeline("w")["attempts"]) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--older", "30"), "give a number and a"),
        (("--older", "a month"), "give a number and a"),
        (("--keep-attempts", "0"), "--keep-attempts"),
    ],
)
def test_clean_refuses_what_is_no_age(here: Path, options: tuple[str, ...], words: str) -> None:
    refused = call("clean", *options, status=2)
    assert words in refused.stderr
    assert list(here.iterdir()) == []


def test_clean_makes_no_root(here: Path) -> None:
    call("clean", "--keep-attempts", "3")
    assert list(here.iterdir()) == []
