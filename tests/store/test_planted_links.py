"""Links that a Step plants in its outputs are never followed out of them."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest

from gaia_local import GaiaError
from gaia_local.errors import InvalidInput
from gaia_local.runtimes.docker import files as docker_files
from gaia_local.store import fingerprints, walking
from support.fixtures import MakeGaia, WaitUntil
from support.links import PLANT, READ, let_in, outside, plant, planted, reader

__all__ = ["let_in", "outside"]


@pytest.mark.usefixtures("let_in")
def test_planted_links_are_kept_and_not_followed(
    make_gaia: MakeGaia, outside: Path, gaia_root: Path, wait_until: WaitUntil
) -> None:
    """If they were published: refused as inputs if they lead out, else resolved."""
    gaia = make_gaia()
    out = ["file", "relative", "chain"]
    plant(gaia, planted(outside), steps=[reader(name) for name in (*out, "own2")])
    tree = gaia.path("w", "tree/")
    assert os.readlink(tree / "file") == f"{outside}/file" and (tree / "loop").is_symlink()
    tasks = gaia.status("w", debug=True)["status"]["tasks"]
    assert {name: tasks[name]["state"] for name in tasks} == {
        **dict.fromkeys(("plant", "own2"), "complete"),
        **dict.fromkeys(out, "exception"),
    }
    told = {failure["step"]: failure["message"] or "" for failure in gaia.failures("w")}
    assert all(f"'tree/{name}' leads out of the store" in told[name] for name in out)
    assert gaia.path("w", "read/own2").read_text() == "inner\n"
    wait_until(lambda: not list(gaia_root.glob("staging/*")))


TRAP = {
    "directory": "ln -s {outside} /out/tree/trap",
    "in a directory": "mkdir /out/tree/trap; ln -s {outside}/file /out/tree/trap/file",
    "up": "ln -s {up}{outside} /out/tree/trap",
    "chain": (
        "cd /out/tree; mkdir -p a/b/c; ln -s ../../../t a/b/c/s; mkdir t; "
        "ln -s a/b/c/s/{up}{outside} trap"
    ),
}


@pytest.mark.parametrize("trap", TRAP)
@pytest.mark.parametrize("way", ["shared bucket", "delete", "merge"])
def test_no_planted_link_is_ever_taken_for_the_users(
    make_gaia: MakeGaia, outside: Path, trap: str, way: str
) -> None:
    """The key below the link becomes one that no Step makes, but the link was refused."""
    gaia = make_gaia(buckets={"shared": outside.parent / "shared"})
    key = "shared:tree/" if way == "shared bucket" else "tree/"
    code = TRAP[trap].format(outside=outside, up="/".join([".."] * 40))
    sow = {"name": "sow", "command": "plant", "outputs": {"tree": key}, "vars": {"code": code}}
    reap = {
        "name": "reap",
        "command": "read",
        "inputs": {"it": f"{key}trap/file"},
        "outputs": {"it": "stolen"},
    }
    gaia.upload("w", {}, [PLANT, READ], [sow])
    gaia.wait("w", 30)
    (failure,) = gaia.failures("w")
    assert failure["state"] == "error"
    assert f"output {key!r} can't be stored: its link 'trap" in (failure["message"] or "")
    assert "copy the file instead, or leave the link out" in (failure["message"] or "")
    assert not gaia.path("w", key).exists()
    last = "w"
    if way == "merge":
        moved = {**sow, "outputs": {"tree": "elsewhere/"}, "vars": {"code": "true"}}
        gaia.merge("w", [moved, reap])
        gaia.run("w")
    else:
        if way == "delete":
            gaia.delete("w")
        else:
            last = "v"
        gaia.upload(last, {}, [READ], [reap])
    status = gaia.wait(last, 30)
    assert status["state"] == "incomplete" and f"{key}trap/file" in json.dumps(status), status
    assert not gaia.path(last, "stolen").exists()
    gaia.close()  # until then staging directories come and go
    for path in (
        *outside.parent.joinpath("root").rglob("*"),
        *outside.parent.joinpath("shared").rglob("*"),
    ):
        assert not path.is_symlink() and (
            not path.is_file() or b"alive" not in path.read_bytes()
        ), path


def test_a_fingerprint_of_a_tree_says_nothing_of_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "secret").write_text("one")
    for name, target in (("file", "../secret"), ("dir", ".."), ("loop", "loop")):
        (tmp_path / "tree" / name).symlink_to(target)
    before = fingerprints.fingerprint(str(tmp_path / "tree"))
    (tmp_path / "secret").write_text("another")
    assert before is not None and fingerprints.fingerprint(str(tmp_path / "tree")) == before
    assert [relative for relative, _, _ in walking.walk(str(tmp_path / "tree"))] == [
        "dir",
        "file",
        "loop",
    ]


@pytest.mark.parametrize("target", ["{outside}/file", "{outside}", "../../../../../../../../etc"])
def test_an_output_that_is_a_link_to_elsewhere_was_not_made(
    make_gaia: MakeGaia, outside: Path, target: str
) -> None:
    gaia = make_gaia()
    plant(gaia, f"rmdir /out/tree; ln -s {target.format(outside=outside)} /out/tree")
    assert gaia.status("w")["state"] == "error"
    (failure,) = gaia.failures("w")
    assert failure["state"] == "error" and "'tree/'" in (failure["message"] or "")
    assert not gaia.path("w", "tree/").exists()


@pytest.mark.usefixtures("let_in")
def test_stdout_is_not_written_through_a_planted_link(make_gaia: MakeGaia, outside: Path) -> None:
    """The engine opens that file itself, in a copy of another Step's output."""
    say = {
        **READ,
        "name": "say",
        "command": ["echo", "overwritten"],
        "inputs": {"it": "/in/"},
        "stdout": "/in/file",
        "outputs": {"it": "/in/file"},
    }
    step = {"name": "say", "command": "say", "inputs": {"it": "tree/"}, "outputs": {"it": "said"}}
    gaia = make_gaia()
    plant(gaia, planted(outside), commands=[say], steps=[step])
    assert gaia.status("w")["state"] == "complete", gaia.failures("w")
    assert gaia.path("w", "said").read_text() == "overwritten\n"
    assert (outside / "file").read_text() == "alive"


def test_stdout_may_not_become_an_input(make_gaia: MakeGaia) -> None:
    """Not by way of a var, either."""
    command = {**READ, "stdout": "/in/{{name}}", "vars": {"name": "it"}}
    step = {"name": "s", "command": "read", "inputs": {"it": "a"}, "outputs": {"it": "b"}}
    with pytest.raises(InvalidInput, match=r"'s'.*'/in/it'"):
        make_gaia().upload("w", {}, [command], [step])


@pytest.mark.usefixtures("let_in")
def test_outputs_are_not_stored_through_a_planted_link(make_gaia: MakeGaia, outside: Path) -> None:
    """A link that an earlier definition left in the store leads no later output out."""
    gaia = make_gaia()
    plant(gaia, planted(outside))
    gaia.delete("w")
    again = {
        "name": "again",
        "command": "read",
        "inputs": {"it": "a"},
        "outputs": {"it": "tree/there/file"},
    }
    gaia.upload("w", {}, [READ], [again])
    gaia.path("w", "a").write_text("overwritten")
    gaia.run("w")
    # `file` is there already, so it is made anew only when it is expired.
    gaia.expire("w", ["again"])
    gaia.wait("w", 30)
    (failure,) = gaia.failures("w")
    assert "leads out of the store" in (failure["message"] or "")


@pytest.mark.usefixtures("let_in")
def test_pull_inputs_follows_no_planted_link(
    make_gaia: MakeGaia, outside: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = {
        **READ,
        "name": "whole",
        "command": ["true"],
        "inputs": {"it": "/in/sub/"},
        "outputs": {"it": ">"},
    }
    step = {
        "name": "whole",
        "command": "whole",
        "inputs": {"it": "tree/"},
        "outputs": {"it": "log"},
    }
    gaia = make_gaia()
    plant(gaia, planted(outside), commands=[whole], steps=[step, reader("file")])
    pulled = tmp_path_factory.mktemp("here")
    for _ in range(2):  # the second time over the first copy
        gaia.pull_inputs("w", "whole", str(pulled))
    assert (
        os.readlink(pulled / "sub" / "file") == f"{outside}/file"
        and (pulled / "sub" / "there").is_symlink()
    )
    assert (pulled / "sub" / "dir" / "file").read_text() == "deep\n"
    with pytest.raises(GaiaError, match="'tree/file' leads out of the store"):
        gaia.pull_inputs("w", "file", str(pulled))
    with pytest.raises(GaiaError, match="leads out of"):
        gaia.pull_inputs("w", "whole", str(pulled), path_fn=lambda _: "sub/there/x")
    assert sorted(path.name for path in pulled.iterdir()) == ["sub"]


def test_pull_inputs_stays_below_its_root(
    make_gaia: MakeGaia, outside: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two slashes in an internal path make no absolute one."""
    pulled = tmp_path_factory.mktemp("here")
    command = {**READ, "inputs": {"it": f"/in/{outside}/new"}}
    gaia = make_gaia()
    gaia.upload(
        "w",
        {},
        [command],
        [{"name": "s", "command": "read", "inputs": {"it": "a"}, "outputs": {"it": "b"}}],
    )
    gaia.path("w", "a").parent.mkdir(parents=True, exist_ok=True)
    gaia.path("w", "a").write_text("pulled")
    gaia.pull_inputs("w", "s", str(pulled))
    assert (pulled / str(outside).lstrip("/") / "new").read_text() == "pulled"


@pytest.mark.usefixtures("let_in")
def test_delete_removes_links_and_not_what_they_lead_to(
    make_gaia: MakeGaia, outside: Path, gaia_root: Path
) -> None:
    gaia = make_gaia()
    plant(gaia, planted(outside))
    gaia.delete("w", data=True)
    assert (outside / "file").read_text() == "alive"
    assert not (gaia_root / "storage" / "w").exists() and not (gaia_root / "logs" / "w").exists()


@pytest.mark.usefixtures("let_in")
@pytest.mark.skipif(
    not Path("/proc/self/fdinfo").exists(), reason="the system doesn't tell what is watched"
)
def test_watching_follows_no_planted_link(
    make_gaia: MakeGaia, outside: Path, wait_until: WaitUntil
) -> None:
    gaia = make_gaia()
    plant(gaia, planted(outside))
    inner = gaia.path("w", "tree/dir")
    wait_until(lambda: inner.stat().st_ino in _watched())
    assert outside.stat().st_ino not in _watched()
    assert outside.parent.stat().st_ino not in _watched()


def _watched() -> set[int]:
    """The inodes that this process watches."""
    found = set()
    for info in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):
            for line in info.read_text().splitlines():
                if line.startswith("inotify"):
                    found.add(int(line.split("ino:")[1].split()[0], 16))
    return found


@pytest.mark.parametrize("name", ["file", "there/new", "dangling"])
def test_no_place_for_a_mount_is_made_through_a_planted_link(
    tmp_path: Path, outside: Path, name: str
) -> None:
    """An input that is mounted into the copy of another one, in which a Step planted links."""
    tree = tmp_path / "root" / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "in" / "file").symlink_to(outside / "file")
    (tree / "in" / "there").symlink_to(outside)
    (tree / "in" / "dangling").symlink_to(outside / "new")
    with pytest.raises(GaiaError, match=f"/in/{name}"):
        docker_files._make_mount_point(f"/in/{name}", outside / "file", {"/in"}, {}, tree)
    docker_files._make_mount_point("/in/own/new", outside / "file", {"/in"}, {}, tree)
    assert (tree / "in" / "own" / "new").is_file()
