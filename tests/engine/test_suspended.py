"""Engines that are suspended (Ctrl-Z, SIGSTOP) while programs run and others wait for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

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
