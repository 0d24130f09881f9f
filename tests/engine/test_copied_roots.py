"""A copied root leaves the original alone; a moved one is still itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gaia_local import Gaia
from gaia_local.config import Config
from gaia_local.doctor.leftovers import clean
from gaia_local.store.root_identity import identify, identity_file, read_identity
from support.builders import step
from support.fixtures import MakeGaia, WaitUntil

TICKING = {
    "name": "tick",
    "command": ["sh", "-c", "while :; do echo tick; sleep 0.05; done"],
    "outputs": {"x": "/out/x"},
}
START = """
import json, sys
from gaia_local import Gaia
config, command, step = map(json.loads, sys.argv[1:])
gaia = Gaia(config)
gaia.upload("w", {}, [command], [step])
gaia.wait("w")
"""


def copy(root: Path) -> Path:
    """A copy as a user makes it, of a root in which an engine works."""
    target = root.with_name("copy")
    subprocess.run(["cp", "-a", root, target], stderr=subprocess.DEVNULL, check=False)
    return target


def ticks(gaia: Gaia) -> int:
    return gaia.logs("w", "s").count("tick")


@pytest.mark.parametrize("call", ["status w", "run w", "halt w", "delete w", "clean", "doctor"])
@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_a_copy_ends_nothing_of_the_original(
    *,
    runtime: str,
    call: str,
    request: pytest.FixtureRequest,
    make_gaia: MakeGaia,
    gaia_root: Path,
    caplog: pytest.LogCaptureFixture,
    wait_until: WaitUntil,
) -> None:
    image = request.getfixturevalue("docker_image") if runtime == "docker" else "busybox"
    gaia = make_gaia(runtime=runtime)
    gaia.upload("w", {}, [{**TICKING, "image": image}], [step("s", "tick", "b:x")])
    wait_until(lambda: ticks(gaia) > 3)
    root = copy(gaia_root)
    if call == "run w":
        copied = make_gaia(root=root, runtime=runtime)
        copied.run("w")
        wait_until(lambda: ticks(copied) > 3)
        copied.halt("w")
        told = caplog.text
    else:
        program = [sys.executable, "-m", "gaia_local", "--root", str(root), "--runtime", runtime]
        ended = subprocess.run(
            [*program, *call.split()], capture_output=True, text=True, timeout=30, check=False
        )
        told = ended.stderr
    before = ticks(gaia)
    wait_until(lambda: ticks(gaia) > before + 3)
    assert gaia.status("w")["state"] == "running"
    assert ("is a copy" in told) == (call != "doctor")
    gaia.halt("w")


def test_a_container_is_found_where_its_root_was_moved(
    docker_image: str, tmp_path: Path, wait_until: WaitUntil
) -> None:
    root = tmp_path / "root"
    config = {"root": str(root), "runtime": "docker"}
    given = [config, {**TICKING, "image": docker_image}, step("s", "tick", "b:x")]
    engine = subprocess.Popen([sys.executable, "-c", START, *map(json.dumps, given)])
    try:
        with Gaia(config) as gaia:
            wait_until(lambda: "w" in gaia.workflows()["workflows"] and ticks(gaia) > 3)
    finally:
        engine.kill()
        engine.wait()
    moved = root.rename(tmp_path / "moved")
    found = clean(Config.parse({**config, "root": str(moved)}))
    assert ("container", "w", "s") in [(left.kind, left.workflow, left.step) for left in found]


def test_the_identity_of_a_root(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    identity = identify(one)
    assert identify(one) == read_identity(one) == identity
    moved = one.rename(tmp_path / "moved")
    assert identify(moved) == identity
    copied = copy(moved)
    assert identify(copied) != identity
    assert identify(moved) == identity


@pytest.mark.parametrize(("boot", "same"), [(True, False), (False, True)])
def test_another_device_is_a_copy_until_the_machine_starts_again(
    boot: bool, same: bool, tmp_path: Path
) -> None:
    """The number of a device may be another then."""
    identity = identify(tmp_path)
    known, inode, device, then = identity_file(tmp_path).read_text().split()
    other = f"{known} {inode} {int(device) + 1} {then if boot else 'another'}\n"
    identity_file(tmp_path).write_text(other)
    assert (identify(tmp_path) == identity) == same


def test_an_identity_that_an_earlier_version_wrote(tmp_path: Path) -> None:
    identity_file(tmp_path).write_text(f"known {os.stat(tmp_path).st_ino}\n")
    assert identify(tmp_path) == "known"
