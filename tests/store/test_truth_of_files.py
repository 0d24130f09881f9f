"""Never a stale, truncated or foreign result called complete, after changes hard to detect.

Each test is of one kind of change, in the runtimes and modes of inputs where these differ.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.store import copying, fingerprints
from support.explaining import explain_step
from support.fixtures import MakeGaia, WaitUntil

WAYS = [
    pytest.param({"runtime": "process"}, id="process"),
    pytest.param({"runtime": "docker", "docker": {"inputs": "copy"}}, id="docker-copy"),
    pytest.param({"runtime": "docker", "docker": {"inputs": "mount"}}, id="docker-mount"),
]
SHOW = 'cd "$0" && for f in $(find -L . -type f | sort); do echo "$f"; cat "$f"; done'
OLD, NEW = "first\n", "other\n"


@pytest.fixture
def image(request: pytest.FixtureRequest) -> str:
    """The image of this way; nothing is looked up for processes."""
    way = request.node.callspec.params.get("way", {})
    return request.getfixturevalue("docker_image") if way.get("runtime") == "docker" else "i"


class Workflow:
    """One workflow ``w``, by shell commands; paths of keys are below `store`."""

    def __init__(self, gaia: Gaia, image: str) -> None:
        self.gaia, self.image = gaia, image
        self.store = gaia.path("w", "b:x").parent.parent
        self.commands: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []

    def step(
        self, name: str, command: str, inputs: dict[str, str], outputs: dict[str, str]
    ) -> None:
        """`inputs` and `outputs`: storage key → internal path."""
        tokens = ["sh", "-c", command]
        self.commands.append(
            {
                "name": name,
                "image": self.image,
                "command": tokens,
                "inputs": inputs,
                "outputs": outputs,
            }
        )
        self.steps.append(
            {
                "name": name,
                "command": name,
                "inputs": {k: k for k in inputs},
                "outputs": {k: k for k in outputs},
            }
        )

    def put(self, name: str, text: str) -> Path:
        place = self.store / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def upload(self) -> None:
        self.gaia.upload("w", {}, self.commands, self.steps)
        self.finish()

    def run(self) -> None:
        self.gaia.run("w")
        self.finish()

    def finish(self) -> None:
        assert self.gaia.wait("w", timeout=60)
        assert self.state == "complete", self.gaia.failures("w")

    @property
    def state(self) -> str:
        return str(self.gaia.status("w")["status"]["state"])

    def made(self, name: str) -> str:
        return (self.store / name).read_text()

    def runs(self, step: str) -> int:
        return sum(
            event["event"] == "step-start" and event["task"] == step
            for event in self.gaia.events("w")
        )


# ----------------------------------------------------------------------- read while somebody writes


@pytest.mark.parametrize("way", WAYS)
def test_a_file_saved_during_a_read_is_read_again(
    make_gaia: MakeGaia, image: str, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor truncates a file and writes the same text: the Step may get half of it."""
    workflow = Workflow(make_gaia(**way, watch=False), image)
    source = workflow.put("in/a", OLD * 100)
    workflow.step("s", "cat /in/a > /out/x", {"in:a": "/in/a"}, {"b:x": "/out/x"})
    torn: list[object] = []

    def halved(act: Callable[..., Any]) -> Callable[..., Any]:
        def while_it_is_half(*args: Any, **kwargs: Any) -> Any:
            if torn:
                return act(*args, **kwargs)
            torn.append(args)
            source.write_text(OLD)
            try:
                return act(*args, **kwargs)
            finally:
                source.write_text(OLD * 100)

        return while_it_is_half

    if way.get("docker", {}).get("inputs") == "mount":
        from gaia_local.runtimes.docker.runtime import DockerRuntime

        monkeypatch.setattr(DockerRuntime, "run", halved(DockerRuntime.run))
    else:
        monkeypatch.setattr(copying, "copy", halved(copying.copy))
    workflow.upload()
    assert torn
    workflow.run()
    assert workflow.made("b/x") == OLD * 100
    assert workflow.runs("s") == 2
    workflow.run()
    assert workflow.runs("s") == 2


# ----------------------------------------------------------------------------- same size, same time


def in_place(place: Path, text: str) -> None:
    status = place.stat()
    place.write_text(text)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))


def by_rename(place: Path, text: str) -> None:
    status = place.stat()
    new = place.with_name("new")
    new.write_text(text)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.rename(place)


@pytest.mark.parametrize("watch", [True, False], ids=["watched", "unwatched"])
@pytest.mark.parametrize("name", ["in/a", "in/d/deep/b"])
@pytest.mark.parametrize("edit", [in_place, by_rename])
def test_other_contents_of_the_same_size_and_time_are_seen(
    make_gaia: MakeGaia,
    edit: Callable[[Path, str], None],
    name: str,
    watch: bool,
    wait_until: WaitUntil,
) -> None:
    workflow = Workflow(make_gaia(watch=watch), "i")
    for source in ("in/a", "in/d/deep/b"):
        workflow.put(source, OLD)
    command = f"cat /in/a > /out/x; sh -c '{SHOW}' /in/d >> /out/x"
    workflow.step("s", command, {"in:a": "/in/a", "in:d/": "/in/d/"}, {"b:x": "/out/x"})
    workflow.upload()
    edit(workflow.store / name, NEW)
    if not watch:
        workflow.run()
    wait_until(lambda: workflow.runs("s") == 2)
    workflow.finish()
    assert NEW in workflow.made("b/x")
    os.utime(workflow.store / name)
    (workflow.store / name).chmod(0o644)
    workflow.run()
    assert workflow.runs("s") == 2, "only its time changed, and it ran again"


@pytest.mark.parametrize("edit", [in_place, by_rename])
def test_an_output_that_the_user_replaced_with_the_same_size_and_time_is_seen(
    make_gaia: MakeGaia, edit: Callable[[Path, str], None]
) -> None:
    workflow = Workflow(make_gaia(watch=False), "i")
    workflow.step("p", f"printf '{OLD}' > /out/x", {}, {"b:x": "/out/x"})
    workflow.step("r", "cat /in/x > /out/y", {"b:x": "/in/x"}, {"b:y": "/out/y"})
    workflow.upload()
    edit(workflow.store / "b/x", NEW)
    workflow.run()
    assert workflow.made("b/y") == NEW
    assert (workflow.runs("p"), workflow.runs("r")) == (1, 2)


def test_a_file_that_becomes_executable_is_another(
    make_gaia: MakeGaia, wait_until: WaitUntil
) -> None:
    workflow = Workflow(make_gaia(), "i")
    script = workflow.put("in/tool", "#!/bin/sh\necho ran\n")
    workflow.step(
        "s",
        "/in/tool > /out/x || echo refused > /out/x",
        {"in:tool": "/in/tool"},
        {"b:x": "/out/x"},
    )
    workflow.upload()
    assert workflow.made("b/x") == "refused\n"
    script.chmod(0o755)
    wait_until(lambda: workflow.runs("s") == 2)
    workflow.finish()
    assert workflow.made("b/x") == "ran\n"


# -------------------------------------------------------------------------------------------- links


def turn(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("link", ["in/l", "in/d/l", "in/d/dir"])
@pytest.mark.parametrize("turned", [True, False], ids=["turned", "its target changes"])
def test_the_target_of_a_link_counts(  # noqa: PLR0917
    make_gaia: MakeGaia, image: str, way: dict[str, Any], link: str, turned: bool, tmp_path: Path
) -> None:
    workflow = Workflow(make_gaia(**way, watch=False), image)
    workflow.put("in/d/plain", OLD)
    for side, text in (("one", OLD), ("two", NEW)):
        (tmp_path / side / "tree").mkdir(parents=True)
        for name in ("file", "tree/inner"):
            (tmp_path / side / name).write_text(text)
    (workflow.store / "in/l").symlink_to(tmp_path / "one/file")
    (workflow.store / "in/d/l").symlink_to(tmp_path / "one/file")
    (workflow.store / "in/d/dir").symlink_to(tmp_path / "one/tree")
    command = f"cat /in/l > /out/x; sh -c '{SHOW}' /in/d >> /out/x"
    workflow.step("s", command, {"in:l": "/in/l", "in:d/": "/in/d/"}, {"b:x": "/out/x"})
    workflow.upload()
    assert workflow.made("b/x") == OLD + f"./dir/inner\n{OLD}./l\n{OLD}./plain\n{OLD}"
    name = "tree" if link == "in/d/dir" else "file"
    if turned:
        turn(workflow.store / link, tmp_path / "two" / name)
    else:
        in_place(tmp_path / "one" / ("tree/inner" if name == "tree" else name), NEW)
    workflow.run()
    assert workflow.runs("s") == 2
    assert NEW in workflow.made("b/x")
    workflow.run()
    assert workflow.runs("s") == 2


# ----------------------------------------------------------------------------- files with two names


@pytest.mark.parametrize("way", WAYS)
def test_outputs_that_are_one_file_with_two_names_are_stored_as_two(
    make_gaia: MakeGaia, image: str, way: dict[str, Any]
) -> None:
    workflow = Workflow(make_gaia(**way, watch=False), image)
    made = (
        "echo one > /out/x && ln /out/x /out/y && "
        "mkdir -p /out/d && ln /out/x /out/d/1 && ln /out/x /out/d/2"
    )
    workflow.step("s", made, {}, {"b:x": "/out/x", "b:y": "/out/y", "b:d/": "/out/d/"})
    workflow.upload()
    places = [workflow.store / name for name in ("b/x", "b/y", "b/d/1", "b/d/2")]
    assert len({place.stat().st_ino for place in places}) == 4
    places[0].write_text("two\n")
    assert [place.read_text() for place in places[1:]] == ["one\n"] * 3


def test_a_second_name_that_a_program_keeps_does_not_change_what_is_stored(
    make_gaia: MakeGaia, tmp_path: Path
) -> None:
    workflow = Workflow(make_gaia(watch=False), "i")
    kept = tmp_path / "kept"
    workflow.step("s", f"echo one > /out/x && ln /out/x {kept}", {}, {"b:x": "/out/x"})
    workflow.upload()
    kept.write_text("two\n")
    workflow.run()
    assert (workflow.made("b/x"), workflow.runs("s")) == ("one\n", 1)


# --------------------------------------------------------------------------- entries of directories


@pytest.mark.parametrize("watch", [True, False], ids=["watched", "unwatched"])
def test_a_file_removed_from_a_directory_output_is_made_again(
    make_gaia: MakeGaia, watch: bool, wait_until: WaitUntil
) -> None:
    workflow = Workflow(make_gaia(watch=watch), "i")
    workflow.step(
        "p",
        "mkdir -p /out/d/deep && echo 1 > /out/d/one && echo 2 > /out/d/deep/two",
        {},
        {"b:d/": "/out/d/"},
    )
    workflow.step(
        "r", "cat /in/d/one /in/d/deep/two > /out/y", {"b:d/": "/in/d/"}, {"b:y": "/out/y"}
    )
    workflow.upload()
    (workflow.store / "b/d/deep/two").unlink()
    if not watch:
        assert workflow.gaia.run("w", dry_run=True)["would"][0] == {
            "step": "p",
            "reason": "output missing: b:d/deep/two",
        }
        workflow.run()
    wait_until(lambda: workflow.runs("p") == 2)
    workflow.finish()
    assert workflow.made("b/d/deep/two") == "2\n"
    assert workflow.runs("r") == 1, "what it read came out the same"


def test_a_directory_output_with_other_files_is_the_users(make_gaia: MakeGaia) -> None:
    workflow = Workflow(make_gaia(watch=False), "i")
    workflow.step(
        "p",
        "mkdir -p /out/d && echo 1 > /out/d/one && echo 2 > /out/d/two",
        {},
        {"b:d/": "/out/d/"},
    )
    workflow.step("r", "cat /in/d/* > /out/y", {"b:d/": "/in/d/"}, {"b:y": "/out/y"})
    workflow.upload()
    workflow.put("b/d/three", "3\n")
    (workflow.store / "b/d/one").unlink()
    workflow.run()
    assert workflow.made("b/y") == "3\n2\n"
    assert workflow.runs("p") == 1
    (workflow.store / "b/d/two").unlink()  # none of the user's files is missing
    workflow.run()
    assert workflow.made("b/y") == "3\n"
    assert workflow.runs("p") == 1


def test_explain_names_the_files_of_a_directory_that_changed(make_gaia: MakeGaia) -> None:
    workflow = Workflow(make_gaia(watch=False), "i")
    for name in ("kept", "edited", "deep/gone"):
        workflow.put(f"in/d/{name}", OLD)
    workflow.step("s", "ls /in/d > /out/x", {"in:d/": "/in/d/"}, {"b:x": "/out/x"})
    workflow.upload()
    assert explain_step(workflow.gaia, "w", "s")["changed"] == {}
    workflow.put("in/d/edited", NEW)
    workflow.put("in/d/new", NEW)
    (workflow.store / "in/d/deep/gone").unlink()
    (workflow.store / os.fsdecode(b"in/d/odd\xff")).touch()
    told = explain_step(workflow.gaia, "w", "s")
    assert told["because"] == "input changed: in:d/"
    assert told["changed"] == {
        "in:d/": {"added": ["new", "odd\\xff"], "changed": ["edited"], "removed": ["deep/gone"]},
    }
    workflow.gaia.halt("w")
    assert explain_step(workflow.gaia, "w", "s")["changed"] == told["changed"]
    workflow.run()
    assert explain_step(workflow.gaia, "w", "s")["changed"] == {}


def test_listings_are_forgotten_with_their_directories(make_gaia: MakeGaia) -> None:
    from gaia_local.state.database import Database

    gaia = make_gaia(watch=False)
    workflow = Workflow(gaia, "i")
    workflow.put("in/d/one", OLD)
    workflow.step(
        "s", "mkdir -p /out/e && cp /in/d/* /out/e", {"in:d/": "/in/d/"}, {"b:e/": "/out/e/"}
    )
    workflow.upload()
    workflow.put("in/d/one", NEW)
    workflow.run()
    root = workflow.store.parent.parent
    gaia.close()
    database = Database(root / "gaia.db")
    assert len(database._rows("select digest from listings")) == 2
    database.forget_listings()
    kept = database._rows("select digest from listings")
    assert kept == [(fingerprints.digest(str(workflow.store / "in/d")),)]
    database.delete_workflow("w")
    database.forget_listings()
    assert database._rows("select digest from listings") == []
    database.close()
