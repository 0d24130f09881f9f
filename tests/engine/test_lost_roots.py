"""A root that is removed, moved or replaced under its engine: noticed, told, and left alone."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.engine.local_socket import NAME
from support.builders import ECHO
from support.fixtures import MakeGaia, WaitUntil
from support.owner import Owner
from support.processes import recorded, running
from support.servers import Serving

STEP = {"name": "s", "command": "long", "outputs": {"o": "o"}}
GONE = "was removed or replaced while it was open"


def begin(gaia: Gaia, pid_file: Path, wait_until: WaitUntil) -> int:
    """Start a Step that runs long; the pid of its program."""
    program = f"printf '{{\"pid\": %s}}' $$ > {pid_file}; exec sleep 600"
    long = {
        "name": "long",
        "image": "none",
        "command": ["sh", "-c", program],
        "outputs": {"o": ">"},
    }
    gaia.upload("w", {}, [long], [STEP])
    wait_until(lambda: recorded(pid_file) is not None)
    pid = recorded(pid_file)
    assert pid is not None
    return pid


def take_away(root: Path, how: str) -> None:
    if how == "removed":
        shutil.rmtree(root)
    else:
        root.rename(root.with_name("elsewhere"))


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_what_runs_is_stopped_and_all_are_told(
    make_gaia: MakeGaia,
    tmp_path: Path,
    wait_until: WaitUntil,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gaia_root = tmp_path / "root"
    gaia = make_gaia()
    pid = begin(gaia, tmp_path / "pid", wait_until)
    assert gaia.lost() is None
    take_away(gaia_root, how)
    wait_until(lambda: gaia.lost() is not None)
    with pytest.raises(GaiaError, match=GONE):
        gaia.wait("w", timeout=60)
    wait_until(lambda: not running(pid))
    assert caplog.text.count(f"root {gaia_root} {GONE}") == 1
    with pytest.raises(GaiaError, match=GONE):
        gaia.upload("v", {}, [ECHO], [])
    assert not gaia_root.exists()


def test_a_new_root_in_its_place_is_left_to_its_owner(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    gaia = make_gaia()
    begin(gaia, tmp_path / "pid", wait_until)
    gaia_root.rename(gaia_root.with_name("elsewhere"))
    owner = Owner()
    try:
        owner.own({"root": str(gaia_root), "runtime": "process"})
        (gaia_root / "spare").mkdir(exist_ok=True)
        wait_until(lambda: gaia.lost() is not None)
        gaia.close(wait=False)
        assert (gaia_root / NAME).exists()
        assert (gaia_root / "spare").exists()
        with Gaia({"root": gaia_root, "runtime": "process"}) as other:
            other.upload("w", {}, [ECHO], [])
            assert list(other.workflows()["workflows"]) == ["w"]
    finally:
        owner.close()


def test_a_server_says_so_and_ends(gaia_root: Path, tmp_path: Path, wait_until: WaitUntil) -> None:
    with Serving(gaia_root, "serve", "--port", "0") as serving:
        url = serving.url
        with Gaia({"root": gaia_root}) as caller:
            pid = begin(caller, tmp_path / "pid", wait_until)
        with urllib.request.urlopen(f"{url}api/stream", timeout=60) as stream:
            assert stream.readline()
            shutil.rmtree(gaia_root, ignore_errors=True)
            told = stream.read().decode()
        status, _, err = serving.end()
    _, _, last = told.partition("event: gone\ndata: ")
    assert GONE in json.loads(last)
    assert status == 2
    wait_until(lambda: not running(pid))
    assert f"root {gaia_root} {GONE}" in err
