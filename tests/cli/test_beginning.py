"""`init`: the files of a first workflow are valid, run, and never take the place of others."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import jsonschema
import pytest

from gaia_local.model.definition_files import read
from gaia_local.model.json_schema import schema, schema_file
from support.command_line import call, here

__all__ = ["here"]


def test_the_first_workflow_is_valid_and_runs(here: Path) -> None:
    told = call("init", "my hello").stdout
    files = sorted((here / "my hello").iterdir())
    assert [path.name for path in files] == ["commands.yaml", "steps.yaml"]
    for path in files:
        jsonschema.Draft202012Validator(schema(path.stem)).validate(read(path))
        text = path.read_text()
        assert text.startswith(f"# yaml-language-server: $schema={schema_file(path.stem).as_uri()}")
        assert text.count("#") > 3
        assert max(map(len, text.splitlines()[1:])) <= 100
    assert len(read(files[0])) == 2
    assert call("check", *map(str, files), "--strict").stdout.startswith("no errors and no warn")
    program, *words = shlex.split(told.splitlines()[-1])
    assert program == "gaia-local"
    assert words.pop() == "--watch"
    assert "me_hello_1: complete, 3 of 3 Steps done" in call(*words).stdout
    stored = here / "gaia-data/storage/me_hello_1/hello"
    assert (stored / "world.txt").read_text() == "Hello, world!\n"
    assert (stored / "words.txt").read_text().strip() == "4"


def test_it_is_written_here_without_a_directory(here: Path) -> None:
    call("init")
    assert {path.name for path in here.iterdir()} == {"commands.yaml", "steps.yaml"}


@pytest.mark.parametrize("name", ["commands.yaml", "steps.yaml"])
def test_nothing_is_overwritten(name: str, here: Path) -> None:
    (here / name).write_text("mine")
    told = " ".join(call("init", status=2).stderr.replace("│", " ").split())
    assert f"{name} is there already" in told
    assert [path.read_text() for path in here.iterdir()] == ["mine"]
    (here / "x").mkdir()
    (here / "x" / name).symlink_to("nowhere")
    call("init", "x", status=2)
    assert os.listdir(here / "x") == [name]


@pytest.mark.parametrize("directory", ["file", "file/below"])
def test_a_directory_that_cannot_be_written_is_refused(directory: str, here: Path) -> None:
    (here / "file").touch()
    told = call("init", directory, status=2).stderr
    assert re.search(r"can't be written|is there already", told)
