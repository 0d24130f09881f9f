"""One root, several Gaia objects and processes: its owner, its readers, and the wait at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.runtimes.process.runtime import ProcessRuntime
from gaia_local.store import ownership
from support.fixtures import WaitUntil

COMMANDS = [
    {
        "name": "hi",
        "image": "busybox",
        "command": ["sh", "-c", "echo hi > /out/x"],
        "outputs": {"x": "/out/x"},
    },
    {
        "name": "wait",
        "image": "busybox",
        "command": ["sh", "-c", "echo up; cat {{fifo}}; cp /in/a /out/x"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
    },
]


def steps(fifo: Path) -> list[dict[str, Any]]:
    return [
        {"name": "a", "command": "hi", "outputs": {"x": "d:a"}},
        {
            "name": "b",
            "command": "wait",
            "inputs": {"a": "d:a"},
            "outputs": {"x": "d:b"},
            "vars": {"fifo": str(fifo)},
        },
    ]


def script(root: Path, body: str) -> list[str]:
    head = f"""
        import json, sys
        from gaia_local import Gaia
        config = {{"root": {str(root)!r}, "runtime": "process"}}
        commands, steps = json.load(sys.stdin)
    """
    return [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(body)]


def start(root: Path, fifo: Path, body: str) -> subprocess.Popen[str]:
    os.mkfifo(fifo)
    process = subprocess.Popen(
        script(root, body),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps([COMMANDS, steps(fifo)]))
    process.stdin.close()
    return process


def open_when_read(fifo: Path) -> int:
    """Block until the Step reads the FIFO; it ends when the descriptor is closed."""
    return os.open(fifo, os.O_WRONLY)


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        return process.stdout.read(), process.stderr.read()


def test_two_objects_share_one_engine(tmp_path: Path) -> None:
    config = {"root": tmp_path, "runtime": "process"}
    one, two = Gaia(config), Gaia(config)
    one.upload("w", {}, COMMANDS, steps(tmp_path)[:1])
    assert two.wait("w", 20)["state"] == "complete"
    one.close()
    two.merge("w", [{"name": "c", "command": "hi", "outputs": {"x": "d:c"}}])
    assert two.wait("w", 20)["state"] == "complete"
    two.close()
    with Gaia(config) as again:
        assert again.status("w")["state"] == "complete"


def test_another_configuration_for_an_open_root_is_refused(tmp_path: Path) -> None:
    with Gaia({"root": tmp_path, "runtime": "process", "workers": 2}):
        with pytest.raises(GaiaError, match="workers"):
            Gaia({"root": tmp_path, "workers": 3})
        Gaia({"root": tmp_path, "workers": 2}).close()


def test_merely_reading_creates_nothing(tmp_path: Path) -> None:
    with Gaia({"root": tmp_path / "none"}) as gaia:
        assert gaia.workflows() == {"workflows": {}}
        gaia.status("w")
        with pytest.raises(GaiaError, match="'w'"):
            gaia.events("w")
    assert not (tmp_path / "none").exists()


def test_a_script_that_ends_waits_for_its_steps(tmp_path: Path) -> None:
    body = "Gaia(config).upload('w', {}, commands, steps)\nprint('end', flush=True)"
    process = start(tmp_path / "root", tmp_path / "fifo", body)
    assert process.stdout is not None
    assert process.stdout.readline() == "end\n"
    os.close(open_when_read(tmp_path / "fifo"))
    _, errors = end(process)
    assert (process.returncode, errors.count("Traceback")) == (0, 0), errors
    with Gaia({"root": tmp_path / "root"}) as gaia:
        assert gaia.status("w")["state"] == "complete"
        assert gaia.path("w", "d:b").read_text() == "hi\n"


@pytest.mark.parametrize(
    "body",
    [
        "Gaia(config).upload('w', {}, commands, steps)",
        "gaia = Gaia(config)\ngaia.upload('w', {}, commands, steps)\ngaia.wait('w')",
        "with Gaia(config) as gaia:\n    gaia.upload('w', {}, commands, steps)",
        "with Gaia(config) as gaia:\n    gaia.upload('w', {}, commands, steps)\n    gaia.wait('w')",
    ],
    ids=["at the end", "in wait", "leaving the block", "in the block"],
)
def test_ctrl_c_stops_what_runs_and_leaves_it_resumable(tmp_path: Path, body: str) -> None:
    process = start(tmp_path / "root", tmp_path / "fifo", body)
    writer = open_when_read(tmp_path / "fifo")
    process.send_signal(signal.SIGINT)
    _, errors = end(process)
    os.close(writer)
    with Gaia({"root": tmp_path / "root", "runtime": "process"}) as gaia:
        assert gaia.status("w")["state"] == "halted", errors
        gaia.run("w")
        os.close(open_when_read(tmp_path / "fifo"))
        assert gaia.wait("w", 20)["state"] == "complete"
        started = [event["task"] for event in gaia.events("w") if event["event"] == "step-start"]
        assert started == ["a", "b", "b"]


def test_a_second_process_reaches_the_first(tmp_path: Path, wait_until: WaitUntil) -> None:
    process = start(
        tmp_path / "root", tmp_path / "fifo", "Gaia(config).upload('w', {}, commands, steps)"
    )
    writer = open_when_read(tmp_path / "fifo")
    with Gaia({"root": tmp_path / "root", "runtime": "process"}) as gaia:
        assert gaia.status("w")["state"] == "running"
        assert gaia.workflows()["workflows"]["w"]["state"] == "running"
        assert gaia.progress("w") == {
            "state": "running",
            "steps": 2,
            "done": 1,
            "running": 1,
            "failed": 0,
            "waiting": 0,
        }
        wait_until(lambda: gaia.logs("w", "b") == "up\n")
        assert [event["task"] for event in gaia.events("w") if event["event"] == "step-start"] == [
            "a",
            "b",
        ]
        with pytest.raises(TimeoutError, match="'w'"):
            gaia.wait("w", 0.05)
        gaia.upload("v", {}, COMMANDS, steps(tmp_path)[:1])
        assert gaia.wait("v", 20)["state"] == "complete"
        assert gaia.path("v", "d:a").read_text() == "hi\n"
        gaia.halt("w")
        assert gaia.wait("w", 20)["state"] == "halted"
        os.close(writer)
        _, errors = end(process)  # nothing runs there any more
        assert process.returncode == 0, errors
        assert gaia.status("w")["state"] == "halted"
        assert ownership.owner(tmp_path / "root") is None
        gaia.run("w")
        assert ownership.owner(tmp_path / "root") == os.getpid()
        os.close(open_when_read(tmp_path / "fifo"))
        assert gaia.wait("w", 20)["state"] == "complete"


def test_a_second_process_with_another_configuration_may_only_read(tmp_path: Path) -> None:
    process = start(
        tmp_path / "root", tmp_path / "fifo", "Gaia(config).upload('w', {}, commands, steps)"
    )
    writer = open_when_read(tmp_path / "fifo")
    with Gaia({"root": tmp_path / "root", "runtime": "docker"}) as gaia:
        assert gaia.status("w")["state"] == "running"
        with pytest.raises(GaiaError, match=rf"runtime: .*process {process.pid} already"):
            gaia.halt("w")
        assert gaia.status("w")["state"] == "running"
    os.close(writer)
    end(process)


def test_without_the_owners_socket_a_second_process_may_only_read(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    process = start(
        tmp_path / "root", tmp_path / "fifo", "Gaia(config).upload('w', {}, commands, steps)"
    )
    writer = open_when_read(tmp_path / "fifo")
    (tmp_path / "root" / "engine.sock").unlink()
    with Gaia({"root": tmp_path / "root", "runtime": "process"}) as gaia:
        assert gaia.status("w")["state"] == "running"
        wait_until(lambda: gaia.logs("w", "b") == "up\n")
        changes: list[Callable[[], object]] = [
            lambda: gaia.halt("w"),
            lambda: gaia.run("w"),
            lambda: gaia.expire("w", ["a"]),
            lambda: gaia.upload("v", {}, COMMANDS, []),
            lambda: gaia.merge("w", steps(tmp_path)),
            lambda: gaia.delete("w"),
        ]
        for change in changes:
            with pytest.raises(GaiaError, match=f"process {process.pid}"):
                change()
    os.close(writer)
    _, errors = end(process)
    assert process.returncode == 0, errors


def test_an_engine_that_died_leaves_its_workflow_halted(tmp_path: Path) -> None:
    process = start(
        tmp_path / "root", tmp_path / "fifo", "Gaia(config).upload('w', {}, commands, steps)"
    )
    writer = open_when_read(tmp_path / "fifo")
    process.kill()
    end(process)
    with Gaia({"root": tmp_path / "root", "runtime": "process"}) as gaia:
        assert gaia.workflows()["workflows"]["w"]["state"] in ("running", "halted")
        assert gaia.status("w")["state"] == "halted"
        assert gaia.events("w")[-1] == {
            **gaia.events("w")[-1],
            "event": "flow-halted",
            "reason": "interrupted",
        }
        os.close(writer)
        gaia.run("w")
        os.close(open_when_read(tmp_path / "fifo"))
        assert gaia.wait("w", 20)["state"] == "complete"
        started = [event["task"] for event in gaia.events("w") if event["event"] == "step-start"]
        assert started == ["a", "b", "b"]


def test_an_exception_that_leaves_the_block_stops_what_runs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    config = {"root": tmp_path / "root", "runtime": "process"}
    with pytest.raises(ZeroDivisionError), Gaia(config) as gaia:
        gaia.upload("w", {}, COMMANDS, steps(tmp_path / "fifo"))
        os.close(os.open(tmp_path / "fifo", os.O_RDWR))
        raise ZeroDivisionError
    with Gaia(config) as gaia:
        assert gaia.status("w")["state"] == "halted"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), GaiaError("the disk is full")], ids=["Ctrl-C", "refusal"]
)
@pytest.mark.parametrize(
    ("part", "runtimes"),
    [
        ("gaia_local.engine.engine.Database", 0),
        ("gaia_local.engine.engine.recover", 0),
        ("gaia_local.engine.engine.Scheduler", 1),
        ("gaia_local.store.watcher.Watcher", 1),
    ],
)
def test_an_owner_that_can_t_begin_ends_all_that_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, runtimes: int, error: BaseException
) -> None:
    ended: list[str] = []
    close = ProcessRuntime.close

    def noted(runtime: ProcessRuntime) -> None:
        ended.append("runtime")
        close(runtime)

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ProcessRuntime, "close", noted)
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        with monkeypatch.context() as patch:
            patch.setattr(part, broken)
            with pytest.raises(type(error)):
                gaia.own()
        assert ended == ["runtime"] * runtimes
        assert ownership.owner(tmp_path) is None
        gaia.upload("w", {}, COMMANDS, steps(tmp_path)[:1])
        assert gaia.wait("w", 20)["state"] == "complete"
    assert ended == ["runtime"] * (runtimes + 1)


def test_a_forked_child_leaves_the_engine_alone(tmp_path: Path) -> None:
    body = """
        import os
        gaia = Gaia(config)
        gaia.upload('w', {}, commands, steps)
        child = os.fork()
        if child == 0:
            gaia.close(wait=False)
            sys.exit()  # through the interpreter's end, as multiprocessing's children go
        print(os.waitpid(child, 0)[1], flush=True)
    """
    process = start(tmp_path / "root", tmp_path / "fifo", textwrap.dedent(body))
    writer = open_when_read(tmp_path / "fifo")
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    os.close(writer)
    _, errors = end(process)
    assert process.returncode == 0, errors
    with Gaia({"root": tmp_path / "root"}) as gaia:
        assert gaia.status("w")["state"] == "complete"


def test_standard_output_cannot_be_a_directory(tmp_path: Path) -> None:
    printed = {"name": "p", "image": "busybox", "command": ["echo"], "outputs": {"o": ">"}}
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        with pytest.raises(GaiaError, match=r"'s'.*'p'.*'o'.*'d:x/' is a directory"):
            gaia.upload(
                "w", {}, [printed], [{"name": "s", "command": "p", "outputs": {"o": "d:x/"}}]
            )
        assert gaia.workflows() == {"workflows": {}}
