"""Trees and keys deeper than Python's stack: what handles files calls itself for no level."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.config import Config
from gaia_local.doctor import checks, leftovers
from gaia_local.store import removal
from support.fixtures import MakeGaia

LIMIT, LEVELS = 500, 600
"""A smaller stack needs less deep trees, which take less time."""
DEEP = "/".join("d" * LEVELS)
DESCEND = f"mkdir -p {DEEP}; cd {DEEP}"
LONG = "/".join(["long" * 60] * 10)
TOO_LONG = f"mkdir -p a/{LONG} b/{LONG}; cd a/{LONG}; mv /out/t/b b"
"""Its path has 4,800 bytes, more than Linux takes."""
WAYS = [("process", "copy"), ("docker", "copy"), ("docker", "mount")]


@pytest.fixture
def config(runtime: str, inputs: str) -> dict[str, Any]:
    return {"runtime": runtime, "docker": {"inputs": inputs}}


@pytest.fixture
def image(request: pytest.FixtureRequest, runtime: str) -> str:
    return str(request.getfixturevalue("docker_image")) if runtime == "docker" else "i"


@pytest.fixture(autouse=True)
def small_stack(tmp_path: Path) -> Iterator[None]:
    """And pytest's own removal of old directories calls itself for each level."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(LIMIT)
    yield
    sys.setrecursionlimit(before)
    for path in tmp_path.iterdir():
        removal.remove(str(path))


def shell(name: str, image: str, code: str, **places: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "image": image, "command": ["sh", "-c", code], **places}


def finish(gaia: Gaia, state: str = "complete") -> None:
    assert gaia.wait("w", 120)["state"] == state, gaia.failures("w")


def nothing_is_left(gaia: Gaia, root: Path) -> None:
    """The workflow is deleted, and its files are gone."""
    gaia.delete("w", data=True)
    assert [*(root / "storage").iterdir()] == [*(root / "logs").iterdir()] == []
    assert [*(root / "staging").iterdir()] == []


@pytest.mark.parametrize(("runtime", "inputs"), WAYS)
def test_a_deep_tree_is_an_output_and_an_input(
    make_gaia: MakeGaia, gaia_root: Path, image: str, config: dict[str, Any]
) -> None:
    gaia = make_gaia(**config)
    commands = [
        shell("make", image, f"cd /out/t; {DESCEND}; echo deep > f", outputs={"t": "/out/t/"}),
        shell(
            "read",
            image,
            f"cd /in/t; {DESCEND}; cat f > /out/f",
            inputs={"t": "/in/t/"},
            outputs={"f": "/out/f"},
        ),
    ]
    steps = [
        {"name": "make", "command": "make", "outputs": {"t": "b:t/"}},
        {"name": "read", "command": "read", "inputs": {"t": "b:t/"}, "outputs": {"f": "b:f"}},
    ]
    gaia.upload("w", {}, commands, steps)
    finish(gaia)
    assert gaia.path("w", "b:f").read_text() == "deep\n"
    gaia.expire("w", ["make"])
    finish(gaia)
    assert gaia.explain("w", "read")["because"]
    (gaia.path("w", "b:t/") / DEEP / "f").write_text("edited\n")
    gaia.run("w")
    finish(gaia)
    gaia.close()
    again = make_gaia(**config)
    assert again.status("w")["state"] == "complete"
    assert again.path("w", "b:f").read_text() == "edited\n"
    again.pull_inputs("w", "read", str(gaia_root.parent / "pulled"))
    assert (gaia_root.parent / "pulled/t" / DEEP / "f").read_text() == "edited\n"
    again.run("w")
    finish(again)
    assert checks.examine(Config.parse({**config, "root": gaia_root}))
    nothing_is_left(again, gaia_root)


@pytest.mark.parametrize(("runtime", "inputs"), WAYS)
def test_keys_and_internal_paths_may_be_deep(
    make_gaia: MakeGaia, gaia_root: Path, image: str, config: dict[str, Any]
) -> None:
    gaia = make_gaia(**config)
    commands = [
        shell("make", image, f"echo deep > /out/{DEEP}/f", outputs={"f": f"/out/{DEEP}/f"}),
        shell(
            "read",
            image,
            f"cat /in/{DEEP}/f > /out/f",
            inputs={"f": f"/in/{DEEP}/f"},
            outputs={"f": "/out/f"},
        ),
    ]
    steps = [
        {"name": "make", "command": "make", "outputs": {"f": f"b:{DEEP}/f"}},
        {"name": "read", "command": "read", "inputs": {"f": f"b:{DEEP}/f"}, "outputs": {"f": "f"}},
    ]
    gaia.upload("w", {}, commands, steps)
    if config["runtime"] == "docker":
        finish(gaia, "error")
        (failure,) = gaia.failures("w")
        assert "a Docker engine follows 250 at most" in str(failure["message"])
        nothing_is_left(gaia, gaia_root)
        return
    finish(gaia)
    assert gaia.path("w", "f").read_text() == "deep\n"
    gaia.expire("w", ["make"])
    finish(gaia)
    nothing_is_left(gaia, gaia_root)


@pytest.mark.parametrize(("runtime", "inputs"), WAYS[:2])
def test_a_tree_whose_paths_are_too_long_fails_its_step_alone(
    make_gaia: MakeGaia, gaia_root: Path, image: str, config: dict[str, Any]
) -> None:
    gaia = make_gaia(**config)
    gaia.upload(
        "w",
        {},
        [
            shell("deep", image, f"cd /out/t; {TOO_LONG}", outputs={"t": "/out/t/"}),
            shell("good", image, "echo good > /out/f", outputs={"f": "/out/f"}),
        ],
        [
            {"name": "deep", "command": "deep", "outputs": {"t": "b:t/"}},
            {"name": "good", "command": "good", "outputs": {"f": "b:f"}},
        ],
    )
    finish(gaia, "error")
    (failure,) = gaia.failures("w")
    assert failure["step"] == "deep"
    assert failure["message"] is not None
    assert "b:t/" in failure["message"] and "File name too long" in failure["message"]
    assert gaia.path("w", "b:f").read_text() == "good\n"
    gaia.run("w")
    finish(gaia, "error")
    gaia.close()
    again = make_gaia(**config)
    assert again.status("w")["state"] == "error"
    nothing_is_left(again, gaia_root)


def test_a_tree_that_the_user_makes_too_deep_costs_no_other_workflow(
    make_gaia: MakeGaia, gaia_root: Path
) -> None:
    config = {"runtime": "process"}
    gaia = make_gaia(**config)
    command = shell("ls", "i", "ls /in/t > /out/f", inputs={"t": "/in/t/"}, outputs={"f": "/out/f"})
    step = {"name": "ls", "command": "ls", "inputs": {"t": "b:t/"}, "outputs": {"f": "b:f"}}
    make_too_long(gaia.path("w", "b:t/"))
    with contextlib.suppress(Exception):  # it may be refused, if that says why
        gaia.upload("w", {}, [command], [step])
        gaia.wait("w", 60)
    other = {**command, "name": "other"}
    gaia.path("v", "b:t/").mkdir(parents=True)
    gaia.upload("v", {}, [other], [{**step, "command": "other"}])
    assert gaia.wait("v", 60)["state"] == "complete"
    assert gaia.status("w")["workflow"] == "w"
    gaia.close()
    again = make_gaia(runtime="process")
    assert again.status("v")["state"] == "complete"
    assert checks.examine(Config.parse({**config, "root": gaia_root}))
    if "w" in again.workflows()["workflows"]:
        again.delete("w", data=True)
    else:
        removal.remove(str(again.path("w", "b:t/")))
    assert not again.path("w", "b:t/").exists()


def make_too_long(top: Path) -> None:
    top.mkdir(parents=True)
    at = os.open(top, os.O_RDONLY)
    for name in LONG.split("/") * 2:
        os.mkdir(name, dir_fd=at)
        inner = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)


def test_leftovers_that_are_deep_are_cleaned(make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia(runtime="process")
    gaia.close()
    make_too_long(gaia_root / "staging" / "gone")
    leftovers.clean(Config.parse({"root": gaia_root, "runtime": "process"}))
    make_gaia(runtime="process").workflows()
    with contextlib.suppress(FileNotFoundError):
        make_gaia(runtime="process").upload("w", {}, [], [])
    assert [*(gaia_root / "staging").iterdir()] == []
