"""Engines that are suspended (Ctrl-Z, SIGSTOP) while programs run and others wait for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaia_local import Gaia
from support.command_line import start
from support.owner import Owner
from support.waiting import wait_until

COUNT = 8
TIMEOUT = 1.5
SCRIPT = """
    import json, sys
    from gaia_local import Gaia
    with Gaia({"root": sys.argv[1], "runtime": "process", "workers": int(sys.argv[2])}) as gaia:
        gaia.upload("w", {}, *json.load(sys.stdin))
        print(json.dumps(gaia.wait("w")["state"]), gaia.failures("w"))
"""
COMMAND = {
    "name": "read",
    "image": "busybox",
    "command": ["sh", "-c", "exec < {{fifo}}; : > {{begun}}; read x; echo read > /out/x"],
    "outputs": {"x": "/out/x"},
}


def programs(fifo: Path) -> list[str]:
    """The processes that have this FIFO in their command lines."""
    found = subprocess.run(["pgrep", "-f", str(fifo)], capture_output=True, text=True, check=False)
    return found.stdout.split()


def test_programs_that_ended_in_time_while_the_engine_was_suspended_are_complete(
    tmp_path: Path,
) -> None:
    fifo, begun = tmp_path / "fifo", tmp_path / "begun"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    begun.mkdir()
    steps = [
        {
            "name": f"s{number}",
            "command": "read",
            "outputs": {"x": f"d:{number}"},
            "vars": {"fifo": str(fifo), "begun": str(begun / str(number))},
            "timeout": TIMEOUT,
        }
        for number in range(COUNT)
    ]
    arguments = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "root"), str(COUNT)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdin is not None
        assert engine.stdout is not None
        engine.stdin.write(json.dumps([[COMMAND], steps]))
        engine.stdin.close()
        wait_until(lambda: len(os.listdir(begun)) == COUNT)
        engine.send_signal(signal.SIGSTOP)
        over = time.monotonic() + TIMEOUT
        os.close(writer)  # what they wait for
        wait_until(lambda: not programs(fifo))
        wait_until(lambda: time.monotonic() > over)
        engine.send_signal(signal.SIGCONT)
        assert engine.stdout.read() == '"complete" []\n'


@pytest.fixture
def owner() -> Iterator[Owner]:
    made = Owner()
    yield made
    os.kill(made.pid, signal.SIGCONT)
    made.close()


def test_who_waits_for_a_stopped_owner_is_told_and_goes_on(tmp_path: Path, owner: Owner) -> None:
    owner.own({"root": str(tmp_path / "root"), "runtime": "process"})
    os.kill(owner.pid, signal.SIGSTOP)
    with start("--root", str(tmp_path / "root"), "workflows") as asking:
        assert asking.stderr is not None
        said = asking.stderr.readline()
        assert f"process {owner.pid}, which owns root" in said
        assert f"it is stopped; `kill -CONT {owner.pid}` lets it go on" in said
        assert asking.poll() is None
        os.kill(owner.pid, signal.SIGCONT)
        assert asking.stderr.read() == f"no workflows yet in root {tmp_path}/root\n"
    assert asking.returncode == 0


@pytest.mark.parametrize("large", [False, True])
def test_who_waits_for_a_stopped_owner_can_be_interrupted(
    tmp_path: Path, owner: Owner, large: bool
) -> None:
    """Also with more to tell than the connection takes."""
    config = {"root": str(tmp_path / "root"), "runtime": "process"}
    owner.own(config)
    os.kill(owner.pid, signal.SIGSTOP)
    commands = [{**COMMAND, "command": ["echo", "x" * (1_000_000 if large else 1)]}]
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with Gaia(config) as gaia:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            gaia.upload("w", {}, commands, [])
    timer.join()


def test_a_large_call_reaches_an_owner_that_was_stopped(tmp_path: Path, owner: Owner) -> None:
    config = {"root": str(tmp_path / "root"), "runtime": "process"}
    owner.own(config)
    os.kill(owner.pid, signal.SIGSTOP)
    commands = [{**COMMAND, "command": ["echo", "x" * 1_000_000]}]
    timer = threading.Timer(0.3, os.kill, (owner.pid, signal.SIGCONT))
    with Gaia(config) as gaia:
        timer.start()
        gaia.upload("w", {}, commands, [])
        assert gaia.command("w")["commands"]["read"]["command"][1] == "x" * 1_000_000
    timer.join()
