"""Each library does what it is for: run by `make lowest` with the lowest versions allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from gaia_local import Gaia
from gaia_local.cli import app
from gaia_local.pictures.drawing import draw
from gaia_local.server import Server
from gaia_local.store.inotify_trees import InotifyTrees
from gaia_local.store.watcher import make_trees
from support.builders import COPY, ECHO, step
from support.fixtures import IMAGE, MakeGaia, WaitUntil

COMMANDS = [ECHO, COPY]
MADE = {"name": "made", "command": "echo", "outputs": {"result": "d:made"}}
COPIED = step("copied", "copy", "d:copied", "d:made")


def complete(gaia: Gaia, commands: list[dict[str, Any]] = COMMANDS) -> str:
    """Run two Steps to their end; answers the second one's output."""
    gaia.upload("w", {}, commands, [MADE, COPIED])
    assert gaia.wait("w", 60)["state"] == "complete"
    return gaia.path("w", "d:copied").read_text()


def test_processes_and_the_state_file(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    assert complete(gaia) == "hello\n"
    gaia.close()
    assert make_gaia().status("w")["state"] == "complete"


@pytest.mark.usefixtures("docker_image")
def test_containers(make_gaia: MakeGaia) -> None:
    commands = [{**command, "image": IMAGE} for command in COMMANDS]
    assert complete(make_gaia(runtime="docker"), commands) == "hello\n"


def test_a_dask_cluster_on_this_machine(make_gaia: MakeGaia) -> None:
    assert complete(make_gaia(executor="dask", dask={"local": 1})) == "hello\n"


def test_the_server(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    complete(gaia)
    with Server(gaia, port=0) as server:
        answer = requests.post(f"{server.url}status", json={"workflow": "w"}, timeout=30)
        assert answer.json()["status"]["state"] == "complete"
        page = requests.get(server.url, timeout=30)
        assert page.headers["content-type"].startswith("text/html")


def test_pictures(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    complete(gaia)
    picture = draw(gaia.graph("w"))
    assert "copied" in picture.svg
    assert picture.png().startswith(b"\x89PNG")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("commands.yaml").write_text(
        "- {name: c, image: i, command: [touch, /o], outputs: {x: /o}}"
    )
    Path("steps.yaml").write_text("- {name: s, command: c, outputs: {x: 'd:x'}}")
    for line in (
        ["--runtime", "process", "upload", "w", "--path", "", "--extension", "yaml"],
        ["status", "w"],
        ["graph", "w"],
        ["timeline", "w"],
        ["doctor"],
    ):
        ran = CliRunner().invoke(app, line)
        assert ran.exit_code == 0, f"{line}\n{ran.output}"


def test_changed_files_are_noticed(tmp_path: Path, wait_until: WaitUntil) -> None:
    heard: set[str] = set()
    trees = make_trees(heard.add, lambda error: None, True)
    try:
        assert isinstance(trees, InotifyTrees)
        trees.watch(str(tmp_path))
        (tmp_path / "file").write_text("1")
        wait_until(lambda: str(tmp_path / "file") in heard)
    finally:
        trees.close()
