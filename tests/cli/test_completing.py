"""The shell's completions of a half typed word, and the example at the end of each --help."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gaia_local.cli import app
from gaia_local.cli.examples import EXAMPLES
from support.command_line import (
    COPY,
    HOLD,
    SAY,
    WAITER,
    call,
    end,
    here,
    start,
    understood,
    upload,
    write,
)
from support.waiting import wait_until

__all__ = ["here"]  # a fixture for all tests

RUN = "import gaia_local.cli as c; c.main()"
MANY = {
    "name": "many",
    "command": "say",
    "vars": {"text": ["x", "y"]},
    "outputs": {"said": "m:{{text}}"},
}


def shell(arguments: list[str], **environment: str) -> str:
    """The output of a program; nothing may go to stderr."""
    given = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", **environment}
    ran = subprocess.run(
        arguments, env=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stderr == ""
    return ran.stdout


def complete(line: str, kind: str = "bash") -> list[str]:
    """The completions offered to the shell at the line's end."""
    number = len(shlex.split(line)) - (not line.endswith(" "))
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(number), "_TYPER_COMPLETE_ARGS": line}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_GAIA_LOCAL_COMPLETE": f"complete_{kind}"}
    return shell([sys.executable, "-c", RUN], **asked).split()


# --------------------------------------------------------------------------------------- completion


def test_names_are_offered_for_each_command() -> None:
    upload("crick_w", SAY, COPY)
    upload("crick_v", SAY)
    for command in ("run", "status", "graph", "timeline", "watch", "events", "halt", "delete"):
        assert complete(f"gaia-local {command} ") == ["crick_w", "crick_v"]
    assert complete("gaia-local status crick_v") == ["crick_v"]
    assert complete("gaia-local upload ") == []
    assert complete("gaia-local logs crick_w ") == ["say", "copy"]
    assert complete("gaia-local explain crick_w ") == ["say", "copy", "a:said.txt", "a:copied.txt"]
    assert complete("gaia-local expire crick_w say ") == ["copy", "a:said.txt", "a:copied.txt"]
    assert complete("gaia-local explain crick_w a:s", "fish") == ["a:said.txt"]
    assert complete("gaia-local --root elsewhere status ") == []
    assert complete("gaia-local --runtime p") == ["process"]
    assert complete("gaia-local gra") == ["graph"]
    assert complete("gaia-local docs w") == ["workflows"]


def test_expanded_steps_are_offered_without_warnings() -> None:
    upload("w", {**MANY, "odd": 1})
    assert complete("gaia-local logs w ") == ["many-x", "many-y"]
    assert complete("gaia-local explain w m") == ["many-x", "many-y", "m:x", "m:y"]


def test_completion_is_silent_without_a_root(here: Path) -> None:
    assert complete("gaia-local status ") == complete("gaia-local logs w ") == []
    (here / "gaia-data").mkdir()
    (here / "gaia-data/gaia.db").write_text("no database")
    assert complete("gaia-local status ") == complete("gaia-local logs w ") == []
    assert [path.name for path in (here / "gaia-data").iterdir()] == ["gaia.db"]


def test_a_root_that_is_in_use_is_read(here: Path) -> None:
    owner = start("upload", "w", *write(HOLD, WAITER, MANY))
    wait_until((here / "begun").exists, 60)
    assert complete("gaia-local status ") == ["w"]
    assert complete("gaia-local logs w ") == ["hold", "waiter", "many-x", "many-y"]
    (here / "go").touch()
    end(owner, 1)


def test_completion_takes_no_longer_than_help() -> None:
    upload("w", *({**SAY, "name": f"say-{n}", "outputs": {"said": f"a:{n}"}} for n in range(50)))

    def fastest(act: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            began = time.monotonic()
            act()
            times.append(time.monotonic() - began)
        return min(times)

    base = fastest(
        lambda: subprocess.run([sys.executable, "-c", "import gaia_local.cli"], check=True)
    )
    assert len(complete("gaia-local logs w say-")) == 50
    assert fastest(lambda: complete("gaia-local logs w say-")) < 2 * base + 0.3


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_each_shell_is_given_a_script(kind: str) -> None:
    assert f"_GAIA_LOCAL_COMPLETE=complete_{kind}" in shell(
        [sys.executable, "-c", RUN, "--show-completion", kind]
    )


def test_bash_itself_completes(here: Path) -> None:
    upload("crick_w", SAY, COPY)
    program = here / "gaia-local"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{RUN}" "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(gaia-local --show-completion bash)"
function=$(complete -p gaia-local | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=(gaia-local logs crick_w c); COMP_CWORD=3
$function gaia-local
printf '%s\\n' "${COMPREPLY[@]}"
"""
    assert shell(["bash", "--norc", "-c", script], PATH=f"{here}:{os.environ['PATH']}") == "copy\n"


# ----------------------------------------------------------------------------------------- examples


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def test_each_command_has_an_example_of_its_own() -> None:
    assert set(EXAMPLES) == set(commands())
    for name, example in EXAMPLES.items():
        assert name in shlex.split(example)


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_ends_with_the_example(name: str) -> None:
    text = call(name, "--help").stdout
    assert text.split("Example:")[1].split() == EXAMPLES[name].split()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_understood(name: str) -> None:
    program, *words = shlex.split(EXAMPLES[name])
    assert program == "gaia-local"
    assert understood(words)


def test_the_examples_work(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that end by themselves, in a workflow's order of life, on the README's first one."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"`(\w+\.json)`:\n\n```json\n(.*?)```", readme, flags=re.DOTALL)
    assert {name for name, _ in blocks} == {"commands.json", "steps.json"}
    for name, content in blocks:
        (here / name).write_text(content)
    (here / "script.py").write_text(
        "import gaia\nwith gaia.Gaia() as known:\n    print(known.workflows())\n"
    )
    (here / "genomes").mkdir()
    monkeypatch.setenv("HOME", str(here))
    for name, example in EXAMPLES.items():
        if name not in ("serve", "demo"):
            call(*shlex.split(example)[1:])
    assert (here / "hello.svg").read_text(encoding="utf-8").startswith("<svg ")
    assert (here / "hello.html").exists()
    assert not (here / "gaia-data/storage/me_hello_1").exists()
