"""A server in this process and as one of its own, a workflow for it, and its streams of events."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from gaia_local import Gaia
from gaia_local.server import Server
from support.builders import ECHO, command
from support.fixtures import MakeGaia

HOLD = command(
    "hold",
    "printf 'begun ä'; cat '{{fifo}}'; echo over; : > /out/held",
    held="/out/held",
)
FAIL = command("fail", "echo no >&2; exit 3")
COPY = command("copy", "cp /in/from /out/to", "from", to="/out/to")
COMMANDS: list[dict[str, Any]] = [ECHO, HOLD, FAIL, COPY]
A = {"name": "a", "command": "echo", "outputs": {"result": "d:a"}}
B = {"name": "b", "command": "copy", "inputs": {"from": "d:a"}, "outputs": {"to": "d:b"}}
F = {"name": "f", "command": "fail", "outputs": {"x": "d:f"}}


def held(fifo: Path, name: str = "h") -> dict[str, Any]:
    """A Step that runs until somebody opens the FIFO to write."""
    if not fifo.exists():
        os.mkfifo(fifo)
    return {
        "name": name,
        "command": "hold",
        "outputs": {"held": f"d:{name}"},
        "vars": {"fifo": str(fifo)},
    }


def let_go(fifo: Path) -> None:
    os.close(os.open(fifo, os.O_WRONLY))


@pytest.fixture
def gaia(make_gaia: MakeGaia) -> Gaia:
    return make_gaia()


@pytest.fixture
def server(gaia: Gaia) -> Iterator[Server]:
    with Server(gaia, port=0) as running:
        yield running


class Events:
    """The events of one stream, read in a thread; a `None` is the stream's end."""

    def __init__(self, server: Server, query: str = "") -> None:
        self._answer = requests.get(f"{server.url}api/stream{query}", stream=True, timeout=60)
        assert self._answer.status_code == 200
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        self.lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self._answer.iter_lines(decode_unicode=True):
                self.lines.put(line)
        except requests.RequestException:  # closed from this side
            pass
        self.lines.put(None)

    def line(self) -> str | None:
        return self.lines.get(timeout=20)

    def next(self) -> dict[str, Any]:
        """The data of the next event."""
        while not (line := self.line() or "").startswith("event: changed"):
            assert line == "" or line.startswith(("retry: ", ":")), line
        data = self.line() or ""
        assert data.startswith("data: ")
        assert self.line() == ""
        told: dict[str, Any] = json.loads(data.removeprefix("data: "))
        assert set(told) - {"graph"} in ({"workflows", "steps"}, {"workflows", "followed"})
        return told

    def until(self, true: Callable[[dict[str, Any], dict[str, Any]], bool]) -> int:
        """Merge events until `true` of workflows and Steps' states, and return their number."""
        workflows: dict[str, Any] = {}
        steps: dict[str, Any] = {}
        number = 0
        while not true(workflows, steps):
            told = self.next()
            workflows |= told["workflows"]
            steps |= states_of(told["steps"])
            number += 1
        return number

    def close(self) -> None:
        connection = self._answer.raw.connection
        if connection is not None and connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._answer.close()


def states_of(steps: dict[str, Any]) -> dict[str, str | None]:
    """Step → its state alone, of an event's `steps`."""
    return {step: None if news is None else news["state"] for step, news in steps.items()}


@contextmanager
def events(server: Server, query: str = "") -> Iterator[Events]:
    with closing(Events(server, query)) as opened:
        yield opened


class Serving:
    """`gaia-local serve` as a process; killed at the end of the block if it still runs."""

    def __init__(self, root: Path, *arguments: str, code: str = "", **environment: str) -> None:
        program = [
            sys.executable,
            "-c",
            f"{textwrap.dedent(code)}\nimport gaia_local.cli as c; c.main()",
        ]
        self.served = ""
        """The line that says what is served, once `link` was read."""
        options = ["--root", str(root), "--runtime", "process", "--workers", "3"]
        self.process = subprocess.Popen(
            [*program, *options, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    @property
    def link(self) -> str:
        """The link that it prints first; what it prints next is `served`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, self.end()
        self.served = self.process.stdout.readline()
        return line.split()[-1]

    @property
    def url(self) -> str:
        """The link without its token."""
        return self.link.partition("?")[0]

    def end(self, timeout: float = 30) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=timeout)
        assert "Traceback" not in err
        return self.process.returncode, out, err

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
