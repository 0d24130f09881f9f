"""The cost of status pages: the server's CPU time while Steps run, with and without clients.

As a program, ``python -m benchmarks.watched ARGUMENTS`` is that server. ARGUMENTS are JSON. It
prints the address of its page, and runs the Steps after a first line on standard input; after a
second one it prints its CPU time meanwhile, and ends.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from benchmarks.measuring import Failed, Finding, Row, Setting, clean_environment, in_turns
from benchmarks.ours import NAME, asked, finish, opened, tell
from benchmarks.workflows import SHAPES

SIZES = (300, 5_000)
MOST = {300: 0.2, 5_000: 1.0}
"""Steps → the target: the CPU seconds that one page may cost the server."""
CLIENTS = (0, 1, 5)
PAUSE_SECONDS = 1.0
"""At least this long between two requests of a page; and so many times their own time."""
TIMES_SLOWER = 20
SECONDS = 600
"""After so long, a measurement has failed."""


def page(setting: Setting) -> Iterator[Finding]:
    """The CPU time that open status pages cost their server while all Steps of a workflow run."""
    for size in SIZES:
        count = setting.count(size)
        turns = in_turns(
            setting.few(3),
            {
                str(clients): lambda clients=clients, count=count: _once(setting, count, clients)  # type: ignore[misc]
                for clients in CLIENTS
            },
        )
        yield Row(
            f"CPU time of a server that runs {count:,} trivial Steps", "s", turns.of("0", "cpu_s")
        )
        for clients in CLIENTS[1:]:
            pages = "1 open page costs" if clients == 1 else f"{clients} open pages cost"
            yield Row(
                f"… that {pages} more, {count:,} Steps",
                "s",
                [max(0.0, more) for more in turns.beyond(str(clients), "0", "cpu_s")],
                most=MOST[size] if clients == 1 else None,
            )
        yield Row(f"… the bytes of one stream with {count:,} Steps", "MB", turns.of("1", "bytes"))
        for what in ("running", "complete"):
            yield Row(
                f"`GET /api/workflows/NAME`, {count:,} Steps, {what}",
                "ms",
                turns.of("0", f"{what}_s"),
                most=0.020,
            )


def _once(setting: Setting, count: int, clients: int) -> dict[str, float]:
    """Run all Steps, looked at by so many clients, and answer what the server said of its cost."""
    with setting.place() as root, contextlib.ExitStack() as ends:
        command = [sys.executable, "-m", "benchmarks.watched", json.dumps([root, count])]
        server = ends.enter_context(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
                env=clean_environment(),
            )
        )
        ends.callback(server.kill)
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        pages = [Page(url) for _ in range(clients)]
        server.stdin.write("run\n")
        for each in pages:
            each.until_complete()
        server.stdin.write("end\n")
        figures = json.loads(server.stdout.readline() or "{}")
        if server.wait(SECONDS) != 0:
            raise Failed(f"the server ended with exit code {server.returncode}")
        figures["bytes"] = statistics.median([each.bytes for each in pages] or [0])
        return dict(figures)


class Page:
    """What a status page that shows one workflow asks of the server, without the drawing."""

    def __init__(self, url: str) -> None:
        self._url, self.bytes = url, 0
        self.steps: dict[str, Any] = {}
        self._complete, self._changed, self._graph = (threading.Event() for _ in range(3))
        self._closed = False
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._listen, self._ask)
        ]
        self._graph.set()
        for thread in self._threads:
            thread.start()

    def until_complete(self) -> None:
        """Wait until the stream said that the workflow is complete."""
        if not self._complete.wait(SECONDS):
            raise Failed("the stream never said that the workflow is complete")
        self._closed = True
        self._changed.set()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        url = f"{self._url}api/stream?workflow={quote(NAME)}"
        with urllib.request.urlopen(url, timeout=SECONDS) as stream:
            for line in stream:
                self.bytes += len(line)
                if line.startswith(b"data: "):
                    news = json.loads(line.removeprefix(b"data: "))
                    self.steps |= news["steps"]
                    if "graph" in news:
                        self._graph.set()
                    self._changed.set()
                    entry = news["workflows"].get(NAME)
                    if entry is not None and entry["state"] == "complete":
                        break
        self._complete.set()

    def _ask(self) -> None:
        while self._changed.wait(SECONDS) and not self._closed:
            self._changed.clear()
            began = time.monotonic()
            if self._graph.is_set():
                self._graph.clear()
                self._get("/graph")
            self._get("")
            time.sleep(max(PAUSE_SECONDS, TIMES_SLOWER * (time.monotonic() - began)))

    def _get(self, what: str) -> None:
        with urllib.request.urlopen(
            f"{self._url}api/workflows/{quote(NAME)}{what}", timeout=SECONDS
        ) as answer:
            json.loads(answer.read())


def main(root: str, count: int) -> None:
    """The server; see the module."""
    from gaia_local.server import Server

    commands, steps = SHAPES["independent"](count, "busybox")
    with opened(root, "process") as gaia, Server(gaia, port=0, no_token=True) as server:
        gaia.command(NAME, commands)
        print(server.url, flush=True)
        sys.stdin.readline()
        began = time.process_time()
        gaia.merge(NAME, steps)
        sys.stdin.readline()
        finish(gaia)
        cpu = time.process_time() - began
        complete = asked(lambda: gaia.details(NAME))
        gaia.expire(NAME, [step["name"] for step in steps])
        running = asked(lambda: gaia.details(NAME))
        gaia.halt(NAME)
        tell(cpu_s=cpu, complete_s=complete, running_s=running)


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
