"""The server's connections: those without a request end, and their number is limited."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from gaia.client import Gaia as Client  # type: ignore[import-untyped]

from gaia_local import Gaia
from gaia_local.server import Server, connections, wire
from support.fixtures import WaitUntil
from support.servers import COMMANDS, A, Serving, events, gaia, held, let_go, server

__all__ = ["gaia", "server"]

HEAD = b"POST /workflows HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def dial(url: str, said: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection(
        (str(parts.hostname), int(parts.port or 0)), 20, (source, 0)
    )
    connection.sendall(said)
    return connection


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def ask(url: str) -> Any:
    return requests.post(f"{url}workflows", json={}, timeout=30).json()


# ------------------------------------------------------------------------------------------ silence


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\nHos", HEAD], ids=["nothing", "half a line", "half a head"]
)
def test_silent_connections_are_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch, said: bytes, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_SECONDS", 0.3)
    with contextlib.closing(dial(server.url, said)) as connection:
        wait_until(lambda: is_closed(connection))


@pytest.mark.parametrize("first", [False, True], ids=["the first request", "the second request"])
def test_a_head_that_trickles_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_SECONDS", 0.5)
    with contextlib.closing(dial(server.url)) as connection:
        if first:
            connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
            answer = b""
            while not answer.endswith(b'{"workflows": {}}'):
                piece = connection.recv(10_000)
                assert piece, answer
                answer += piece
        for _ in range(200):
            if is_closed(connection):
                return
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"x")
            time.sleep(0.05)
        pytest.fail("it was waited for")


def test_a_body_that_stops_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BODY_TIMEOUT_SECONDS", 0.3)
    with contextlib.closing(dial(server.url, HEAD + b"Content-Length: 20\r\n\r\n{")) as connection:
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"nothing more of the body came for 0.3 s" in answer


def test_streaming_connections_may_be_silent(
    server: Server,
    gaia: Gaia,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: WaitUntil,
) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_SECONDS", 0.2)
    gaia.upload("w", {}, COMMANDS, [held(tmp_path / "fifo")])
    with events(server, "?workflow=w") as told:
        told.until(lambda workflows, steps: steps.get("h") == "running")
        with contextlib.closing(dial(server.url)) as other:
            wait_until(lambda: is_closed(other))
        let_go(tmp_path / "fifo")
        told.until(lambda workflows, steps: steps.get("h") == "complete")


# ------------------------------------------------------------------------------------------- number


@pytest.mark.parametrize(
    ("bound", "source"), [("MAX_CONNECTIONS", "127.0.0.2"), ("MAX_PER_ADDRESS", "127.0.0.1")]
)
def test_strangers_make_room_for_each_other_and_for_authorized_clients(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    bound: str,
    source: str,
) -> None:
    monkeypatch.setattr(connections, bound, 10)
    with contextlib.ExitStack() as opened, events(server) as told:
        told.next()
        strangers = []
        for _ in range(50):
            strangers.append(
                opened.enter_context(contextlib.closing(dial(server.url, b"GET /", source)))
            )
            if len(strangers) % 10 == 0:
                assert ask(server.url) == {"workflows": {}}
        assert ask(server.url) == {"workflows": {}}
        closed = [is_closed(stranger) for stranger in strangers]
        assert 40 <= sum(closed) < 50
        assert closed == sorted(closed, reverse=True)  # those that came first went first
        assert told.lines.empty()
    warnings = [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ]
    (warning,) = (message for message in warnings if "too many" in message)
    assert warning.startswith("too many connections: there are 10")


def test_an_address_has_its_own_bound(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_PER_ADDRESS", 5)
    with contextlib.ExitStack() as opened:
        others = [
            opened.enter_context(contextlib.closing(dial(server.url, b"G", "127.0.0.3")))
            for _ in range(5)
        ]
        many = [
            opened.enter_context(contextlib.closing(dial(server.url, b"G", "127.0.0.2")))
            for _ in range(20)
        ]
        assert ask(server.url) == {"workflows": {}}
        assert not any(map(is_closed, others))
        assert sum(map(is_closed, many)) == 15


def test_authorized_clients_do_not_displace_each_other(
    server: Server, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    with events(server) as one, events(server) as other:
        one.next()
        other.next()
        with pytest.raises(requests.ConnectionError):
            ask(server.url)
        assert one.lines.empty()
        assert other.lines.empty()

    def answered() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return bool(ask(server.url) == {"workflows": {}})
        return False

    wait_until(answered)


# -------------------------------------------------------------------------------------- descriptors


def few(number: int) -> str:
    return f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({number}, {number}))"


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_hundreds_of_half_open_connections_leave_steps_their_descriptors(
    gaia_root: Path, wait_until: WaitUntil
) -> None:
    many = {**A, "vars": {"text": [str(n) for n in range(30)]}, "outputs": {"result": "d:{{text}}"}}
    with (
        Serving(gaia_root, "serve", "--port", "0", code=few(256)) as serving,
        contextlib.ExitStack() as opened,
    ):
        url = serving.url
        for _ in range(400):
            with contextlib.suppress(ConnectionError):
                opened.enter_context(contextlib.closing(dial(url, b"GET / HTTP/1.1\r\n")))
        before = cpu_seconds(serving.process)
        client = Client({"gaia_host": urlsplit(url).netloc})
        client.upload("w", {}, COMMANDS, [many])
        wait_until(lambda: client.status("w")["state"] == "complete", 30)
        used = len(os.listdir(f"/proc/{serving.process.pid}/fd"))
        assert used <= 256 - 64 + 5
        idle = cpu_seconds(serving.process)
        time.sleep(2)  # in which an idle server does next to nothing
        assert cpu_seconds(serving.process) - idle < 1
        assert idle - before < 20
        serving.process.terminate()
        code, _, err = serving.end()
    assert code == 143
    lines = [line for line in err.splitlines() if "images are ignored" not in line]
    assert len(lines) == 1, err[:5000]
    assert lines[0].startswith(
        "warning: too many connections: the remaining file descriptors are reserved for Steps;"
    )


def run(program: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_connections_beyond_the_file_limit_are_refused_quietly() -> None:
    said = run(
        """
        import logging, os, resource, socket
        from gaia_local.server.connections import ListeningSocket
        logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
        door = ListeningSocket(socket.AF_INET, socket.SOCK_STREAM)
        door.bind(("127.0.0.1", 0))
        door.listen(10)
        door.setblocking(False)
        callers = [socket.create_connection(door.getsockname(), 5) for _ in range(3)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            assert error.errno == 24
        for caller in callers:
            try:
                door.accept()
            except BlockingIOError:
                print("refused")
            caller.settimeout(5)
            assert caller.recv(1) == b""
        for descriptor in taken[:-10]:
            os.close(descriptor)
        socket.create_connection(door.getsockname(), 5)
        connection, _ = door.accept()
        print("taken")
        door.close()
        """
    )
    assert said.splitlines() == [
        "too many connections: no file descriptors are left; "
        "those without a request are closed, then new ones are refused",
        "refused",
        "refused",
        "refused",
        "taken",
    ]


@pytest.mark.parametrize(("soft", "hard", "then"), [(64, 512, 512), (300, 300, 300)])
def test_the_limit_of_descriptors_is_raised(soft: int, hard: int, then: int) -> None:
    said = run(
        f"""
        import resource
        from gaia_local.server import raise_limit
        resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
        raise_limit()
        print(resource.getrlimit(resource.RLIMIT_NOFILE))
        """
    )
    assert said.strip() == f"({then}, {hard})"
