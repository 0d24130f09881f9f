"""The README is true: its blocks run, and it names all commands, options, methods and keys."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import is_typeddict

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import answers_page
from gaia_local import Gaia
from gaia_local.cli import app
from gaia_local.config import _KEYS, DaskConfig, DockerConfig
from gaia_local.model import answer_types
from gaia_local.model.workflows import WorkflowState

REPO = Path(__file__).parents[2]
README = (REPO / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`(\S+\.json)`:\n\n```json\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
TOOLS = ("make", "cat")


def test_readme_blocks_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAIA_LOCAL_RUNTIME", "process")
    monkeypatch.delenv("GAIA_LOCAL_ROOT", raising=False)
    for name, text in FILE.findall(README):
        (tmp_path / name).write_text(text)
    ran = []
    for language, text in BLOCK.findall(README):
        if language == "python":
            run_python(text)
        elif language == "console":
            ran += [run_line(line) for line in text.splitlines()]
    assert "gaia-local" in ran
    assert "cat" in ran


def run_python(text: str) -> None:
    """Run a block; what its lines ``print(…)  # expected`` print must be as expected."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", text, flags=re.MULTILINE)
    assert printed.getvalue().splitlines() == expected


def run_line(line: str) -> str:
    """Run one line of a console block (but make, which would run this test): its program."""
    assert line.startswith("$ "), line
    program, *arguments = shlex.split(line[2:])
    # Its engine is closed when its process ends.
    if program == "gaia-local" and arguments[0] == "exec":
        subprocess.run(
            [sys.executable, "-m", "gaia_local", *arguments], check=True, stdout=subprocess.DEVNULL
        )
    elif program == "gaia-local":
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
    elif program == "make":
        assert re.search(
            rf"^{arguments[0]}:", (REPO / "Makefile").read_text(), flags=re.MULTILINE
        ), line
    else:
        assert program in TOOLS, f"{line}: nobody checks this"
        subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL)
    return program


def test_each_command_and_option_is_documented() -> None:
    group = get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert f"`gaia-local {name}" in README, name
        assert command.help, name
    for command in (group, *commands.values()):
        for parameter in command.params:
            if parameter.param_type_name == "option" and "--help" not in parameter.opts:
                assert any(option in README for option in parameter.opts), (
                    f"{command.name} {parameter.opts}"
                )


def test_each_method_is_documented_with_its_parameters() -> None:
    methods = {
        name for name, _ in inspect.getmembers(Gaia, inspect.isfunction) if not name.startswith("_")
    }
    section = README.partition("\n## Python\n")[2].partition("\n## ")[0]
    documented = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", section, flags=re.MULTILINE))
    assert set(documented) == methods
    for name, parameters in documented.items():
        names = [
            parameter.partition("=")[0].strip() for parameter in parameters.split(",") if parameter
        ]
        assert names == list(inspect.signature(getattr(Gaia, name)).parameters)[1:], name


def test_the_page_of_answers_is_made_from_their_types() -> None:
    now = (REPO / "resources/docs/answers.md").read_text(encoding="utf-8")
    assert now == answers_page.page(), "write it anew: make answers"
    kinds = {name for name, kind in vars(answer_types).items() if is_typeddict(kind)}
    assert kinds == set(re.findall(r"^## (\w+)$", now, flags=re.MULTILINE)) - {"Definition"}


def test_each_configuration_key_is_documented() -> None:
    for keys in (
        _KEYS,
        *([field.name for field in fields(section)] for section in (DockerConfig, DaskConfig)),
    ):
        for key in keys:
            assert re.search(rf"^\| `{key}` \|", README, flags=re.MULTILINE), key


def test_each_state_is_documented() -> None:
    for state in WorkflowState:
        assert re.search(rf"^\| `{state.value}` \|", README, flags=re.MULTILINE), state.value


def test_the_readme_names_no_particular_machine() -> None:
    for path in (REPO / "README.md", REPO / "Makefile", REPO / ".ci" / "run"):
        assert not re.search(r"/(work|home|root)/", path.read_text(encoding="utf-8")), path
