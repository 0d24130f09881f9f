"""What the commands say: short, complete, and with what to do next."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from pathlib import Path

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.errors import nearest
from gaia_local.state.names import last_changes
from support.command_line import (
    CHECK,
    COPY,
    SAY,
    answer,
    call,
    here,
    on_a_terminal,
    upload,
    write,
)
from support.servers import Serving

__all__ = ["here"]  # a fixture for all tests


def plain(text: str) -> str:
    """The text of a message in a frame, on one line."""
    return re.sub(r"[\s│]+", " ", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text))


# ----------------------------------------------------------------------------------- what there is


def test_workflows_fit_sixty_columns_and_show_when_each_changed(here: Path) -> None:
    upload("crick_simulation_20191130.121500", SAY)
    lines = call("workflows").stdout.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split() == ["workflow", "state", "Steps", "changed"]
    assert re.fullmatch(r"crick_simulation_20191130.121500 +complete +1 +\d\d:\d\d", lines[1])
    root = here / "gaia-data"
    assert abs(last_changes(root)["crick_simulation_20191130.121500"] - time.time()) < 600
    with Gaia({"root": str(root)}) as gaia:
        gaia.command("without-steps", [])
        gaia.command("w", [{"name": "c", "image": "i", "command": ["c"]}])
    assert set(last_changes(root)) == {"crick_simulation_20191130.121500", "w"}
    last = answer("events", "crick_simulation_20191130.121500", "--json")[-1]
    assert last_changes(root)[last["workflow"]] == last["time"]


def test_a_root_of_an_older_version_shows_when_each_changed(here: Path) -> None:
    upload("w", SAY)
    state = here / "gaia-data" / "gaia.db"
    with contextlib.closing(sqlite3.connect(state, isolation_level=None)) as database:
        database.execute("alter table events drop column more")
        database.execute("pragma user_version = 8")
    lines = call("workflows").stdout.splitlines()
    assert re.fullmatch(r"w +complete +1 +\d\d:\d\d", lines[1])


def test_status_without_a_name_lists_the_names() -> None:
    upload("w", SAY)
    assert call("status").stdout == call("workflows").stdout
    assert answer("status", "--json") == answer("workflows", "--json")


def test_events_are_short_unless_they_are_asked_in_full(here: Path) -> None:
    far = "deep/" * 20 + "end.txt"
    upload("w", {**SAY, "outputs": {"said": f"a:{far}"}})
    lines = call("events", "w").stdout.splitlines()
    assert far not in "".join(lines)
    (made,) = [line for line in lines if "data-complete" in line]
    fields = dict(re.findall(r"(\w+)=(\S+)", made))
    assert all(len(value) == 60 for value in fields.values())
    assert fields["path"].startswith(str(here)[:10]) and fields["path"].endswith("deep/end.txt")
    full = call("events", "w", "--full").stdout
    assert f"key=a:{far} path={here}/gaia-data/storage/w/a/{far}" in full


def test_a_digest_names_its_algorithm() -> None:
    upload("w", SAY, COPY)
    digest = answer("explain", "w", "a:said.txt", "--json")["digest"]
    assert f"digest      blake2b:{digest}\n" in call("explain", "w", "a:said.txt").stdout
    assert f"read        a:said.txt blake2b:{digest}\n" in call("explain", "w", "copy").stdout


def test_each_suggestion_is_listed_once() -> None:
    upload("w", {**SAY, "name": "said", "outputs": {"said": "said"}})
    told = call("expire", "w", "sayd", status=2).stderr
    assert told.count("'said'") == 1
    assert nearest("zzz", ["a", "a", "b"]) == "known: 'a', 'b'"


# ----------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("command", ["graph", "timeline"])
def test_a_terminal_gets_no_picture(command: str) -> None:
    upload("w", SAY)
    seen = plain(on_a_terminal([command, "w"], {}, status=2))
    assert "a terminal can't show" in seen and "give -o FILE" in seen
    assert "<svg" not in seen and "<html" not in seen


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["graph", "w", "-o", "x.pdf"], "x.pdf isn't the name of a format; let it end in .svg"),
        (["graph", "w", "-o", "x.txt"], "or give --format, one of svg, png, mermaid, dot"),
        (["graph", "w", "-o", "x.png", "--format", "svg"], "x.png isn't a name for svg"),
        (["graph", "w", "-o", "x.pdf", "--format", "svg"], "let it end in .svg"),
        (["timeline", "w", "-o", "t.png"], "let it end in .html, .svg, or give --format"),
        (["timeline", "w", "-o", "t.svg", "--format", "html"], "let it end in .html or .htm"),
    ],
)
def test_no_picture_is_written_under_the_name_of_another_format(
    words: list[str], says: str, here: Path
) -> None:
    upload("w", SAY)
    before = set(os.listdir(here))
    assert says in plain(call(*words, status=2).stderr)
    assert set(os.listdir(here)) == before


# ----------------------------------------------------------------------------- programs and engines


def test_a_configuration_in_the_wrong_place_is_shown_in_the_right_one() -> None:
    with pytest.raises(GaiaError) as refused:
        Gaia(runtime="process")  # type: ignore[arg-type]
    assert str(refused.value) == (
        "Gaia: it takes no argument 'runtime'; give a dictionary: Gaia({\"runtime\": …})"
    )
    with pytest.raises(GaiaError, match=r'give a dictionary, as Gaia\(\{"root": \'here\'\}\)'):
        Gaia("here")  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", ["5", True, float("nan"), [1]])
def test_a_timeout_that_is_no_number_is_refused(here: Path, timeout: object) -> None:
    with Gaia() as gaia, pytest.raises(GaiaError, match=r"timeout is .*; give a number of seconds"):
        gaia.wait("w", timeout=timeout)  # type: ignore[arg-type]


@pytest.mark.parametrize(("options", "more"), [((), ""), (("--reuse",), ", with reuse")])
def test_serve_says_what_it_serves(here: Path, options: tuple[str, ...], more: str) -> None:
    with Serving(here / "root", *options, "serve", "--port", "0") as serving:
        assert serving.process.stdout is not None
        assert serving.process.stdout.readline().startswith("gaia-local listens at http://")
        line = serving.process.stdout.readline()
        serving.process.terminate()
        serving.end()
    assert line == f"root: {here}/root; runtime: process{more}; the status page is its /\n"


def test_without_an_engine_it_is_said_what_is_stored(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{here}/nothing.sock")
    monkeypatch.delenv("GAIA_LOCAL_RUNTIME")
    told = call("upload", "w", *write(SAY), status=2).stderr
    assert "(--runtime process); nothing of this call was stored: repeat it then" in told
    assert answer("workflows", "--json") == {"workflows": {}}
    call("--runtime", "process", "upload", "w", *write(CHECK), status=1)
    for command in (["run", "w"], ["expire", "w", "check"]):
        told = call(*command, status=2).stderr
        assert "; w is stored; `gaia-local --runtime process run w` starts it" in told
        assert "was stored:" not in told
    monkeypatch.setenv("READY", "yes")
    assert "w: complete" in call("--runtime", "process", "run", "w").stdout
