"""`Gaia.stage`: what a Step would find, in a directory, with its command as a script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gaia_local.errors import GaiaError
from support.fixtures import MakeGaia
from support.owner import Owner
from support.waiting import wait_until

JOIN: dict[str, Any] = {
    "name": "join",
    "image": "i",
    "command": [
        "sh",
        "-c",
        'cat /in/one /in/dir/x "$@"; printf more >> /in/one',
        "it's",
        "/in/one",
    ],
    "inputs": {"one": "/in/one", "dir": "/in/dir/"},
    "outputs": {"out": "/out/made/joined", "tree": "/out/tree/"},
    "stdout": "/out/made/joined",
}
STEP: dict[str, Any] = {
    "name": "join it",
    "command": "join",
    "inputs": {"one": "data:a", "dir": "data:tree/"},
    "outputs": {"out": "made:joined", "tree": "made:tree/"},
}


def put(gaia_root: Path, workflow: str = "w") -> Path:
    store = gaia_root / "storage" / workflow / "data"
    (store / "tree").mkdir(parents=True)
    (store / "a").write_text("one\n")
    (store / "tree" / "x").write_text("x\n")
    return store


def everything(top: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): path.read_bytes() if path.is_file() else None
        for path in sorted(top.rglob("*"))
        if not path.is_socket()
    }


def test_a_staged_step_runs_by_its_script_and_touches_no_store(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path
) -> None:
    store = put(gaia_root)
    gaia = make_gaia()
    gaia.upload("w", {}, [JOIN], [STEP])
    gaia.wait("w")
    before = {name: data for name, data in everything(gaia_root).items() if "storage" in name}
    script = gaia.stage("w", "join it", tmp_path / "here")
    assert script.is_relative_to(tmp_path / "here") and os.access(script, os.X_OK)
    tree = tmp_path / "here" / "tree"
    assert (tree / "in/one").read_text() == "one\n"
    assert (tree / "out/tree").is_dir() and not (tree / "out/made/joined").exists()
    subprocess.run([script], check=True, cwd="/")
    assert (tree / "out/made/joined").read_text() == "one\nx\none\n"
    assert (tree / "in/one").read_text() == "one\nmore"
    assert (store / "a").read_text() == "one\n"
    after = {name: data for name, data in everything(gaia_root).items() if "storage" in name}
    assert after == before
    assert not (gaia_root / "staging").exists() or not list((gaia_root / "staging").iterdir())


def test_stage_takes_only_an_empty_directory(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path
) -> None:
    put(gaia_root)
    gaia = make_gaia()
    gaia.upload("w", {}, [JOIN], [STEP])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(GaiaError, match=r"full.*isn't empty"):
        gaia.stage("w", "join it", tmp_path / "full")
    assert everything(tmp_path / "full") == {"mine": b"mine"}
    (tmp_path / "file").write_text("")
    with pytest.raises(GaiaError, match=r"file.*isn't a directory"):
        gaia.stage("w", "join it", tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert gaia.stage("w", "join it", str(tmp_path / "empty")).exists()
    junk: list[Any] = [None, 3, "", b"here", "a\0b", "x" * 5000]
    for directory in junk:
        with pytest.raises(GaiaError):
            gaia.stage("w", "join it", directory)
        with pytest.raises(GaiaError):
            gaia.stage("w", "join it", tmp_path / "junk", inputs={"data:a": directory})
    for inputs in [["data:a"], 3, {3: "x"}]:
        with pytest.raises(GaiaError):
            gaia.stage("w", "join it", tmp_path / "junk", inputs=inputs)  # type: ignore[arg-type]
    assert not (tmp_path / "junk").exists()


def test_missing_inputs_are_named_with_their_places(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path
) -> None:
    gaia = make_gaia()
    gaia.upload("w", {}, [JOIN], [STEP])
    with pytest.raises(GaiaError) as refused:
        gaia.stage("w", "join it", tmp_path / "here")
    text = str(refused.value)
    store = gaia_root / "storage" / "w" / "data"
    assert "'data:a'" in text and str(store / "a") in text
    assert "'data:tree/'" in text and str(store / "tree") in text
    assert not (tmp_path / "here").exists()
    store.mkdir(parents=True)
    (store / "a").write_text("")
    (store / "tree").write_text("a file where a directory belongs")
    with pytest.raises(GaiaError, match="data:tree/"):
        gaia.stage("w", "join it", tmp_path / "here")


def test_another_file_in_an_inputs_place(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path
) -> None:
    put(gaia_root)
    (tmp_path / "other").write_text("other\n")
    gaia = make_gaia()
    gaia.upload("w", {}, [JOIN], [STEP])
    gaia.stage("w", "join it", tmp_path / "here", inputs={"data:a": tmp_path / "other"})
    assert (tmp_path / "here/tree/in/one").read_text() == "other\n"
    with pytest.raises(GaiaError, match="did you mean 'data:a'"):
        gaia.stage("w", "join it", tmp_path / "b", inputs={"data:b": tmp_path / "other"})
    with pytest.raises(GaiaError, match=r"there is nothing at .*nowhere"):
        gaia.stage("w", "join it", tmp_path / "b", inputs={"data:a": tmp_path / "nowhere"})
    with pytest.raises(GaiaError, match="is no directory"):
        gaia.stage("w", "join it", tmp_path / "b", inputs={"data:tree/": tmp_path / "other"})


def test_names_that_are_no_single_step(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path
) -> None:
    put(gaia_root)
    gaia = make_gaia()
    pair = {
        "name": "pair",
        "inputs": ["one", "dir"],
        "outputs": ["out", "tree"],
        "steps": [
            {
                "name": "inner",
                "command": "join",
                "inputs": {"one": "one", "dir": "dir"},
                "outputs": {"out": "out", "tree": "tree"},
            }
        ],
    }
    array = {
        **STEP,
        "name": "many",
        "vars": {"N": ["a", "b"]},
        "outputs": {"out": "many:{{N}}", "tree": "many:tree-{{N}}/"},
    }
    outer = {**STEP, "name": "outer", "command": "pair"}
    gaia.upload("w", {}, [JOIN, pair], [outer, array])
    for name, inner in (("outer", "'outer:inner'"), ("many", "'many-a', 'many-b'")):
        with pytest.raises(GaiaError) as refused:
            gaia.stage("w", name, tmp_path / "here")
        assert inner in str(refused.value)
        assert not (tmp_path / "here").exists()
    gaia.stage("w", "outer:inner", tmp_path / "inner")
    gaia.stage("w", "many-b", tmp_path / "many")
    with pytest.raises(GaiaError, match=r"there is no Step 'many-c'; did you mean"):
        gaia.stage("w", "many-c", tmp_path / "here")
    with pytest.raises(GaiaError, match="workflow 'v': it doesn't exist"):
        gaia.stage("v", "many-c", tmp_path / "here")


def test_a_step_that_does_not_fit_its_command(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path
) -> None:
    put(gaia_root)
    gaia = make_gaia()
    gaia.upload("w", {}, [JOIN], [STEP])
    gaia.command("w", [{**JOIN, "inputs": {**JOIN["inputs"], "two": "/in/two"}}])
    with pytest.raises(GaiaError, match="two"):
        gaia.stage("w", "join it", tmp_path / "here")


def test_the_present_definition_counts_and_a_running_step_is_not_disturbed(
    make_gaia: MakeGaia, tmp_path: Path, gaia_root: Path
) -> None:
    put(gaia_root)
    gaia = make_gaia()
    gaia.upload("w", {}, [JOIN], [STEP])
    gaia.wait("w")
    gaia.halt("w")
    gaia.command("w", [{**JOIN, "command": ["sh", "-c", "echo new; sleep 60"]}])
    wait_until(lambda: gaia.step_states("w")["join it"]["state"] == "running")
    script = gaia.stage("w", "join it", tmp_path / "here")
    assert "echo new" in script.read_text()
    gaia.halt("w")


def test_a_root_that_another_process_owns(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path
) -> None:
    put(gaia_root)
    owner = Owner()
    try:
        bucket = tmp_path / "bucket"
        bucket.mkdir()
        (bucket / "a").write_text("in a bucket")
        buckets = {"mapped": str(bucket)}
        owner.own({"root": str(gaia_root), "runtime": "process", "buckets": buckets})
        gaia = make_gaia()
        step = {**STEP, "inputs": {**STEP["inputs"], "one": "mapped:a"}}
        gaia.upload("w", {}, [JOIN], [step])
        gaia.stage("w", "join it", tmp_path / "here")
        assert (tmp_path / "here/tree/in/one").read_text() == "in a bucket"
        with pytest.raises(GaiaError, match="it is in the root"):
            gaia.stage("w", "join it", gaia_root / "storage" / "w" / "here")
    finally:
        owner.close()
