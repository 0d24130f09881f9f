"""The runtime `process`: a program's environment, its end, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import gc
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.forks import await_fork, forking
from gaia_local.model.tasks import BY_REQUEST, BY_TIMEOUT
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, Runtime
from gaia_local.runtimes.process import runtime as process_runtime
from gaia_local.runtimes.process import starting
from gaia_local.runtimes.process.marked_processes import end_leftover, leftover
from gaia_local.runtimes.process.runtime import ProcessRuntime
from gaia_local.runtimes.process.supervisor import RECORD
from support.gates import Fifo
from support.processes import (
    ProcessBench,
    bench,
    crashed,
    fifo,
    living,
    python,
    recorded,
    running,
    silent,
)
from support.waiting import wait_until

__all__ = ["bench", "fifo"]

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and pidfd")


@pytest.fixture
def unsupervised(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no Python could be started as a supervisor."""
    monkeypatch.setattr(process_runtime, "available", lambda: False)


@pytest.fixture(params=["supervisor", "pidfd", "waitid", "neither"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Linux, one without supervisors, an old one, and macOS before Python 3.13."""
    if request.param != "supervisor":
        request.getfixturevalue("unsupervised")
    if request.param in ("waitid", "neither"):
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    if request.param == "neither":
        monkeypatch.delattr(os, "waitid", raising=False)
    return str(request.param)


def holds(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


# ---------------------------------------------------------------- a program's files and environment


def test_the_process_runtime_keeps_the_contract() -> None:
    runtime: Runtime = ProcessRuntime()
    assert (runtime.name, runtime.mounts_inputs) == ("process", False)
    runtime.check(["image:1"])
    assert runtime.image_id("image:1") is None
    assert not runtime.resumable_tasks()
    runtime.end("task")
    runtime.close()
    runtime.close()


def test_inputs_outputs_and_stdout_are_found_where_they_lie(
    bench: ProcessBench, system: str
) -> None:
    invocation = bench.invocation(
        "sh",
        "-c",
        "cat /in/a > /out/dir/b; echo to-stdout; cat /out/log.txt >&2; echo > and STDOUT",
        inputs=["/in/a"],
        outputs=["/out/dir/", ">", "STDOUT", ">>"],
        stdout="/out/log.txt",
    )
    Path(invocation.tree, "out/dir").mkdir()
    Path(invocation.tree, "in/a").write_bytes(b"in\xff\n")
    assert bench.run(invocation) == Exit(0)
    assert Path(invocation.tree, "out/dir/b").read_bytes() == b"in\xff\n"
    assert Path(invocation.tree, "out/log.txt").read_bytes() == b"to-stdout\n"
    assert Path(invocation.work, "and").read_bytes() == b"STDOUT\n"


def test_a_program_that_is_an_input(bench: ProcessBench) -> None:
    invocation = bench.invocation("/in/program", "/in/program", inputs=["/in/program"])
    program = Path(invocation.tree, "in/program")
    program.write_text('#!/bin/sh\necho "$0 $1"\n')
    program.chmod(0o755)
    assert bench.run(invocation) == Exit(0)
    assert Path(invocation.log).read_text() == f"{program} {program}\n"


def test_working_directory_stdin_environment_and_session(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_THE_CALLER", "a=b \udcff")
    program = """
        import json, os, sys
        leads = os.getsid(0) == os.getpid() == os.getpgid(0)
        descriptors = os.listdir("/dev/fd") if os.path.exists("/dev/fd") else []
        variables = [os.environ[name] for name in ("FROM_THE_CALLER", "GAIA_LOCAL_TASK")]
        print(json.dumps([os.getcwd(), sys.stdin.read(), *variables, leads, descriptors]))
    """
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)  # as if it was inherited from a parent of ours
    try:
        invocation = bench.invocation(*python(program))
        assert bench.run(invocation) == Exit(0)
    finally:
        os.close(read_end)
        os.close(write_end)
    cwd, stdin, variable, task, leads, descriptors = json.loads(Path(invocation.log).read_text())
    assert (cwd, stdin, variable, task) == (
        str(Path(invocation.work).resolve()),
        "",
        "a=b \udcff",
        invocation.task.id,
    )
    assert leads
    assert str(write_end) not in descriptors


def test_the_home_is_private_and_writable(bench: ProcessBench, system: str) -> None:
    invocation = bench.invocation("sh", "-ec", 'ls -A "$HOME"; echo 1 > "$HOME/made"; echo "$HOME"')
    assert bench.run(invocation) == Exit(0)
    assert Path(invocation.log).read_text() == f"{invocation.work}\n"
    assert Path(invocation.work, "made").read_text() == "1\n"


@pytest.mark.parametrize(
    ("gpus", "seen"), [((), "7\n"), (("1",), "1\n"), (("GPU-a", "2"), "GPU-a,2\n")]
)
def test_a_program_sees_the_gpus_that_it_was_given(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    invocation = bench.invocation("sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert bench.run(dataclasses.replace(invocation, gpus=gpus)) == Exit(0)
    assert Path(invocation.log).read_text() == seen


@pytest.mark.parametrize(
    ("environment", "order"),
    [
        ({}, "PCI_BUS_ID"),
        ({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, "FASTEST_FIRST"),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, "unset"),
    ],
)
def test_gpus_are_numbered_as_docker_does_unless_the_user_named_some(
    bench: ProcessBench,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    order: str,
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    invocation = bench.invocation("sh", "-c", "echo ${CUDA_DEVICE_ORDER-unset}")
    assert bench.run(dataclasses.replace(invocation, gpus=("1",))) == Exit(0)
    assert Path(invocation.log).read_text() == f"{order}\n"


def test_the_log_is_added_to_in_order(bench: ProcessBench, system: str) -> None:
    invocation = bench.invocation("sh", "-c", "echo 1; echo 2 >&2; sh -c 'echo 3'; echo 4 >&2")
    Path(invocation.log).write_text("0\n")
    assert bench.run(invocation) == Exit(0)
    assert Path(invocation.log).read_text() == "0\n1\n2\n3\n4\n"


def test_lines_of_both_streams_stay_whole_in_the_log(bench: ProcessBench, system: str) -> None:
    program = """
        import os, sys
        for n in range(100):
            for _ in range(500):
                print("a line of stdout")  # in blocks, which end amid lines
            print("a line of stderr", file=sys.stderr)
        sys.stdout.flush()
        os.write(1, b"no end")
    """
    invocation = bench.invocation(*python(program), stdout="/out/x")
    assert bench.run(invocation) == Exit(0)
    lines = Path(invocation.log).read_text().splitlines()
    counts = [lines.count(line) for line in ("a line of stdout", "a line of stderr", "no end")]
    assert (counts, len(lines)) == ([50_000, 100, 1], 50_101)


def test_five_megabytes_arrive_whole_in_both_files(bench: ProcessBench, system: str) -> None:
    program = """
        import sys
        for _ in range(1280):
            sys.stdout.buffer.write(bytes(range(256)) * 16)
        sys.stderr.buffer.write(b"\\xfe\\xff")
    """
    invocation = bench.invocation(*python(program), stdout="/out/x")
    assert bench.run(invocation) == Exit(0)
    expected = bytes(range(256)) * 16 * 1280
    assert invocation.stdout is not None
    assert Path(invocation.stdout).read_bytes() == expected
    log = Path(invocation.log).read_bytes()
    assert len(log) == len(expected) + 2
    assert log.replace(b"\xfe\xff\xfe\xff", b"\xfe\xff", 1) == expected or b"\xfe\xff" in log


def test_five_megabytes_arrive_whole_in_the_log(bench: ProcessBench) -> None:
    invocation = bench.invocation(
        *python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 20480)")
    )
    assert bench.run(invocation) == Exit(0)
    assert Path(invocation.log).read_bytes() == bytes(range(256)) * 20480


def test_output_is_there_while_the_program_runs(bench: ProcessBench, fifo: Fifo) -> None:
    for stdout in (None, "/out/x"):
        invocation = bench.invocation(
            "sh", "-c", f"echo line; read go < {fifo.path}", stdout=stdout
        )
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(bench.run, invocation)
            wait_until(functools.partial(holds, Path(invocation.log), b"line\n"))
            assert not running.done()
            fifo.path.write_text("go\n")
            assert running.result() == Exit(0)


def test_a_program_that_closes_stdout_and_goes_on(bench: ProcessBench, system: str) -> None:
    invocation = bench.invocation(
        "sh", "-c", "echo first; exec >&-; sleep 0.1; touch done; exit 3", stdout="/out/x"
    )
    assert bench.run(invocation) == Exit(3)
    assert Path(invocation.work, "done").exists()
    assert Path(invocation.log).read_text() == "first\n"


def test_images_are_ignored_with_one_warning(
    bench: ProcessBench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "gaia_local"), ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.run, [bench.invocation("true") for _ in range(8)]))
    assert [record.getMessage() for record in caplog.records] == [
        "runtime 'process': images are ignored ('image:1' first); "
        "programs run as this machine has them"
    ]


# -------------------------------------------------------------------------------------- its endings


@pytest.mark.parametrize("stdout", [None, "/out/x"])
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", Exit(0)),
        ("exit 7", Exit(7)),
        ("exit 137", Exit(137)),
        ("kill -15 $$", Exit(143, "killed by SIGTERM")),
        ("kill -SEGV $$", Exit(139, "killed by SIGSEGV")),
    ],
)
def test_exit_codes(
    bench: ProcessBench, system: str, script: str, expected: Exit, stdout: str | None
) -> None:
    assert bench.run(bench.invocation("sh", "-c", script, stdout=stdout)) == expected


def test_killed_by_sigkill(bench: ProcessBench, system: str) -> None:
    ended = bench.run(bench.invocation("sh", "-c", "kill -9 $$"))
    assert ended.code == 137 and ended.message is not None
    assert re.fullmatch(
        r"killed by SIGKILL \(perhaps out of memory(; it had used [\d.]+ MB)?\)", ended.message
    )


@linux
def test_a_path_that_was_left_as_it_is_is_told_where_the_program_fails(bench: ProcessBench) -> None:
    ended = bench.run(bench.invocation("sh", "-c", "cat /in/*.txt", inputs=["/in/a.txt"]))
    assert ended.code == 1
    assert ended.message is not None
    assert ended.message.startswith("'/in/*.txt' in its tokens")
    assert bench.run(
        bench.invocation("sh", "-c", "ls /in/*.txt || true", inputs=["/in/a.txt"])
    ) == Exit(0)


def test_a_signal_without_a_name(bench: ProcessBench) -> None:
    number = signal.SIGRTMIN + 3
    assert bench.run(bench.invocation("sh", "-c", f"kill -{number} $$")) == Exit(
        128 + number, f"killed by signal {number}"
    )


def events_of(
    bench: ProcessBench, invocation: Invocation
) -> tuple[Exit, list[tuple[str, dict[str, Any]]]]:
    events: list[tuple[str, dict[str, Any]]] = []
    ended = bench.run(invocation, report=lambda event, /, **facts: events.append((event, facts)))
    return ended, events


@pytest.mark.parametrize(
    ("command", "code"),
    [(("true",), 0), (("false",), 1), (("no-such-program",), 127), (("/",), 126)],
)
def test_events_in_their_order(bench: ProcessBench, command: tuple[str, ...], code: int) -> None:
    ended, events = events_of(bench, bench.invocation(*command))
    assert ended.code == code
    assert events == [
        ("execution-start", {}),
        ("execution-complete", {}),
        ("container-exit", {"code": code}),
    ]


def test_a_missing_program(bench: ProcessBench) -> None:
    for program in (
        "no-such-program",
        "/no/such/program",
        "./none",
        "/etc/passwd/x",
        "x" * 300,
        "",
    ):
        ended = bench.run(bench.invocation(program))
        assert ended.code == 127
        assert ended.message is not None
        assert f"program {program!r} is missing on this machine" in ended.message


def test_a_missing_program_is_named_as_the_command_names_it(bench: ProcessBench) -> None:
    assert "program '/in/a' is missing" in str(
        bench.run(bench.invocation("/in/a", inputs=["/in/a"])).message
    )


def test_a_missing_program_where_path_is_closed_in_part(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "no-such-program")

    monkeypatch.setattr(subprocess, "Popen", denied)
    ended = bench.run(bench.invocation("no-such-program"))
    assert ended.code == 127
    assert "as far as PATH can be read" in str(ended.message)


@pytest.mark.parametrize(
    ("content", "lacking"),
    [
        (
            b"#!/no/such/one\n",
            "the interpreter '/no/such/one' that its first line names is missing",
        ),
        (b"#!/bin/sh\r\necho\r\n", "its lines end with CR LF"),
    ],
)
def test_a_missing_interpreter(bench: ProcessBench, content: bytes, lacking: str) -> None:
    invocation = bench.invocation("./script")
    Path(invocation.work, "script").write_bytes(content)
    Path(invocation.work, "script").chmod(0o755)
    ended = bench.run(invocation)
    assert ended.code == 127
    assert f"program './script' is there, but {lacking}" in str(ended.message)


@pytest.mark.parametrize(
    ("content", "mode"), [("#!/bin/sh\n", 0o644), ("neither a script nor a binary\n", 0o755)]
)
def test_a_program_that_cannot_be_executed(bench: ProcessBench, content: str, mode: int) -> None:
    invocation = bench.invocation("./program")
    Path(invocation.work, "program").write_text(content)
    Path(invocation.work, "program").chmod(mode)
    ended = bench.run(invocation)
    assert ended.code == 126
    assert "program './program' cannot be executed: " in str(ended.message)


def test_a_missing_working_directory_is_no_missing_program(bench: ProcessBench) -> None:
    invocation = bench.invocation("true")
    Path(invocation.work).rmdir()
    with pytest.raises(
        RuntimeFailure,
        match=r"workflow 'flow', Step 'step': its working directory .*work is missing",
    ):
        bench.run(invocation)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["x" * 131_072], "its longest token has 131072 bytes, and a program takes 131071 at most"),
        (["x" * 100_000] * 100, r"its 101 tokens \(the longest has 100000 bytes\) and the"),
    ],
)
def test_tokens_that_are_too_long(bench: ProcessBench, tokens: list[str], words: str) -> None:
    with pytest.raises(RuntimeFailure, match=f"Step 'step': {words}.*give it as an input"):
        bench.run(bench.invocation("true", *tokens))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_machine_that_has_no_room(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", full)
    with pytest.raises(
        RuntimeFailure, match=f"program 'true' cannot be started: {os.strerror(number)}"
    ):
        bench.run(bench.invocation("true"))


def test_a_token_that_no_program_can_be_given(bench: ProcessBench) -> None:
    with pytest.raises(RuntimeFailure, match="cannot be started"):
        bench.run(bench.invocation("echo", "a\0b"))


def test_files_that_cannot_be_written(bench: ProcessBench) -> None:
    invocation = bench.invocation("echo", "said")
    Path(invocation.log).mkdir()
    with pytest.raises(RuntimeFailure, match=r"log cannot be written: "):
        bench.run(invocation)
    invocation = bench.invocation("true", stdout="/out/x")
    Path(invocation.tree, "out/x").mkdir()
    with pytest.raises(RuntimeFailure, match=r"out/x cannot be written: "):
        bench.run(invocation)


@linux
def test_a_full_disk_ends_the_run(bench: ProcessBench) -> None:
    invocation = bench.invocation("sh", "-c", "echo x; exec sleep 60", stdout="/out/x")
    Path(invocation.tree, "out/x").symlink_to("/dev/full")
    with pytest.raises(
        RuntimeFailure, match="the program's output cannot be stored: No space left on device"
    ):
        bench.run(invocation)
    assert living(invocation) == []


@linux
def test_an_exit_code_that_went_elsewhere_is_not_taken_for_success(
    bench: ProcessBench, unsupervised: None
) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps all children
    try:
        for stdout in (None, "/out/x"):
            with pytest.raises(RuntimeFailure, match="was taken by another part of this program"):
                bench.run(bench.invocation("true", stdout=stdout))
    finally:
        signal.signal(signal.SIGCHLD, before)
    gc.collect()  # `subprocess` warns of a process that it thinks is still running


# ----------------------------------------------------------------------------------------- stopping


def test_cancelled_before_it_began(bench: ProcessBench) -> None:
    invocation = bench.invocation("touch", "ran")
    cancellation = bench.cancellation()
    cancellation.cancel(BY_REQUEST)
    events: list[str] = []
    assert (
        bench.run(invocation, cancellation, lambda event, /, **facts: events.append(event)).code
        == 143
    )
    assert events == []
    assert not Path(invocation.work, "ran").exists()


def test_tasks_of_an_earlier_engine_are_not_resumed(bench: ProcessBench) -> None:
    invocation = bench.invocation("touch", "ran")
    assert not bench.runtime.resumable_tasks()
    with pytest.raises(RuntimeFailure, match=r"workflow 'flow', Step 'step': .* can't be resumed"):
        bench.runtime.resume(invocation, bench.cancellation(), silent)
    assert not Path(invocation.work, "ran").exists()


def test_cancelled_while_it_starts(bench: ProcessBench, system: str) -> None:
    invocation = bench.invocation("sleep", "60")
    cancellation = bench.cancellation()

    def report(event: str, /, **facts: object) -> None:
        if event == "execution-start":
            cancellation.cancel(BY_REQUEST)

    assert bench.run(invocation, cancellation, report) == Exit(143)
    assert cancellation.reason == BY_REQUEST


@pytest.mark.parametrize("stdout", [None, "/out/x"])
def test_sigterm_comes_first(
    bench: ProcessBench, fifo: Fifo, system: str, stdout: str | None
) -> None:
    script = f"trap 'echo bye; exit 5' TERM; echo ready > {fifo.path}; while :; do sleep 0.02; done"
    invocation = bench.invocation("sh", "-c", script, stdout=stdout)
    cancellation = bench.cancellation()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.run, invocation, cancellation)
        assert fifo.read() == "ready\n"
        cancellation.cancel(BY_REQUEST)
        assert running.result() == Exit(5)
    # Some shells also say which signal ended `sleep`.
    assert "bye" in Path(invocation.log).read_text().splitlines()


@pytest.mark.parametrize("stdout", [None, "/out/x"])
def test_sigkill_where_sigterm_is_ignored(
    bench: ProcessBench, fifo: Fifo, system: str, stdout: str | None
) -> None:
    script = f"trap '' TERM; echo ready > {fifo.path}; while :; do sleep 0.02; done"
    invocation = bench.invocation("sh", "-c", script, stdout=stdout)
    cancellation = bench.cancellation(grace=0.2)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.run, invocation, cancellation)
        assert fifo.read() == "ready\n"
        began = time.monotonic()
        cancellation.cancel(BY_REQUEST)
        assert running.result() == Exit(137)
    assert 0.2 <= time.monotonic() - began < 10


TREE = "sh -c 'sleep 60 & sleep 60 & echo x{ready}; wait' & {groups} sleep 60 & echo x{ready}; wait"


def family(ready: str = "") -> str:
    """A script that makes a tree of processes; on Linux some leave the group and the session."""
    groups = ""
    if shutil.which("timeout"):
        groups += "timeout 60 sleep 60 & "
    if shutil.which("setsid"):
        groups += "setsid sleep 60 & setsid -f sh -c 'sleep 60 & wait'; "
    return TREE.format(ready=ready, groups=groups)


@linux
@pytest.mark.parametrize("stdout", [None, "/out/x"])
@pytest.mark.parametrize("how", [BY_REQUEST, BY_TIMEOUT])
def test_a_stop_leaves_nothing_of_the_tree(
    bench: ProcessBench, how: str, stdout: str | None
) -> None:
    invocation = bench.invocation(
        "sh", "-c", family(), stdout=stdout, timeout=0.3 if how == BY_TIMEOUT else 60
    )
    cancellation = bench.cancellation()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.run, invocation, cancellation)
        if how == BY_REQUEST:
            wait_until(lambda: len(living(invocation)) >= 8)
            cancellation.cancel(BY_REQUEST)
        assert running.result() == Exit(143)
    assert cancellation.reason == how
    assert living(invocation) == []


@linux
@pytest.mark.parametrize("stdout", [None, "/out/x"])
def test_background_processes_end_with_the_main_process(
    bench: ProcessBench, fifo: Fifo, stdout: str | None
) -> None:
    script = (
        f"(echo in the background; echo ready > {fifo.path}; exec sleep 60) & "
        f"{family().rpartition(';')[0]}; cat {fifo.path}"
    )
    invocation = bench.invocation("sh", "-c", script, stdout=stdout)
    assert bench.run(invocation) == Exit(0)
    assert living(invocation) == []
    assert "in the background\n" in Path(invocation.log).read_text()


def test_a_background_process_that_holds_the_pipe(bench: ProcessBench, system: str) -> None:
    invocation = bench.invocation("sh", "-c", "sleep 60 & echo $!", stdout="/out/x")
    began = time.monotonic()
    assert bench.run(invocation) == Exit(0)
    assert time.monotonic() - began < 10
    wait_until(lambda: not running(int(Path(invocation.log).read_text())))


def test_a_background_process_that_fills_the_pipe(bench: ProcessBench, system: str) -> None:
    invocation = bench.invocation("sh", "-c", "yes & exit 4", stdout="/out/x")
    assert bench.run(invocation) == Exit(4)


@linux
@pytest.mark.skipif(shutil.which("setsid") is None, reason="needs setsid")
def test_a_hidden_process_does_not_delay_the_run(bench: ProcessBench) -> None:
    script = (
        "env -i setsid sh -c 'echo $$; touch hidden; exec yes' & while ! [ -e hidden ]; do :; done"
    )
    invocation = bench.invocation("sh", "-c", script, stdout="/out/x")
    assert bench.run(invocation) == Exit(0)
    with Path(invocation.log).open() as log:
        pid = int(log.readline())
    wait_until(lambda: not running(pid))  # nobody reads any more, so that its next line ends it


@linux
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_ours_leaves_nothing(bench: ProcessBench, error: type[BaseException]) -> None:
    invocation = bench.invocation("sh", "-c", family())

    def report(event: str, /, **facts: object) -> None:
        raise error

    with pytest.raises(error):
        bench.run(invocation, report=report)
    assert living(invocation) == []


def test_no_signal_after_the_end(
    bench: ProcessBench, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[Callable[[], None]] = []

    class Remembering(Cancellation):
        @contextlib.contextmanager
        def stopping(
            self,
            terminate: Callable[[], None],
            kill: Callable[[], None],
            timeout: float,
            has_ended: Callable[[], bool],
        ) -> Iterator[None]:
            orders.extend([terminate, kill])
            yield

    bench.run(bench.invocation("true"), Remembering(bench.timers.call_later))
    signalled: list[object] = []
    monkeypatch.setattr(os, "killpg", lambda *arguments: signalled.append(arguments))
    for order in orders:
        order()
    assert signalled == []
    assert len(orders) == 2


@pytest.mark.usefixtures("unsupervised")
def test_a_group_that_is_gone_is_borne(
    monkeypatch: pytest.MonkeyPatch, bench: ProcessBench
) -> None:
    def gone(*_: object) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", gone)
    cancellation = bench.cancellation()

    def report(event: str, /, **facts: object) -> None:
        cancellation.cancel(BY_REQUEST)

    assert bench.run(bench.invocation("true"), cancellation, report).code == 0


@linux
def test_cancelled_at_random_moments_nothing_is_left(bench: ProcessBench) -> None:
    chance = random.Random(7)
    for number in range(150):
        script = ("trap '' TERM; " if number % 5 == 0 else "") + family()
        invocation = bench.invocation("sh", "-c", script, stdout=chance.choice([None, "/out/x"]))
        cancellation = bench.cancellation(grace=0.01)
        bench.timers.call_later(
            chance.random() * 0.012,
            lambda stop=cancellation: stop.cancel(BY_REQUEST),  # type: ignore[misc]
        )
        ended = bench.run(invocation, cancellation)
        assert ended.code in (143, 137)
        assert living(invocation) == []


# -------------------------------------------------------------------------------------- concurrency


@linux
def test_eight_at_a_time(bench: ProcessBench) -> None:
    def one(number: int) -> None:
        stdout = "/out/x" if number % 2 else None
        invocation = bench.invocation(
            "sh", "-c", f"sleep 60 & seq {number} {number + 500}; exit {number}", stdout=stdout
        )
        assert bench.run(invocation).code == number
        expected = "".join(f"{line}\n" for line in range(number, number + 501))
        assert Path(invocation.log).read_text() == expected
        assert invocation.stdout is None or Path(invocation.stdout).read_text() == expected
        assert living(invocation) == []

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(48)))


@pytest.mark.parametrize("command", [("/in/program",), ("sh", "-c", "/in/program")])
def test_programs_that_were_just_copied_are_never_busy(
    bench: ProcessBench, command: tuple[str, ...]
) -> None:
    def one(_: int) -> Exit:
        invocation = bench.invocation(*command, inputs=["/in/program"])
        shutil.copy("/bin/sh", Path(invocation.tree, "in/program"))
        return bench.run(invocation)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(240))) == {Exit(0)}


def test_a_program_that_a_fork_may_still_hold_waits_for_it(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()

    def awaiting() -> None:
        waits.set()
        await_fork()

    monkeypatch.setattr(starting, "await_fork", awaiting)
    invocation = bench.invocation("/in/program", inputs=["/in/program"])
    program = shutil.copy("/bin/sh", Path(invocation.tree, "in/program"))
    bench.run(bench.invocation("true"))  # its supervisor is the second one's
    with ThreadPoolExecutor(1) as pool:
        with forking(), open(program, "ab"):  # as a child has it between fork and exec
            ends = pool.submit(bench.run, invocation)
            assert waits.wait(30)
        assert ends.result() == Exit(0)


# ---------------------------------------------------------------------------- after a crash of ours


@linux
def test_a_leftover_is_found_and_ended(bench: ProcessBench, fifo: Fifo) -> None:
    script = f"{family().rpartition(';')[0]}; echo ready > {fifo.path}; wait"
    with crashed(bench, fifo, "sh", "-c", script) as invocation:
        record = Path(invocation.work).parent / RECORD
        pid = leftover(record)
        assert pid == json.loads(record.read_bytes())["pid"]
        assert pid in living(invocation)
        assert end_leftover(record)
        assert living(invocation) == []
        assert leftover(record) is None
        assert not end_leftover(record)


@linux
def test_a_leftover_whose_main_process_has_ended(bench: ProcessBench, fifo: Fifo) -> None:
    with crashed(
        bench, fifo, "sh", "-c", f"sleep 60 & echo ready > {fifo.path}; sleep 60"
    ) as invocation:
        record = Path(invocation.work).parent / RECORD
        main = leftover(record)
        assert main is not None
        os.kill(main, signal.SIGKILL)
        wait_until(lambda: main not in living(invocation))
        assert leftover(record) in living(invocation)
        assert end_leftover(record)
        assert living(invocation) == []


@linux
def test_a_leftover_without_a_record(bench: ProcessBench, fifo: Fifo) -> None:
    with crashed(
        bench, fifo, "sh", "-c", f"echo ready > {fifo.path}; sleep 60", with_record=False
    ) as invocation:
        record = Path(invocation.work).parent / RECORD
        record.unlink(missing_ok=True)
        assert leftover(record) in living(invocation)
        assert end_leftover(record)
        assert living(invocation) == []


@linux
def test_a_leftover_is_never_another_process_with_its_number(
    bench: ProcessBench, fifo: Fifo
) -> None:
    program = (
        *("env", "-i", f"PATH={os.environ['PATH']}"),  # without the mark, only the record knows it
        *("sh", "-c", f"echo ready > {fifo.path}; exec sleep 60"),
    )
    with crashed(bench, fifo, *program) as invocation:
        record = Path(invocation.work).parent / RECORD
        true = json.loads(record.read_bytes())
        for false in (
            {"start": true["start"] + 1},
            {"start": None},
            {"boot": "another"},
            {"pid": 2**30},
            {"pid": "x"},
        ):
            record.write_text(json.dumps({**true, **false}))
            assert leftover(record) is None
            assert not end_leftover(record)
        assert running(true["pid"])
        record.write_text(json.dumps(true))
        assert leftover(record) == true["pid"]
        assert end_leftover(record)
        assert not running(true["pid"])


@pytest.mark.parametrize("content", [None, b"", b'{"pid": 1', b"[]", b"7", b'{"pid": 1}', b"\xff"])
def test_a_record_that_says_nothing(tmp_path: Path, content: bytes | None) -> None:
    record = tmp_path / RECORD
    if content is not None:
        record.write_bytes(content)
    assert leftover(record) is None
    assert not end_leftover(record)


@linux
def test_a_short_run_leaves_no_record(bench: ProcessBench) -> None:
    bench.run(bench.invocation("true"))  # while the supervisor starts, too
    short = bench.invocation("true")
    bench.run(short)
    assert not (Path(short.work).parent / RECORD).exists()


@linux
@pytest.mark.parametrize("stdout", [None, "/out/x"])
def test_a_long_run_leaves_a_record(bench: ProcessBench, fifo: Fifo, stdout: str | None) -> None:
    invocation = bench.invocation("sh", "-c", f"exec >&-; read go < {fifo.path}", stdout=stdout)
    record = Path(invocation.work).parent / RECORD
    record.write_text("that of an earlier run, which is longer than a record can be: " + "x" * 1000)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.run, invocation)
        pid = wait_until(lambda: recorded(record))
        assert leftover(record) == pid
        assert pid in living(invocation)
        fifo.path.write_text("go\n")
        assert running.result() == Exit(0)
    assert leftover(record) is None


@pytest.mark.parametrize("stdout", [None, "/out/o"])
def test_a_stream_that_is_opened_again_empties_nothing(
    bench: ProcessBench, system: str, stdout: str | None
) -> None:
    script = "echo a; echo b > /dev/stderr; echo c > /dev/stdout; echo d"
    invocation = bench.invocation("sh", "-c", script, stdout=stdout)
    assert bench.run(invocation).code == 0
    assert sorted(Path(invocation.log).read_bytes().split()) == [b"a", b"b", b"c", b"d"]
