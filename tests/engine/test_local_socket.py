"""The way into a root that another process owns: answers, and calls when the owner ends."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.engine import local_socket
from gaia_local.engine.local_socket import NAME, Listener, Unreachable, call
from gaia_local.errors import DiskError, EngineUnavailable, InvalidInput, WorkflowExists
from gaia_local.store import ownership
from support.builders import step
from support.owner import Owner

COMMANDS = [
    {
        "name": "hi",
        "image": "busybox",
        "command": ["sh", "-c", "echo hi > /out/x"],
        "outputs": {"x": "/out/x"},
    }
]
WAIT = {
    "name": "wait",
    "image": "busybox",
    "command": ["sh", "-c", "cat {{fifo}} > /out/x"],
    "outputs": {"x": "/out/x"},
}


def nothing(value: object) -> object:
    raise TypeError


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def make(answer: Callable[[str, Mapping[str, Any], Mapping[str, str]], Any]) -> Listener:
        made.append(Listener(tmp_path, answer))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner()
    owner.own({"root": str(tmp_path / "root"), "runtime": "process"})
    yield owner
    owner.close()


# ------------------------------------------------------------------------------------- the listener


def test_a_call_and_its_answer(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    listen(lambda name, arguments, config: [name, arguments, config])
    assert call(tmp_path, "status", {"workflow": "w\n"}, {"runtime": "x"}, nothing) == [
        "status",
        {"workflow": "w\n"},
        {"runtime": "x"},
    ]


def test_only_the_user_may_connect(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    listen(lambda *_: None)
    mode = (tmp_path / NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("workflow 'w'", "it is odd", "give another"),
        WorkflowExists("exists: w"),
        DiskError("the disk is full"),
    ],
)
def test_an_error_is_the_same_on_the_other_side(
    tmp_path: Path, listen: Callable[..., Listener], error: GaiaError
) -> None:
    def refuse(*_: object) -> None:
        raise error

    listen(refuse)
    with pytest.raises(type(error)) as raised:
        call(tmp_path, "status", {}, {}, nothing)
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


def test_a_defect_is_told_and_logged(
    tmp_path: Path, listen: Callable[..., Listener], caplog: pytest.LogCaptureFixture
) -> None:
    listen(lambda *_: 1 / 0)
    with pytest.raises(GaiaError, match="the engine failed: ZeroDivisionError"):
        call(tmp_path, "status", {}, {}, nothing)
    assert "a call from another process failed" in caplog.text


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"null\n", b"[]\n", b"{}\n", b'{"version": 1}\n', b"\xff\n", b'{"version": 0}\n'],
)
def test_nonsense_is_answered_or_left_alone(
    tmp_path: Path, listen: Callable[..., Listener], line: bytes
) -> None:
    listen(lambda *_: "fine")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / NAME))
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as reader:
            reply = reader.readline()
    assert reply == b"" if not line.endswith(b"\n") else "error" in json.loads(reply)
    assert call(tmp_path, "status", {}, {}, nothing) == "fine"


def test_another_version_is_refused_with_a_word(
    tmp_path: Path, listen: Callable[..., Listener]
) -> None:
    listen(lambda *_: "fine")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / NAME))
        connection.sendall(b'{"version": 99, "call": "status", "arguments": {}, "config": {}}\n')
        with connection.makefile("rb") as reader:
            assert (
                f"process {os.getpid()}" in json.loads(reader.readline())["error"]["arguments"][0]
            )


def test_calls_to_an_absent_owner_fail(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    with pytest.raises(Unreachable) as none:
        call(tmp_path, "status", {}, {}, nothing)
    assert none.value.absent
    listen(lambda *_: None).refuse()
    with pytest.raises(Unreachable) as refused:
        call(tmp_path, "status", {}, {}, nothing)
    assert not refused.value.absent
    assert not refused.value.told_all


def test_a_call_that_was_taken_is_answered(tmp_path: Path, listen: Callable[..., Listener]) -> None:
    taken, go = threading.Event(), threading.Event()

    def answer(*_: object) -> str:
        taken.set()
        assert go.wait(20)
        return "done"

    listener = listen(answer)
    answers: list[object] = []
    caller = threading.Thread(target=lambda: answers.append(call(tmp_path, "run", {}, {}, nothing)))
    caller.start()
    assert taken.wait(20)
    listener.refuse()
    with pytest.raises(Unreachable):
        call(tmp_path, "run", {}, {}, nothing)
    go.set()
    listener.close()
    assert not (tmp_path / NAME).exists()
    caller.join()
    assert answers == ["done"]


def test_a_silent_client_does_not_delay_close(
    tmp_path: Path, listen: Callable[..., Listener]
) -> None:
    listener = listen(lambda *_: None)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / NAME))
        assert call(tmp_path, "run", {}, {}, nothing) is None  # so the silent one was taken before
        listener.close()


def test_a_client_that_does_not_read_does_not_delay_close(
    tmp_path: Path, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_socket, "TIMEOUT_SECONDS", 0.2)
    taken = threading.Event()

    def answer(*_: object) -> str:
        taken.set()
        return "x" * 10_000_000

    listener = listen(answer)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(tmp_path / NAME))
        deaf.sendall(b'{"version": 1, "call": "logs", "arguments": {}, "config": {}}\n')
        assert taken.wait(20)
        listener.close()


def test_an_owner_that_ends_refuses_and_isn_t_absent(
    tmp_path: Path, listen: Callable[..., Listener]
) -> None:
    listener = listen(lambda *_: None)
    listener.finish()
    with pytest.raises(Unreachable) as ending:
        call(tmp_path, "run", {}, {}, nothing)
    assert not ending.value.absent
    listener.close()
    with pytest.raises(Unreachable) as ended:
        call(tmp_path, "run", {}, {}, nothing)
    assert ended.value.absent


def test_the_place_of_a_dead_owner_is_taken(
    tmp_path: Path, listen: Callable[..., Listener]
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / NAME))
    listen(lambda *_: "alive")
    assert call(tmp_path, "run", {}, {}, nothing) == "alive"


def test_a_root_with_a_long_path(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 30)
    root.mkdir()
    listener = Listener(root, lambda *_: "far")
    assert call(root, "run", {}, {}, nothing) == "far"
    listener.close()


def test_another_user_is_not_answered_though_the_socket_is_open_to_all(tmp_path: Path) -> None:
    """As on a file system without modes."""
    if os.geteuid():
        pytest.skip("only root can be another user")
    talk = """
        import os, socket, sys
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(sys.argv[1])
            try:
                call = b'{"version": 1, "call": "status", "arguments": {}, "config": {}}\\n'
                connection.sendall(call)
                print(connection.recv(100))
            except ConnectionError:
                print(b"")
    """
    asked: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        listener = Listener(Path(folder), lambda name, *_: asked.append(name))
        os.chmod(f"{folder}/{NAME}", 0o666)
        program = [sys.executable, "-I", "-S", "-c", textwrap.dedent(talk), f"{folder}/{NAME}"]
        said = subprocess.run(
            program, capture_output=True, text=True, timeout=60, check=True
        ).stdout
        call(Path(folder), "mine", {}, {}, nothing)
        listener.close()
    assert said == "b''\n"
    assert asked == ["mine"]


def test_calls_wait_for_each_other_where_there_are_too_many(
    tmp_path: Path, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_socket, "MOST", 3)
    lock, go_on = threading.Lock(), threading.Event()
    at_a_time, most = 0, 0

    def answer(*_: object) -> str:
        nonlocal at_a_time, most
        with lock:
            at_a_time += 1
            most = max(most, at_a_time)
            if most == 3:
                go_on.set()
        assert go_on.wait(20)
        with lock:
            at_a_time -= 1
        return "fine"

    listen(answer)
    answers: list[Any] = []
    callers = [
        threading.Thread(target=lambda: answers.append(call(tmp_path, "x", {}, {}, nothing)))
        for _ in range(20)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert answers == ["fine"] * 20
    assert most == 3


def test_silent_clients_delay_others_for_a_limited_time(
    tmp_path: Path, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_socket, "MOST", 3)
    monkeypatch.setattr(local_socket, "TIMEOUT_SECONDS", 0.5)
    listener = listen(lambda *_: "fine")
    silent = [socket.socket(socket.AF_UNIX) for _ in range(9)]
    for client in silent:
        client.connect(str(tmp_path / NAME))
    assert call(tmp_path, "x", {}, {}, nothing) == "fine"
    for client in silent:
        client.close()
    with (
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as other,
        socket.socket(socket.AF_UNIX) as third,
    ):
        for client in (one, other, third):
            client.connect(str(tmp_path / NAME))
        listener.close()  # which waits for none of them


def test_too_few_descriptors_are_told_once(
    tmp_path: Path,
    listen: Callable[..., Listener],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener, tries = listen(lambda *_: "fine"), 0
    accept = listener._socket.accept

    class Poor:
        """The listening socket, in a process that has no descriptors left for a while."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def accept(self) -> Any:
            nonlocal tries
            tries += 1
            if tries < 4:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return accept()

    real = listener._socket
    monkeypatch.setattr(listener, "_socket", Poor())
    for _ in range(2):  # the first is taken by an `accept` that waits already
        assert call(tmp_path, "x", {}, {}, nothing) == "fine"
    assert tries >= 4
    assert (
        len([record for record in caplog.records if "can't be accepted" in record.getMessage()])
        == 1
    )


# ------------------------------------------------------------------------------------ two processes


def test_refusals_of_an_owner_read_as_in_process(tmp_path: Path, owner: Owner) -> None:
    config = {"root": tmp_path / "root", "runtime": "process"}
    with Gaia(config) as gaia:
        with pytest.raises(InvalidInput) as told:
            gaia.run("w")
        gaia.upload("w", {}, COMMANDS, [step("a", "hi", "d:a")])
        with pytest.raises(WorkflowExists, match=r"^workflow already exists: w$"):
            gaia.upload("w", {}, COMMANDS, [step("a", "hi", "d:a")])
    owner.leave(tmp_path / "root")
    with Gaia({**config, "root": tmp_path / "other"}) as gaia, pytest.raises(InvalidInput) as own:
        gaia.run("w")
    assert str(told.value).replace("/root", "/other") == str(own.value)


def test_calls_go_on_when_the_owner_is_killed(tmp_path: Path, owner: Owner) -> None:
    with Gaia({"root": tmp_path / "root", "runtime": "process"}) as gaia:
        gaia.upload("w", {}, COMMANDS, [step("a", "hi", "d:a")])
        assert gaia.wait("w", 20)["state"] == "complete"
        owner.kill()
        assert gaia.status("w")["state"] == "complete"
        gaia.merge("w", [step("b", "hi", "d:b")])
        assert ownership.owner(tmp_path / "root") == os.getpid()
        assert gaia.wait("w", 20)["state"] == "complete"


def test_a_waiting_call_ends_when_the_owner_closes(tmp_path: Path, owner: Owner) -> None:
    os.mkfifo(tmp_path / "fifo")
    with Gaia({"root": tmp_path / "root", "runtime": "process"}) as gaia:
        held = {
            "name": "held",
            "command": "wait",
            "outputs": {"x": "d:x"},
            "vars": {"fifo": str(tmp_path / "fifo")},
        }
        gaia.upload("w", {}, [WAIT], [held])
        writer = os.open(tmp_path / "fifo", os.O_WRONLY)
        states: list[str] = []
        waiter = threading.Thread(target=lambda: states.append(gaia.wait("w", 30)["state"]))
        waiter.start()
        owner.kill()
        waiter.join()
        os.close(writer)
        assert states == ["halted"]


def test_many_processes_change_one_root(tmp_path: Path) -> None:
    """Owners come and go while others call them: all uploaded workflows run to their ends."""
    code = """
        import json, sys
        from gaia_local import Gaia
        config, name, commands, steps = json.load(sys.stdin)
        with Gaia(config) as gaia:
            gaia.upload(name, {}, commands, steps)
    """
    config = {"root": str(tmp_path / "root"), "runtime": "process"}
    names = [f"w{n}" for n in range(12)]
    running: list[subprocess.Popen[str]] = []
    for name in names:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdin is not None
        process.stdin.write(
            json.dumps([config, name, COMMANDS, [step("a", "hi", "d:a"), step("b", "hi", "d:b")]])
        )
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * len(names)
    with Gaia(config) as gaia:
        assert {
            name: workflow["state"] for name, workflow in gaia.workflows()["workflows"].items()
        } == dict.fromkeys(names, "complete")
        for name in names:
            assert sorted(
                event["task"] for event in gaia.events(name) if event["event"] == "step-start"
            ) == ["a", "b"]


def test_an_upload_that_may_have_been_made_is_not_made_again(tmp_path: Path) -> None:
    root = tmp_path / "root"
    lock = ownership.Ownership(root)
    with socket.socket(socket.AF_UNIX) as dying, Gaia({"root": root}) as gaia:
        dying.bind(str(root / NAME))
        dying.listen()

        def hang_up() -> None:
            connection, _ = dying.accept()
            with connection, connection.makefile("rb") as reader:
                reader.readline()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(EngineUnavailable, match="`status`"):
            gaia.upload("w", {}, [], [])
        thread.join()
    lock.release()


def test_a_forked_child_doesn_t_listen(tmp_path: Path, owner: Owner) -> None:
    """Else a child that outlives its parent would let callers wait for ever."""
    code = """
        import os, sys
        from gaia_local import Gaia
        gaia = Gaia({"root": sys.argv[1], "runtime": "process"})
        gaia.own()
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        os._exit(0)
    """
    root = tmp_path / "another"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(root)], stdin=subprocess.PIPE
    ) as process:
        process.wait(20)  # its child lives on
        with pytest.raises(Unreachable):
            call(root, "workflows", {}, {}, nothing)
