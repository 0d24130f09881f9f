"""Reuse from end to end, with processes: which Tasks are given results, and which must run."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.executors import reusing
from gaia_local.store import copying
from support.builders import step
from support.counting import Counter, completed, put, ran, reused_steps
from support.fixtures import MakeGaia
from support.gates import FileGate

INPUT = {"in:a": "hello\n"}
STEP = step("s", "c", "o:x", "in:a")


@pytest.fixture
def count(tmp_path: Path) -> Counter:
    return Counter(tmp_path / "count")


@pytest.fixture
def gaia(make_gaia: MakeGaia) -> Gaia:
    return make_gaia(reuse=True)


@pytest.fixture
def copied(gaia: Gaia, count: Counter) -> dict[str, Any]:
    """A Command whose one Step is complete in the workflow ``w1``; each of its runs counts."""
    made = count.command("c", "cat /in/a > /out/x; echo said", "a")
    ran(gaia, "w1", [made], [STEP], INPUT)
    assert count.runs == {"c": 1}
    return made


def files(gaia: Gaia, workflow: str, key: str) -> dict[str, tuple[str, ...]]:
    """All that lies at a key: relative path → kind or permissions, and text or target."""
    top = gaia.path(workflow, key)
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted([top, *top.rglob("*")]):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory",)
        else:
            found[name] = (stat.filemode(path.stat().st_mode), path.read_text())
    return found


# -------------------------------------------------------------------------------------------- hits


def test_an_equal_task_of_another_workflow_is_given_the_result(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    assert count.runs == {"c": 1}
    assert gaia.path("w2", "o:x").read_text() == "hello\n"
    assert reused_steps(gaia, "w2") == {"s": "w1/s"}
    assert gaia.progress("w2")["reused"] == 1
    kinds = [event["event"] for event in gaia.events("w2")]
    assert kinds == ["step-reused", "data-complete", "step-complete", "flow-complete"]
    explained = gaia.explain("w2", "s")
    assert explained["last"]["reused"]["workflow"] == "w1"  # type: ignore[typeddict-item, index]
    assert gaia.logs("w2", "s") == "said\n"
    assert gaia.path("w2", "o:x").stat().st_ino != gaia.path("w1", "o:x").stat().st_ino


def test_a_step_that_makes_nothing_but_its_log_runs(gaia: Gaia, count: Counter) -> None:
    made = count.command("c", "cat /in/a", "a", log=">>")
    one = step("s", "c", inputs={"a": "in:a"}, outputs={"log": "o:log"})
    for name in ("w1", "w2"):  # no digest of it could tell whether the log is whole
        ran(gaia, name, [made], [one], INPUT)
        assert "\nhello\n" in gaia.path(name, "o:log").read_text()
    assert count.runs == {"c": 2}


def test_names_of_steps_keys_and_commands_dont_matter(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    other = {**copied, "name": "renamed", "resources": {"cpus": 1}}
    again = step("t", "renamed", "elsewhere:y", "from:b", timeout=7)
    ran(gaia, "w2", [other], [again], {"from:b": "hello\n"})
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 1}, {"t": "w1/s"})


def test_equal_tasks_of_one_workflow(gaia: Gaia, count: Counter) -> None:
    made = count.command("c", "cat /in/a > /out/x", "a")
    chain = count.command("d", "cat /in/a > /out/x; echo more >> /out/x", "a")
    steps = [
        step("s1", "c", "o:1", "in:a"),
        step("s2", "c", "o:2", "in:a"),
        step("s3", "c", "o:3", "o:1"),  # reads what it would make: equal, too
        step("t1", "d", "o:4", "o:2"),
        step("t2", "d", "o:5", "o:3"),
    ]
    ran(gaia, "w", [made, chain], steps, INPUT)
    assert count.runs == {"c": 1, "d": 1}
    assert len(reused_steps(gaia, "w")) == 3
    assert gaia.path("w", "o:5").read_text() == "hello\nmore\n"


RICH = (
    "mkdir -p /out/d/empty /out/d/deep; echo 1 > /out/d/deep/f; ln -s deep/f /out/d/link; "
    "ln -s nowhere /out/d/dangling; echo '#!/bin/sh' > /out/run; chmod +x /out/run; "
    "cp -p /out/run /out/d/run; ln /out/run /out/d/linked; chmod 640 /out/d/deep/f; "
    "echo part > /out/d/part; echo told; echo wrong >&2"
)


def test_outputs_of_all_kinds(gaia: Gaia, count: Counter) -> None:
    outputs = {
        "d": "/out/d/",
        "part": "/out/d/part",
        "same": "/out/d/",
        "run": "/out/run",
        "said": ">",
        "said2": "STDOUT",
        "log": ">>",
        "plain": "/out/plain",
    }
    made = {**count.command("c", RICH, **outputs), "stdout": "/out/plain"}
    keys = {
        "d": "o:d/",
        "part": "elsewhere:part",
        "same": "o:d2/",
        "run": "o:run",
        "said": "o:said",
        "said2": "o:said2",
        "log": "o:log",
        "plain": "o:plain",
    }
    one = step("s", "c", outputs=keys)
    ran(gaia, "w1", [made], [one])
    ran(gaia, "w2", [made], [one])
    assert count.runs == {"c": 1}
    for key in set(keys.values()) - {"o:log"}:
        assert files(gaia, "w2", key) == files(gaia, "w1", key), key
    found = files(gaia, "w2", "o:d/")
    assert found["link"] == ("link", "deep/f")
    assert found["linked"][0] == found["run"][0] == "-rwxr-xr-x"
    assert found["deep/f"][0] == "-rw-r-----"
    assert found["dangling"] == ("link", "nowhere")
    assert found["empty"] == ("directory",)
    assert files(gaia, "w2", "o:run") == {".": ("-rwxr-xr-x", "#!/bin/sh\n")}
    assert gaia.path("w2", "o:said").read_text() == gaia.path("w2", "o:said2").read_text()
    assert gaia.path("w2", "o:plain").read_text() == "told\n"
    log = gaia.path("w2", "o:log").read_text()
    task = gaia.explain("w1", "s")["last"]["task"]  # type: ignore[typeddict-item, index]
    assert f"# reused from: workflow 'w1', Step 's', Task {task}\n" in log
    assert "# workflow: w2\n" in log
    assert "told\n" in log and "# complete\n" in log
    ran(gaia, "w3", [made], [one])  # of one that was reused itself
    assert count.runs == {"c": 1}
    assert files(gaia, "w3", "o:d/") == found
    assert gaia.logs("w3", "s") == gaia.logs("w1", "s")


def test_copies_arent_links_that_an_editor_could_write_through(
    gaia: Gaia, copied: dict[str, Any]
) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    with gaia.path("w2", "o:x").open("r+") as opened:
        opened.write("J")
    assert gaia.path("w1", "o:x").read_text() == "hello\n"


def test_a_directory_input_counts_with_all_in_it(gaia: Gaia, count: Counter) -> None:
    made = count.command("c", "cat /in/a/* > /out/x")
    made["inputs"] = {"a": "/in/a/"}
    one = step("s", "c", "o:x", "in:d/")
    ran(gaia, "w1", [made], [one], {"in:d/1": "1\n", "in:d/2": "2\n"})
    ran(gaia, "w2", [made], [one], {"in:d/1": "1\n", "in:d/2": "2\n"})
    assert count.runs == {"c": 1}
    ran(gaia, "w3", [made], [one], {"in:d/1": "1\n", "in:d/3": "2\n"})
    assert count.runs == {"c": 2}


def test_composites_and_arrays(gaia: Gaia, count: Counter) -> None:
    inner = count.command("c", "cat /in/a > /out/x; echo {{n}} >> /out/x", "a")
    inner["vars"] = {"n": 0}
    outer = {
        "name": "both",
        "inputs": ["a"],
        "outputs": ["x"],
        "steps": [
            {"name": "1", "command": "c", "inputs": {"a": "a"}, "outputs": {"x": "between"}},
            {"name": "2", "command": "c", "inputs": {"a": "between"}, "outputs": {"x": "x"}},
        ],
    }
    steps = [
        step("s", "both", "o:x", "in:a"),
        step("many", "c", "o:{{n}}", "in:a", vars={"n": [0, 1, 2]}),
    ]
    for name in ("w1", "w2"):
        ran(gaia, name, [inner, outer], steps, INPUT)
        assert count.runs == {"c": 4}  # `many-0` equals the first inner Step
    assert len(reused_steps(gaia, "w2")) == 5
    assert gaia.path("w2", "o:x").read_text() == "hello\n0\n0\n"


def test_a_shared_bucket_and_one_in_another_place(
    make_gaia: MakeGaia, count: Counter, tmp_path: Path
) -> None:
    shared, large = tmp_path / "shared", tmp_path / "large"
    gaia = make_gaia(reuse=True, buckets={"in": shared, "o": large})
    made = count.command("c", "cat /in/a > /out/x", "a")
    ran(gaia, "w1", [made], [step("s", "c", "o:x", "in:a")], INPUT)
    # The same key is the same file: it lies there already, and another workflow made it so.
    ran(gaia, "w2", [made], [step("s", "c", "o:x", "in:a")])
    ran(gaia, "w3", [made], [step("s", "c", "o:y", "in:a")])
    assert count.runs == {"c": 1}
    assert (large / "y").read_text() == "hello\n"
    (shared / "a").write_text("other\n")
    ran(gaia, "w4", [made], [step("s", "c", "o:z", "in:a")])
    assert count.runs == {"c": 2}
    assert (large / "z").read_text() == "other\n"


def test_an_input_that_is_a_users_link(gaia: Gaia, count: Counter, tmp_path: Path) -> None:
    made = count.command("c", "cat /in/a > /out/x", "a")
    ran(gaia, "w1", [made], [STEP], INPUT)
    target = tmp_path / "target"
    target.write_text("hello\n")
    place = gaia.path("w2", "in:a")
    place.parent.mkdir(parents=True)
    place.symlink_to(target)
    ran(gaia, "w2", [made], [STEP])
    assert count.runs == {"c": 1}


def test_a_reopened_root_and_a_run_without_reuse_before(
    make_gaia: MakeGaia, count: Counter
) -> None:
    made = count.command("c", "cat /in/a > /out/x", "a")
    with make_gaia() as off:
        for name in ("w1", "w2"):
            ran(off, name, [made], [STEP], INPUT)
    assert count.runs == {"c": 2}  # off by default
    gaia = make_gaia(reuse=True)
    ran(gaia, "w3", [made], [STEP], INPUT)
    assert (count.runs, reused_steps(gaia, "w3")) == ({"c": 2}, {"s": "w2/s"})


def test_an_output_that_was_removed_comes_from_another_workflow(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    gaia.path("w2", "o:x").unlink()
    gaia.run("w2")
    completed(gaia, "w2")
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 1}, {"s": "w1/s"})
    gaia.path("w1", "o:x").unlink()
    gaia.run("w1")
    completed(gaia, "w1")
    assert (count.runs, reused_steps(gaia, "w1")) == ({"c": 1}, {"s": "w2/s"})


def test_a_command_changed_and_changed_back_has_its_result_in_another_workflow(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    gaia.command("w2", [count.command("c", "echo other > /out/x", "a")])
    completed(gaia, "w2")
    assert gaia.path("w2", "o:x").read_text() == "other\n"
    gaia.command("w2", [copied])
    completed(gaia, "w2")
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 2}, {"s": "w1/s"})
    assert gaia.path("w2", "o:x").read_text() == "hello\n"


# ---------------------------------------------------------------------------------------- non-hits


@pytest.mark.parametrize(
    "change",
    [
        {"vars": {"n": 2}},
        {"inputs": {"a": "/in/a", "b": "/in/c"}},
        {"stdout": "/out/said"},
        {"outputs": {"x": "/out/x", "said": ">"}},
        {"outputs": {"x": "/out/x", "log": ">>"}},
        {"reuse": False},
    ],
    ids=["tokens", "internal path", "stdout", "captured", "log", "reuse: false"],
)
def test_another_definition_runs(gaia: Gaia, count: Counter, change: dict[str, Any]) -> None:
    made = count.command("c", "cat /in/a > /out/x; echo said {{n}}", "a", "b")
    made["vars"] = {"n": 1}
    inputs = {"a": "in:a", "b": "in:b"}
    put(gaia, "w1", {"in:b": "unread\n"})
    ran(gaia, "w1", [made], [step("s", "c", "o:x", "in:a", "in:b")], INPUT)
    other = {**made, **change}
    keys = {key: f"o:{key}" for key in other["outputs"]}
    put(gaia, "w2", {"in:b": "unread\n"})
    ran(gaia, "w2", [other], [step("s", "c", inputs=inputs, outputs=keys)], INPUT)
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 2}, {})
    assert gaia.path("w2", "o:x").read_text() == "hello\n"


def test_a_directory_isnt_a_file_of_that_path(gaia: Gaia, count: Counter) -> None:
    script = "test -d /out/x && echo 1 > /out/x/f || echo 1 > /out/x"
    made = count.command("c", script)
    ran(gaia, "w1", [made], [step("s", "c", "o:x")])
    ran(gaia, "w2", [made], [step("s", "c", "o:x/")])
    assert count.runs == {"c": 2}
    assert gaia.path("w2", "o:x/").is_dir()


@pytest.mark.parametrize("kind", ["content", "executable"])
def test_another_input_runs(gaia: Gaia, count: Counter, copied: dict[str, Any], kind: str) -> None:
    put(gaia, "w2", INPUT if kind == "executable" else {"in:a": "hellO\n"})
    if kind == "executable":  # a program can tell
        gaia.path("w2", "in:a").chmod(0o755)
    ran(gaia, "w2", [copied], [STEP])
    assert count.runs == {"c": 2}
    if kind == "content":
        put(gaia, "w2", INPUT)  # and back: as another workflow has it
        gaia.run("w2")
        completed(gaia, "w2")
        assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 2}, {"s": "w1/s"})


def edit(path: Path) -> None:
    path.write_text("edited\n")


def edit_unseen(path: Path) -> None:
    """Keep the size and the time of modification."""
    before = path.stat()
    text = path.read_text()
    path.write_text(text.swapcase())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def make_executable(path: Path) -> None:
    path.chmod(0o755)


@pytest.mark.parametrize("change", [edit, edit_unseen, make_executable, Path.unlink])
@pytest.mark.parametrize("watch", [True, False])
@pytest.mark.parametrize("inside", [False, True])
def test_an_edited_or_vanished_output_is_no_result(
    make_gaia: MakeGaia, count: Counter, change: Any, watch: bool, inside: bool
) -> None:
    gaia = make_gaia(reuse=True, watch=watch)
    output = {"x": "/out/x/" if inside else "/out/x"}
    made = count.command("c", f"cat /in/a > /out/x{'/f' if inside else ''}", "a", **output)
    one = step("s", "c", "o:x/" if inside else "o:x", "in:a")
    made["reuse"] = True
    ran(gaia, "w1", [made], [one], INPUT)
    gaia.halt("w1")  # else it would be made again, and be a result again
    change(gaia.path("w1", "o:x/") / "f" if inside else gaia.path("w1", "o:x"))
    ran(gaia, "w2", [made], [one], INPUT)
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 2}, {})
    path = gaia.path("w2", one["outputs"]["x"])
    path = path / "f" if inside else path
    assert (path.read_text(), path.stat().st_mode & stat.S_IXUSR) == ("hello\n", 0)


def test_an_older_result_serves_if_the_newest_was_edited(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    gaia.halt("w2")
    edit(gaia.path("w2", "o:x"))
    ran(gaia, "w3", [copied], [STEP], INPUT)
    assert (count.runs, reused_steps(gaia, "w3")) == ({"c": 1}, {"s": "w1/s"})
    assert gaia.path("w3", "o:x").read_text() == "hello\n"


def test_a_deleted_workflow_gives_nothing(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    gaia.delete("w1", data=True)
    assert gaia.reusable() == []
    ran(gaia, "w2", [copied], [STEP], INPUT)
    assert count.runs == {"c": 2}
    gaia.delete("w2")  # its files stay, and their records go
    ran(gaia, "w3", [copied], [STEP], INPUT)
    assert count.runs == {"c": 3}


def test_an_expired_step_runs_and_its_result_is_taken_away_everywhere(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    for name in ("w2", "w3"):
        ran(gaia, name, [copied], [STEP], INPUT)
    gaia.expire("w2", ["s"])
    completed(gaia, "w2")
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 2}, {})
    ran(gaia, "w4", [copied], [STEP], INPUT)  # what ran after that counts
    assert (count.runs, reused_steps(gaia, "w4")) == ({"c": 2}, {"s": "w2/s"})
    gaia.delete("w2")
    gaia.delete("w4")
    ran(gaia, "w5", [copied], [STEP], INPUT)  # not those of w1 and w3
    assert count.runs == {"c": 3}


def test_what_began_before_an_expiry_is_given_to_nobody(
    gaia: Gaia, count: Counter, tmp_path: Path
) -> None:
    gate = FileGate(tmp_path / "gate")
    made = count.command("c", f"{gate.hold(gate.folder)}; cat /in/a > /out/x", "a")
    gate.open()
    for name in ("w1", "w2"):
        ran(gaia, name, [made], [STEP], INPUT)
    (gate.folder / "go").unlink()
    gaia.expire("w1", ["s"])  # it runs when its equal is expired, too
    gaia.expire("w2", ["s"])
    gate.open()
    for name in ("w1", "w2"):
        completed(gaia, name)
    assert count.runs == {"c": 3}
    gaia.delete("w2")  # its result began after that
    ran(gaia, "w3", [made], [STEP], INPUT)
    assert count.runs == {"c": 4}


@pytest.mark.parametrize("reopened", [False, True])
def test_a_command_changed_and_changed_back_after_expire(
    make_gaia: MakeGaia, gaia: Gaia, count: Counter, copied: dict[str, Any], reopened: bool
) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    gaia.halt("w2")
    gaia.path("w2", "in:a").unlink()  # so nothing can start
    gaia.expire("w2", ["s"])
    other = count.command("d", "echo other > /out/x", "a")
    gaia.command("w2", [{**other, "name": "c"}])
    if reopened:
        gaia.close()
        gaia = make_gaia(reuse=True)
    gaia.command("w2", [copied])
    put(gaia, "w2", INPUT)
    gaia.run("w2")
    completed(gaia, "w2")
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 2}, {})


def test_expired_and_halted_it_still_runs(
    make_gaia: MakeGaia, gaia: Gaia, count: Counter, tmp_path: Path
) -> None:
    gate = FileGate(tmp_path / "gate")
    made = count.command("c", f"{gate.hold(gate.folder)}; cat /in/a > /out/x", "a")
    gate.open()
    for name in ("w1", "w2"):
        ran(gaia, name, [made], [STEP], INPUT)
    (gate.folder / "go").unlink()
    gaia.expire("w2", ["o:x"])
    gaia.halt("w2")
    gate.open()
    ran(gaia, "w3", [made], [STEP], INPUT)  # a result that is newer than the wish
    before = count.runs["c"]
    gaia.close()
    gaia = make_gaia(reuse=True)
    gaia.run("w2")
    completed(gaia, "w2")
    assert (count.runs["c"], reused_steps(gaia, "w2")) == (before + 1, {})


def test_reuse_false_is_no_change_of_a_command(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    gaia.command("w1", [{**copied, "reuse": False}])
    completed(gaia, "w1")
    assert count.runs == {"c": 1}  # its result was made when it could be reused
    ran(gaia, "w2", [copied], [STEP], INPUT)
    assert count.runs == {"c": 1}
    ran(gaia, "w3", [{**copied, "reuse": False}], [STEP], INPUT)
    assert count.runs == {"c": 2}
    gaia.delete("w1")
    gaia.delete("w2")
    ran(gaia, "w4", [copied], [STEP], INPUT)  # nor are results of such a Command given to others
    assert count.runs == {"c": 3}


def program(folder: Path, text: str) -> Path:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("change", ["size", "mtime", "path"])
def test_another_program_runs(
    gaia: Gaia, count: Counter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    # Otherwise each change of PATH may cost a run within a second.
    monkeypatch.setattr(reusing, "IDENTITY_SECONDS", 0.0)
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    text = f'echo p >> \'{count.path}\'; cat "$1" > "$2"'
    path = program(one, text)
    os.utime(path, ns=(1, 10**18))
    monkeypatch.setenv("PATH", f"{one}:{other}:{os.environ['PATH']}")
    made = {
        "name": "c",
        "image": "i",
        "command": ["program", "/in/a", "/out/x"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
    }
    for name in ("w1", "w2"):
        ran(gaia, name, [made], [STEP], INPUT)
    assert count.runs == {"p": 1}
    if change == "size":
        program(one, text + ";")
        os.utime(path, ns=(1, 10**18))
    elif change == "mtime":
        os.utime(path, ns=(1, 10**18 + 1))
    else:
        path.rename(other / "program")
        monkeypatch.setenv("PATH", f"{other}:{os.environ['PATH']}")
    ran(gaia, "w3", [made], [STEP], INPUT)
    assert count.runs == {"p": 2}


def test_another_environment_runs(
    gaia: Gaia, count: Counter, copied: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VARIABLE_OF_PROGRAMS", "1")
    ran(gaia, "w2", [copied], [STEP], INPUT)
    assert (count.runs, reused_steps(gaia, "w2")) == ({"c": 2}, {})
    monkeypatch.setattr(reusing, "IDENTITY_SECONDS", 0.0)
    monkeypatch.delenv("VARIABLE_OF_PROGRAMS")
    ran(gaia, "w3", [copied], [STEP], INPUT)
    assert (count.runs, reused_steps(gaia, "w3")) == ({"c": 2}, {"s": "w1/s"})


def test_a_program_that_is_an_input_is_known_by_its_content(gaia: Gaia, count: Counter) -> None:
    made = {
        "name": "c",
        "image": "i",
        "command": ["/in/a", "/out/x"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
    }
    for name, text in (("w1", "one"), ("w2", "one"), ("w3", "two")):
        script = f"#!/bin/sh\necho p >> '{count.path}'; echo {text} > \"$1\"\n"
        put(gaia, name, {"in:a": script})
        gaia.path(name, "in:a").chmod(0o755)
        ran(gaia, name, [made], [STEP])
        assert gaia.path(name, "o:x").read_text() == f"{text}\n"
    assert count.runs == {"p": 2}


@pytest.mark.parametrize("key", ["o:d/", "o:x"])
def test_a_source_that_vanishes_in_the_midst_of_copying(
    gaia: Gaia, count: Counter, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    script = "cat /in/a > /out/x; seq 9 > /out/d/1; seq 9 > /out/d/2; echo said"
    made = count.command("c", script, "a", x="/out/x", d="/out/d/", said=">", log=">>")
    keys = {"x": "o:x", "d": "o:d/", "said": "o:said", "log": "o:log"}
    one = step("s", "c", inputs={"a": "in:a"}, outputs=keys)
    ran(gaia, "w1", [made], [one], INPUT)
    gaia.halt("w1")
    copy, gone = copying.copy, list[str]()
    source = gaia.path("w1", key)

    def copy_and_lose(path: str, *args: Any, **facts: Any) -> None:
        if path == str(source) and not gone:
            gone.append(path)
            if key == "o:x":
                copy(path, *args, **facts)
                source.unlink()
                return
            (source / "2").unlink()
        copy(path, *args, **facts)

    monkeypatch.setattr(copying, "copy", copy_and_lose)
    ran(gaia, "w2", [made], [one], INPUT)
    if key == "o:d/":
        assert gone and count.runs == {"c": 2}
        assert reused_steps(gaia, "w2") == {}
    else:  # its content was copied before
        assert gone and count.runs["c"] <= 2
    assert gaia.path("w2", "o:said").read_text() == "said\n"
    assert gaia.path("w2", "o:log").read_text().count("\nsaid\n") == 1
    assert sorted(path.name for path in gaia.path("w2", "o:d/").iterdir()) == ["1", "2"]
    assert not list((gaia.path("w2", "o:x").parents[3] / "staging").iterdir())


def test_a_log_that_was_taken_over_in_vain_isnt_part_of_the_run(
    gaia: Gaia, count: Counter, copied: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = list[str]()

    def fail(*args: Any) -> Any:
        failed.append("")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reusing, "prepare_outputs", fail)
    ran(gaia, "w2", [copied], [STEP], INPUT)
    assert failed and count.runs == {"c": 2}
    assert gaia.logs("w2", "s") == "said\n"


# ------------------------------------------------------------------------------------ predictions


CHAIN = [
    step("first", "c", "o:1", "in:a"),
    step("second", "d", "o:2", "o:1"),
    step("third", "e", "o:3", "o:2"),
]


def chain(count: Counter, third: str = "cat /in/a > /out/x") -> list[dict[str, Any]]:
    return [
        count.command("c", "cat /in/a > /out/x; echo 1 >> /out/x", "a"),
        count.command("d", "cat /in/a > /out/x; echo 2 >> /out/x", "a"),
        count.command("e", third, "a"),
    ]


def predicted(would: list[Any]) -> dict[str, str]:
    return {
        entry["step"]: f"{entry['reuse']['workflow']}/{entry['reuse']['step']}"
        for entry in would
        if "reuse" in entry
    }


@pytest.mark.parametrize("other_process", [False, True])
@pytest.mark.parametrize("changed", ["nothing", "the last Command", "the input", "an output"])
def test_a_plan_predicts_what_then_happens(
    make_gaia: MakeGaia, count: Counter, changed: str, other_process: bool
) -> None:
    gaia = make_gaia(reuse=True)
    ran(gaia, "w1", chain(count), CHAIN, INPUT)
    third = "cat /in/a /in/a > /out/x" if changed == "the last Command" else "cat /in/a > /out/x"
    gaia.upload("w2", {}, chain(count, third), CHAIN)  # waits for its input
    gaia.halt("w2")
    if changed == "an output":
        gaia.halt("w1")
        edit(gaia.path("w1", "o:2"))
    put(gaia, "w2", {"in:a": "other\n"} if changed == "the input" else INPUT)
    if other_process:
        gaia.close()
        would = asked_by_another_process(count.path.parents[1] / "root")
        gaia = make_gaia(reuse=True)
    else:
        would = gaia.run("w2", dry_run=True)["would"]
    assert [entry["step"] for entry in would] == ["first", "second", "third"]
    expected = {
        "nothing": {"first": "w1/first", "second": "w1/second", "third": "w1/third"},
        "the last Command": {"first": "w1/first", "second": "w1/second"},
        "the input": {},
        # What `second` makes then isn't known before it ran.
        "an output": {"first": "w1/first"},
    }[changed]
    assert predicted(would) == expected
    gaia.run("w2")
    completed(gaia, "w2")
    happened = reused_steps(gaia, "w2")
    if changed == "an output":
        assert happened.pop("third", "w1/third") == "w1/third"
    assert happened == expected


def asked_by_another_process(root: Path) -> list[Any]:
    script = (
        "import json, sys\n"
        "from gaia_local import Gaia\n"
        "with Gaia({'root': sys.argv[1], 'runtime': 'process', 'reuse': True}) as gaia:\n"
        "    print(json.dumps(gaia.run('w2', dry_run=True)['would']))\n"
    )
    arguments = [sys.executable, "-c", script, str(root)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_another_process_asks_the_owner(gaia: Gaia, count: Counter) -> None:
    ran(gaia, "w1", chain(count), CHAIN, INPUT)
    gaia.upload("w2", {}, chain(count), CHAIN)
    gaia.halt("w2")
    put(gaia, "w2", INPUT)
    would = asked_by_another_process(count.path.parents[1] / "root")
    assert predicted(would) == {"first": "w1/first", "second": "w1/second", "third": "w1/third"}


def test_a_plan_of_an_expiry_predicts_no_reuse(
    gaia: Gaia, count: Counter, copied: dict[str, Any]
) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    assert predicted(gaia.expire("w2", ["s"], dry_run=True)["would"]) == {}
    assert count.runs == {"c": 1}
    gaia.path("w2", "o:x").unlink()
    assert predicted(gaia.run("w2", dry_run=True)["would"]) == {"s": "w1/s"}


# ------------------------------------------------------------------------------------ what there is


def test_what_there_is_to_be_reused(gaia: Gaia, count: Counter, copied: dict[str, Any]) -> None:
    ran(gaia, "w2", [copied], [STEP], INPUT)
    ran(gaia, "w3", [copied], [STEP], {"in:a": "hi\n"})
    assert gaia.reusable() == [
        {
            "command": "c",
            "image": "busybox",
            "results": 2,
            "bytes": 9,
            "workflows": ["w1", "w2", "w3"],
        }
    ]
    gaia.expire("w3", ["s"])
    completed(gaia, "w3")
    gaia.delete("w1", data=True)
    gaia.delete("w2", data=True)
    (left,) = gaia.reusable()
    assert (left["results"], left["bytes"], left["workflows"]) == (1, 3, ["w3"])
