"""Lost engines and lost answers: the requests tried again, and the errors."""

from __future__ import annotations

import http.server
import logging
import os
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import docker.errors
import pytest

from gaia_local.errors import EngineUnavailable, RuntimeFailure
from gaia_local.model.tasks import BY_REQUEST
from gaia_local.runtimes.docker import engine as docker_engine
from support.containers import EVENTS, ContainerBench, bench, client, full_image
from support.proxy import Proxy, proxy
from support.waiting import wait_until

__all__ = ["bench", "client", "full_image", "proxy"]


def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    bench = ContainerBench(tmp_path, "any")
    with pytest.raises(
        EngineUnavailable, match=r"at unix:///nowhere/docker.sock: .*start Docker.*runtime: process"
    ):
        bench.runtime.check(["any"])
    assert not bench.runtime.available("any")
    with pytest.raises(RuntimeFailure, match="no Docker engine answers"):
        bench.run("true")
    with pytest.raises(RuntimeFailure, match="no Docker engine answers"):
        bench.runtime.leftovers()
    bench.runtime.close()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("tcp://no-such-host.invalid:2375", "[A-Z][a-z ]+"),
        ("unix:///nowhere/docker.sock", "No such file or directory"),
    ],
)
def test_the_system_has_the_word_on_an_engine_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, why: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    bench = ContainerBench(tmp_path, "any")
    with pytest.raises(
        EngineUnavailable, match=f"^no Docker engine answers at {address}: {why}; start Docker"
    ):
        bench.runtime.check(["any"])
    bench.runtime.close()


def test_an_engine_over_tcp_that_goes_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Engine(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/_ping":
                answer = b"OK"
                self.send_response(200)
                self.send_header("Api-Version", "1.41")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    monkeypatch.setattr(docker_engine, "_RETRY_SECONDS", ())
    with http.server.HTTPServer(("127.0.0.1", 0), Engine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        bench = ContainerBench(tmp_path, "any")
        try:
            with pytest.raises(
                RuntimeFailure,
                match="the engine doesn't answer: Remote end closed connection without response;",
            ):
                bench.run("true")
        finally:
            server.shutdown()
            thread.join()
            bench.timers.close()
            bench.runtime.close()


def test_a_user_who_may_not_speak_to_the_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can act as somebody else")
    with (
        tempfile.TemporaryDirectory(prefix="gaia-") as top,
        socket.socket(socket.AF_UNIX) as engine,
    ):
        os.chmod(top, 0o755)
        engine.bind(f"{top}/s")
        os.chmod(f"{top}/s", 0o600)
        engine.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{top}/s")
        bench = ContainerBench(tmp_path, "any")
        os.seteuid(4321)
        try:
            with pytest.raises(EngineUnavailable) as caught:
                bench.runtime.check(["any"])
        finally:
            os.seteuid(0)
            bench.runtime.close()
    assert str(caught.value).startswith(
        f"this user may not speak to the Docker engine at unix://{top}/s; become a member of the"
    )
    assert "start Docker" not in str(caught.value)


def test_an_engine_that_answers(bench: ContainerBench) -> None:
    bench.runtime.check([bench.image])


def test_closing_twice_and_using_what_is_closed(bench: ContainerBench) -> None:
    bench.run("true")
    bench.runtime.close()
    bench.runtime.close()
    with pytest.raises(RuntimeFailure, match="closed"):
        bench.run("true")


@pytest.mark.parametrize(
    "request_",
    ["/images/", "/containers/create", "/attach", "/start", "/wait", "/archive", "DELETE"],
)
def test_a_lost_answer_is_asked_for_again(
    bench: ContainerBench, proxy: Proxy, client: docker.APIClient, request_: str
) -> None:
    proxy.lost.append(request_.encode())
    run = bench.run(
        "sh", "-ec", "echo 1 >> /out/x; echo 2 >> /full/y; echo said", outputs=("/out/x", "/full/y")
    )
    assert proxy.lost == []
    assert (run.code, run.log) == (0, b"said\n")
    assert (run.tree / "out/x").read_bytes() == b"1\n"
    assert (run.tree / "full/y").read_bytes() == b"2\n"
    assert [event for event, _ in run.events] == EVENTS


def test_a_lost_answer_about_the_tasks_own_container(bench: ContainerBench, proxy: Proxy) -> None:
    """The name is taken then, by a container that nobody else will ever remove."""
    proxy.lost.append(b"/containers/create?name=gaia-local-")
    run = bench.run("true", outputs=("/out/x",))
    assert (proxy.lost, run.code) == ([], 0)


def test_a_name_that_somebody_else_has(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("true")
    other = client.create_container(
        bench.image, ["true"], name=f"gaia-local-{run.invocation.task.id}"
    )["Id"]
    try:
        with pytest.raises(RuntimeFailure, match="already in use"):
            bench.start(run)
        client.inspect_container(other)
    finally:
        client.remove_container(other)


def test_a_broken_stream_is_read_again(bench: ContainerBench, proxy: Proxy) -> None:
    script = (
        "printf 'one\nhalf a l'; echo err >&2; "
        "while [ ! -e /out/go ]; do sleep 0.05; done; printf 'ine\nend'"
    )
    run = bench.prepare("sh", "-c", script, stdout="/s", outputs=("/out/",))
    Path(run.invocation.log).write_bytes(b"before\n")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        for _ in range(2):
            run.wait_for(b"err")
            run.wait_for(b"one")
            proxy.cut()
        (run.tree / "out/go").touch()
        running.result()
    assert (run.code, run.stdout) == (0, b"one\nhalf a line\nend")
    assert run.log.startswith(b"before\n")
    assert run.log.replace(b"err\n", b"", 1) == b"before\n" + run.stdout
    assert [event for event, _ in run.events] == EVENTS


def test_a_stream_that_ends_too_early_is_noticed(
    bench: ContainerBench, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that goes away in good order closes the stream as if the program had ended."""
    monkeypatch.setattr("gaia_local.runtimes.docker.runtime._CONTAINER_EXIT_SECONDS", 1)
    run = bench.prepare("sh", "-c", "echo one; sleep 2; echo two")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"one")
        proxy.cut(asked=b"/attach")
        running.result()
    assert (run.code, run.log) == (0, b"one\ntwo\n")


def test_an_engine_that_goes_away_can_be_cancelled_and_its_container_found(
    bench: ContainerBench,
    proxy: Proxy,
    client: docker.APIClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(docker_engine, "_RETRY_SECONDS", (0.1, 0.1))
    run = bench.prepare("sh", "-c", "echo up; sleep 60")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        proxy.down = True
        proxy.cut()
        wait_until(lambda: "lost the engine" in caplog.text)
        run.cancellation.cancel(BY_REQUEST)
        running.result()
    assert run.code == 137
    assert "could not be removed" in caplog.text
    bench.configure()
    (left,) = bench.runtime.leftovers()
    assert (left.task, left.running) == (run.invocation.task.id, True)
    bench.runtime.remove_leftover(left.container)
    bench.runtime.remove_leftover(left.container)
    assert bench.runtime.leftovers() == []


def test_a_container_that_somebody_removed(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("sh", "-c", "echo up; sleep 60")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        client.remove_container(bench.containers(client)[0]["Id"], force=True)
        wait_until(running.done)
    assert run.code == 137


def test_the_connection_pool_fits_all_threads(
    bench: ContainerBench, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 warns when more threads talk than the pool has room for."""
    caplog.set_level(logging.WARNING, "urllib3")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: bench.run("true"), range(16)))
    assert caplog.text == ""
