"""The object of the pytest fixtures: its files, its runs, its reports and its leftovers."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.errors import InvalidInput
from gaia_local.runtimes.docker.address import find_address
from gaia_local.runtimes.docker.connection import connect
from gaia_local.runtimes.docker.labels import IDENTITY_LABEL, ROOT_LABEL
from gaia_local.store.root_identity import read_identity
from gaia_local.testing import GaiaFixture
from gaia_local.testing.fixture import check_marker, fresh

COMMANDS: list[dict[str, Any]] = [
    {
        "name": "copy",
        "image": "busybox",
        "command": ["cp", "-r", "/in/from", "/out/to"],
        "inputs": {"from": "/in/from"},
        "outputs": {"to": "/out/to"},
    },
    {
        "name": "list",
        "image": "busybox",
        "command": ["sh", "-c", "cd /in/tree && find . -type f | sort"],
        "inputs": {"tree": "/in/tree/"},
        "outputs": {"listing": ">"},
    },
    {
        "name": "check",
        "image": "busybox",
        "command": [
            "sh",
            "-c",
            "echo looking; test -e '{{flag}}' || { echo 'no flag' >&2; exit 3; }; echo found",
        ],
        "outputs": {"found": ">"},
    },
    {
        "name": "hold",
        "image": "busybox",
        "command": ["sh", "-c", "echo begun; until [ -e '{{flag}}' ]; do sleep 0.01; done"],
        "outputs": {"held": ">"},
    },
]
COPY = {"name": "copy", "command": "copy", "inputs": {"from": "a:from"}, "outputs": {"to": "a:to"}}
LIST = {
    "name": "list",
    "command": "list",
    "inputs": {"tree": "a:tree/"},
    "outputs": {"listing": "a:listing"},
}


@pytest.fixture
def gaia(tmp_path: Path) -> Iterator[GaiaFixture]:
    with fresh(tmp_path, {"runtime": "process", "workers": 2}) as made:
        yield made


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "flag"


def check(flag: Path) -> dict[str, Any]:
    return {
        "name": "check",
        "command": "check",
        "vars": {"flag": str(flag)},
        "outputs": {"found": "a:found"},
    }


def hold(flag: Path) -> dict[str, Any]:
    return {
        "name": "hold",
        "command": "hold",
        "vars": {"flag": str(flag)},
        "outputs": {"held": "a:held"},
    }


# -------------------------------------------------------------------------------------- put and get


def test_the_fixture_places_runs_and_reads(gaia: GaiaFixture) -> None:
    gaia.put("a:from", "text é", workflow="w")
    gaia.upload("w", {}, COMMANDS, [COPY])
    assert gaia.run("w") == {"run": "w"}
    assert gaia.get("a:to", workflow="w") == "text é"
    assert gaia.get_bytes("a:to") == "text é".encode()


def test_a_directory_is_a_mapping(gaia: GaiaFixture) -> None:
    gaia.upload("w", {}, COMMANDS, [LIST])
    gaia.put("a:tree/", {"b.txt": "b", "deep/a.bin": b"\0"})
    gaia.run()
    assert gaia.get("a:listing") == "./b.txt\n./deep/a.bin\n"
    assert gaia.get("a:tree/b.txt") == "b"
    assert gaia.put("a:tree/", {}) == gaia.path("w", "a:tree/")
    gaia.run()
    assert gaia.get("a:listing") == ""


def test_replaced_inputs_are_noticed(gaia: GaiaFixture) -> None:
    gaia.upload("w", {}, COMMANDS, [COPY])
    for content in ("one", b"two"):
        gaia.put("a:from", content)
        gaia.run()
    assert gaia.get("a:to") == "two"


def test_the_workflow_may_be_left_out_where_there_is_one(gaia: GaiaFixture) -> None:
    with pytest.raises(
        InvalidInput, match=r"'a:from': there is no workflow yet.*give workflow=NAME"
    ):
        gaia.put("a:from", "x")
    gaia.upload("v", {}, COMMANDS, [COPY])
    gaia.put("a:from", "x")
    gaia.upload("w", {}, COMMANDS, [COPY])
    for call in (lambda: gaia.put("a:from", "x"), lambda: gaia.get("a:from"), gaia.run):
        with pytest.raises(InvalidInput, match=r"there are several workflows.*give workflow=NAME"):
            call()


def test_keys_of_shared_buckets_need_no_workflow(tmp_path: Path) -> None:
    with fresh(tmp_path, {"runtime": "process", "buckets": ["a", "genomes"]}) as gaia:
        gaia.put("genomes:x", "unused")
        gaia.put("a:from", "shared")
        for name in ("v", "w"):
            gaia.upload(name, {}, COMMANDS, [{**COPY, "outputs": {"to": f"a:{name}"}}])
            gaia.run(name)
            assert gaia.get(f"a:{name}") == "shared"
    assert (tmp_path / "buckets" / "genomes" / "x").read_text() == "unused"


def test_buckets_may_be_directories_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with fresh(
        tmp_path / "folder", {"runtime": "process", "buckets": {"a": tmp_path / "mine"}}
    ) as gaia:
        assert gaia.put("a:from", "x") == tmp_path / "mine" / "from"


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("a:x", {"b": "c"}),
        ("a:x/", "text"),
        ("a:x/", {"../b": "c"}),
        ("a:x/", {"/b": "c"}),
        ("a:x/", {"": "c"}),
        ("", "x"),
    ],
    ids=repr,
)
def test_invalid_inputs_are_refused(gaia: GaiaFixture, key: str, content: Any) -> None:
    with pytest.raises(InvalidInput):
        gaia.put(key, content, workflow="w")
    assert not (gaia.root / "storage" / "w" / "a" / "x").exists()


def test_a_missing_output_is_reported_with_the_reason(gaia: GaiaFixture, flag: Path) -> None:
    gaia.upload("w", {}, COMMANDS, [check(flag), COPY])
    with pytest.raises(AssertionError, match="no flag"):
        gaia.run()
    with pytest.raises(
        AssertionError,
        match=r"(?s)'a:found' isn't there.*Step 'check' failed with exit code 3.*no flag",
    ):
        gaia.get("a:found")
    with pytest.raises(AssertionError, match=r"'a:from' isn't there.*no Step makes it"):
        gaia.get("a:from")
    with pytest.raises(AssertionError, match=r"'a:fond' isn't there.*did you mean 'a:found'"):
        gaia.get("a:fond")


def test_binary_content_is_not_read_as_text(gaia: GaiaFixture) -> None:
    gaia.put("a:x", b"\xff", workflow="w")
    gaia.put("a:tree/", {}, workflow="w")
    with pytest.raises(InvalidInput, match="take get_bytes"):
        gaia.get("a:x", "w")
    with pytest.raises(InvalidInput, match="it is a directory"):
        gaia.get("a:tree/", "w")


# ---------------------------------------------------------------------------------------------- run


def test_a_failure_names_the_step_and_shows_its_log(gaia: GaiaFixture, flag: Path) -> None:
    gaia.upload("w", {}, COMMANDS, [check(flag), COPY])
    with pytest.raises(AssertionError) as failed:
        gaia.run("w")
    assert str(failed.value).splitlines() == [
        "workflow 'w': error, 0 of 2 Steps done, 1 failed, 1 waiting",
        "Step 'check' failed with exit code 3",
        "    looking",
        "    no flag",
        "input 'a:from' is missing, and no Step makes it",
    ]


def test_a_failure_does_not_steer_the_terminal_of_who_tests(gaia: GaiaFixture) -> None:
    talk = {
        "name": "talk",
        "image": "i",
        "command": ["sh", "-c", "printf '\\033[31mred\\033]0;owned\\a\\n'; exit 3"],
    }
    gaia.upload(
        "w",
        {},
        [{**talk, "outputs": {"x": "/x"}}],
        [{"name": "talk", "command": "talk", "outputs": {"x": "a:x"}}],
    )
    with pytest.raises(AssertionError) as failed:
        gaia.run("w")
    assert str(failed.value).splitlines()[2] == "    \x1b[31mred\\x1b]0;owned\\x07"


def test_a_failed_step_ran_once_and_the_next_run_tries_again(gaia: GaiaFixture, flag: Path) -> None:
    gaia.upload("w", {}, COMMANDS, [check(flag)])
    for _ in range(2):
        with pytest.raises(AssertionError, match="exit code 3"):
            gaia.run()
    flag.touch()
    gaia.run()
    assert [event["event"] for event in gaia.events("w")].count("execution-start") == 3


def test_missing_inputs_are_named(gaia: GaiaFixture) -> None:
    gaia.upload("w", {}, COMMANDS, [COPY])
    with pytest.raises(
        AssertionError,
        match=r"(?s)'w': incomplete.*input 'a:from' is missing, and no Step makes it",
    ):
        gaia.run()


def test_a_timeout_names_the_running_step_and_its_log(gaia: GaiaFixture, flag: Path) -> None:
    gaia.upload("w", {}, COMMANDS, [hold(flag)])
    with pytest.raises(
        AssertionError, match=r"(?s)still runs after 0.3 s.*Step 'hold' runs\n    begun"
    ):
        gaia.run(timeout=0.3)
    flag.touch()
    gaia.run()


def test_an_unknown_workflow_is_refused_and_a_dry_run_runs_nothing(
    gaia: GaiaFixture, flag: Path
) -> None:
    with pytest.raises(InvalidInput, match="it doesn't exist"):
        gaia.run("nothing")
    gaia.upload("w", {}, COMMANDS, [check(flag)])
    gaia.wait("w")
    assert [step["step"] for step in gaia.run("w", dry_run=True)["would"]] == ["check"]
    gaia.upload("empty", {}, COMMANDS, [])
    assert gaia.run("empty") == {"run": "empty"}


# ---------------------------------------------------------------------------------------- leftovers


def test_unfinished_steps_are_named(gaia: GaiaFixture, flag: Path) -> None:
    assert gaia.unfinished() == []
    gaia.upload("w", {}, COMMANDS, [hold(flag), COPY])
    (told,) = gaia.unfinished()
    assert told.startswith("Step 'hold' of workflow 'w' (")
    assert "'w': running" in gaia.report()
    gaia.halt("w")
    assert gaia.unfinished() == []
    gaia.close()
    assert (gaia.unfinished(), gaia.report()) == ([], "")


def test_closing_stops_what_runs_at_once(tmp_path: Path, flag: Path) -> None:
    began = time.monotonic()
    with fresh(tmp_path, {"runtime": "process"}) as gaia:
        gaia.upload("w", {}, COMMANDS, [hold(flag)])
    assert time.monotonic() - began < 20
    with Gaia(gaia.config) as again:
        assert again.progress("w")["state"] == "halted"


def test_an_engine_that_somebody_else_keeps_open_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="another Gaia on its root is still open"):  # noqa: SIM117
        with fresh(tmp_path, {"runtime": "process"}) as gaia:
            gaia.upload("w", {}, COMMANDS, [])
            other = Gaia(gaia.config)
    other.close()


def test_threads_and_private_files_of_an_engine_are_told(tmp_path: Path) -> None:
    go = threading.Event()
    left = threading.Thread(target=go.wait, name="gaia-local-left", daemon=True)
    with pytest.raises(AssertionError) as failed:  # noqa: SIM117
        with fresh(tmp_path, {"runtime": "process"}) as gaia:
            gaia.upload("w", {}, COMMANDS, [])
            left.start()
            (gaia.root / "staging" / "0123").mkdir()
    go.set()
    left.join()
    assert (
        str(failed.value) == "the engine left behind: the thread gaia-local-left, the staging 0123"
    )
    assert os.listdir(gaia.root / "staging") == []


def test_the_fixture_runs_containers_and_leaves_none(
    tmp_path: Path, docker_image: str, flag: Path
) -> None:
    commands = [{**command, "image": docker_image} for command in COMMANDS]
    with fresh(tmp_path, {"runtime": "docker", "workers": 2, "docker": {"stop_grace": 0}}) as gaia:
        gaia.put("a:from", "text", workflow="w")
        gaia.upload("w", {}, commands, [COPY])
        gaia.run()
        assert gaia.get("a:to") == "text"
        assert "container-create" in [event["event"] for event in gaia.events("w")]
        gaia.upload("v", {}, commands, [hold(flag)])
        (told,) = gaia.unfinished()
        assert "'hold'" in told


def test_a_container_that_is_left_is_removed_and_told(tmp_path: Path, docker_image: str) -> None:
    labels = {"gaia-local.workflow": "w", "gaia-local.step": "s", "gaia-local.task": "t"}
    with contextlib.closing(connect(find_address())) as client:
        with pytest.raises(  # noqa: SIM117
            AssertionError, match="the engine left behind: the container "
        ) as failed:
            with fresh(tmp_path, {"runtime": "docker"}) as gaia:
                gaia.upload("w", {}, [], [])
                labels |= {ROOT_LABEL: str(gaia.root), IDENTITY_LABEL: read_identity(gaia.root)}
                made = client.create_container(docker_image, ["true"], labels=labels)
        assert made["Id"][:12] in str(failed.value)
        assert client.containers(all=True, filters={"id": made["Id"]}) == []


def test_a_marker_is_checked() -> None:
    check_marker(
        {
            "runtime": "docker",
            "workers": 1,
            "buckets": ["a"],
            "watch": False,
            "docker": {},
            "leave_running": True,
        }
    )
    with pytest.raises(InvalidInput, match="did you mean 'runtime'"):
        check_marker({"runtme": "docker"})
    with pytest.raises(InvalidInput, match="no key 'root'"):
        check_marker({"root": "/"})


def test_a_fresh_one_costs_little(tmp_path: Path) -> None:
    """Two, so that imports don't count; the limit is high, since machines differ."""
    for number in range(2):
        began = time.perf_counter()
        with fresh(tmp_path / str(number), {"runtime": "process"}) as gaia:
            gaia.upload("w", {}, COMMANDS, [])
        taken = time.perf_counter() - began
    assert taken < 1
