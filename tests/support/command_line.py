"""The command line: called in this process, as its own, or on a terminal; and a workflow for it."""

from __future__ import annotations

import json
import logging
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from gaia_local.cli import app

COMMANDS: list[dict[str, Any]] = [
    {
        "name": "say",
        "image": "busybox",
        "command": ["echo", "{{text}}"],
        "outputs": {"said": ">"},
        "vars": {"text": "hello"},
    },
    {
        "name": "copy",
        "image": "busybox",
        "command": ["cp", "/in/from", "/out/to"],
        "inputs": {"from": "/in/from"},
        "outputs": {"to": "/out/to"},
    },
    {
        "name": "check",
        "image": "busybox",
        "command": [
            "sh",
            "-c",
            'echo looking; test -n "$READY" || { echo "not ready" >&2; exit 3; }; '
            "echo found > /out/found",
        ],
        "outputs": {"found": "/out/found"},
    },
    {
        "name": "hold",
        "image": "busybox",
        "command": [
            "sh",
            "-c",
            'echo begun; : > "$BEGUN"; while [ ! -e "$GO" ]; do sleep 0.02; done; '
            "echo over; : > /out/held",
        ],
        "outputs": {"held": "/out/held"},
    },
]
SAY = {"name": "say", "command": "say", "outputs": {"said": "a:said.txt"}}
COPY = {
    "name": "copy",
    "command": "copy",
    "inputs": {"from": "a:said.txt"},
    "outputs": {"to": "a:copied.txt"},
}
CHECK = {"name": "check", "command": "check", "outputs": {"found": "a:found.txt"}}
HOLD = {"name": "hold", "command": "hold", "outputs": {"held": "a:held"}}
WAITER: dict[str, Any] = {
    "name": "waiter",
    "command": "copy",
    "inputs": {"from": "b:missing.txt"},
    "outputs": {"to": "a:late.txt"},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, processes instead of containers, and no handler left behind."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "GAIA_LOCAL_ROOT",
        "GAIA_LOCAL_REUSE",
        "GAIA_LOCAL_KEEP_ATTEMPTS",
        "GAIA_LOCAL_KEEP_FAILED",
        "READY",
        "NO_COLOR",
        "FORCE_COLOR",
        "COLUMNS",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAIA_LOCAL_RUNTIME", "process")
    monkeypatch.setenv("BEGUN", str(tmp_path / "begun"))
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    handlers = list(logging.getLogger("gaia_local").handlers)
    yield tmp_path
    logging.getLogger("gaia_local").handlers[:] = handlers


def write(*steps: dict[str, Any]) -> list[str]:
    """Write the two files; answers the options that name them."""
    Path("commands.json").write_text(json.dumps(COMMANDS))
    Path("steps.json").write_text(json.dumps(steps))
    return ["--commands", "commands.json", "--steps", "steps.json"]


def call(*arguments: str, status: int = 0) -> Result:
    """Call the command line in this process; it must end with that status."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == status, f"{arguments}: {result.output}\n{result.exception!r}"
    return result


def upload(name: str, *steps: dict[str, Any], status: int = 0) -> Result:
    """Upload a workflow of these Steps."""
    return call("upload", name, *write(*steps), status=status)


def understood(words: Sequence[str]) -> dict[str, Any]:
    """The parameters of the command in a call of ``gaia-local``, which it must understand."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("gaia-local", list(words), resilient_parsing=False)
    _, command, arguments = group.resolve_command(
        context, [*context._protected_args, *context.args]
    )
    given: dict[str, Any] = command.make_context(command.name, arguments, parent=context).params
    return given


def answer(*arguments: str, status: int = 0) -> Any:
    """Call it, and read the JSON that it prints."""
    return json.loads(call(*arguments, status=status).stdout)


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start it as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "gaia_local", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def end(process: subprocess.Popen[str], status: int) -> tuple[str, str]:
    """Wait for its end, which must have that status, and return its stdout and stderr."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, out + err
    return out, err


def on_a_terminal(
    arguments: list[str],
    environment: Mapping[str, str],
    until: str | None = None,
    signal_number: signal.Signals = signal.SIGTERM,
    status: int = 0,
    *,
    typed: tuple[str, str] | None = None,
) -> str:
    """The text that a terminal gets; once that holds `until`, the program is sent the signal.

    `typed`: a question, and what is typed once it is asked.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gaia_local", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "24", **environment},
    )
    os.close(slave)
    seen = b""
    try:
        while True:
            seen += os.read(master, 65536)
            if typed is not None and typed[0].encode() in seen:
                os.write(master, typed[1].encode())
                typed = None
            if until is not None and until.encode() in seen:
                process.send_signal(signal_number)
                until = None
    except OSError:  # Linux's way to say that nobody holds the other end any more
        pass
    finally:
        os.close(master)
    assert process.wait(timeout=60) == status, seen.decode()
    return seen.decode()
