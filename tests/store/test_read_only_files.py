"""Files and directories that their owner, an ordinary user, made read-only."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gaia_local import Gaia
from gaia_local.store import directories
from support.trees import as_ordinary_user

MAKE = "mkdir /out/d/e; echo made > /out/d/e/f; echo made > /out/x"
CLOSE = '; chmod -R a-w /out/d /out/x; chmod a-w "$(dirname /out/x)"'
COMMANDS: list[dict[str, Any]] = [
    {
        "name": "make",
        "image": "i",
        "command": ["sh", "-c", MAKE],
        "outputs": {"d": "/out/d/", "x": "/out/x"},
    },
    {
        "name": "read",
        "image": "i",
        "command": ["sh", "-c", "echo more > /in/d/e/g; cat /in/d/e/* /in/x > /out/y"],
        "inputs": {"d": "/in/d/", "x": "/in/x"},
        "outputs": {"y": "/out/y"},
    },
]
STEPS = [
    {"name": "make", "command": "make", "outputs": {"d": "b:d/", "x": "b:x"}},
    {
        "name": "read",
        "command": "read",
        "inputs": {"d": "b:d/", "x": "b:x"},
        "outputs": {"y": "b:y"},
    },
]


def with_gaia(root: Path, act: Callable[[Gaia], None], **config: Any) -> None:
    """Act as an ordinary user with a Gaia of its own; nothing is left."""

    def run() -> None:
        with Gaia({"root": root, "runtime": "process", "watch": False, **config}) as gaia:
            act(gaia)
            gaia.delete("w", data=True)
        assert [*(root / "staging").iterdir()] == []
        assert [*(root / "storage").iterdir()] == []

    as_ordinary_user(run)


def finish(gaia: Gaia, state: str = "complete") -> None:
    assert gaia.wait("w", 60)["state"] == state, gaia.failures("w")


def close(path: Path) -> None:
    subprocess.run(["chmod", "-R", "a-w", path], check=True)


def test_read_only_results_are_replaced(tmp_path: Path) -> None:
    def act(gaia: Gaia) -> None:
        gaia.upload("w", {}, COMMANDS, STEPS)
        finish(gaia)
        close(gaia.path("w", "b:d/"))
        close(gaia.path("w", "b:x"))
        gaia.expire("w", ["make"])
        finish(gaia)
        assert gaia.path("w", "b:d/e/f").read_text() == "made\n"
        changed = {**COMMANDS[0], "command": ["sh", "-c", MAKE.replace("made", "new")]}
        close(gaia.path("w", "b:d/"))
        gaia.command("w", [changed])
        finish(gaia)
        assert gaia.path("w", "b:y").read_text() == "new\nmore\nnew\n"
        close(gaia.path("w", "b:d/"))  # and it is deleted

    with_gaia(tmp_path / "root", act)


def test_a_result_in_a_read_only_directory_says_the_way_out(tmp_path: Path) -> None:
    def act(gaia: Gaia) -> None:
        gaia.upload("w", {}, COMMANDS, STEPS)
        finish(gaia)
        around = gaia.path("w", "b:x").parent
        close(around)
        gaia.expire("w", ["make"])
        finish(gaia, "error")
        message = gaia.failures("w")[0]["message"]
        assert message is not None
        assert "Permission denied" in message and "let this user read and write there" in message
        assert gaia.path("w", "b:d/e/f").read_text() == "made\n"
        around.chmod(0o700)
        gaia.run("w")
        finish(gaia)
        close(around)

    with_gaia(tmp_path / "root", act)


def test_a_program_may_close_its_outputs(tmp_path: Path) -> None:
    def act(gaia: Gaia) -> None:
        closing = {**COMMANDS[0], "command": ["sh", "-c", MAKE + CLOSE]}
        gaia.upload("w", {}, [closing, COMMANDS[1]], STEPS)
        finish(gaia)
        assert gaia.path("w", "b:y").read_text() == "made\nmore\nmade\n"
        gaia.expire("w", ["make"])
        finish(gaia)
        alone = {"name": "alone", "image": "i", "outputs": {"x": "/out/x"}}
        alone["command"] = ["sh", "-c", "echo alone > /out/x; chmod a-w $(dirname /out/x)"]
        gaia.command("w", [alone])
        gaia.merge("w", [{"name": "alone", "command": "alone", "outputs": {"x": "b:alone"}}])
        finish(gaia)
        assert gaia.path("w", "b:alone").read_text() == "alone\n"

    with_gaia(tmp_path / "root", act)


def test_read_only_inputs_have_writable_copies(tmp_path: Path) -> None:
    def act(gaia: Gaia) -> None:
        inner = gaia.path("w", "b:d/") / "e"
        inner.mkdir(parents=True)
        (inner / "f").write_text("users\n")
        gaia.path("w", "b:x").write_text("users\n")
        close(gaia.path("w", "b:d/"))
        close(gaia.path("w", "b:x"))
        gaia.upload("w", {}, COMMANDS[1:], STEPS[1:])
        finish(gaia)
        assert gaia.path("w", "b:y").read_text() == "users\nmore\nusers\n"
        assert [entry.name for entry in inner.iterdir()] == ["f"]
        assert stat.S_IMODE(inner.stat().st_mode) == 0o555

    with_gaia(tmp_path / "root", act)


def test_a_read_only_bucket_directory_is_replaced(tmp_path: Path) -> None:
    """In a mapped bucket, too, the old directory changes its parent."""

    def act(gaia: Gaia) -> None:
        gaia.upload("w", {}, COMMANDS, STEPS)
        finish(gaia)
        close(gaia.path("w", "b:d/"))
        gaia.expire("w", ["make"])
        finish(gaia)

    with_gaia(tmp_path / "root", act, buckets={"b": tmp_path / "bucket"})


def test_a_moved_directory_keeps_its_mode(tmp_path: Path) -> None:
    def act() -> None:
        (tmp_path / "from" / "closed").mkdir(parents=True)
        (tmp_path / "to").mkdir()
        os.chmod(tmp_path / "from" / "closed", 0o500)
        directories.rename(str(tmp_path / "from/closed"), str(tmp_path / "to/closed"))
        assert stat.S_IMODE((tmp_path / "to/closed").stat().st_mode) == 0o500
        (tmp_path / "from").chmod(0o500)
        (tmp_path / "to").chmod(0o500)
        try:
            directories.rename(str(tmp_path / "to/closed"), str(tmp_path / "from/closed"))
        except PermissionError:
            assert stat.S_IMODE((tmp_path / "to/closed").stat().st_mode) == 0o500
        else:
            raise AssertionError("its parents are closed")

    as_ordinary_user(act)
