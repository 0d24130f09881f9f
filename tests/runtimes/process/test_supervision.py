"""SupervisorPool: nothing of a program outlives it; other children are left alone."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.runtimes.contract import Exit
from gaia_local.runtimes.process import marked_processes, supervisor
from gaia_local.runtimes.process.supervision import SupervisedProcess, SupervisorPool
from support.fixtures import WaitUntil
from support.gates import Fifo
from support.processes import ProcessBench, bench, crashed, fifo, living, python, running

__all__ = ["bench", "fifo"]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there are none")

WRITE_FOR_EVER = """
import os, sys, time
with open(sys.argv[2], "a", buffering=1) as published:
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    while True:
        published.write("x\\n")
        time.sleep(0.01)
"""
HIDDEN = f"""
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        os.chdir("/")
        program = [sys.executable, "-S", "-c", {WRITE_FOR_EVER!r}, *sys.argv[1:3]]
        os.execve(sys.executable, program, {{}})
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]):
    pass
for fifo in sys.argv[3:]:
    for mode, what in (("w", "ready\\n"), ("r", "")):
        with open(fifo, mode) as file:
            file.write(what) if what else file.read()
"""
"""Starts a process outside its program's session, group, environment and family; writes on."""


@pytest.fixture
def supervisors() -> Iterator[SupervisorPool]:
    made = SupervisorPool()
    yield made
    made.close()


def start(supervisors: SupervisorPool, work: Path, *tokens: str) -> SupervisedProcess:
    encoded = [os.fsencode(token) for token in tokens]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        environment = marked_processes.marked({}, "t", str(work))
        return SupervisedProcess(
            supervisors, ([encoded[0]], encoded, environment, os.fsencode(work)), (null, null)
        )
    finally:
        os.close(null)


def number_in(path: Path) -> int:
    return int(path.read_text())


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_silent(path: Path) -> bool:
    """Whether a file no longer grows."""
    before = path.stat().st_size
    select.select([], [], [], 0.1)
    return path.stat().st_size == before


def own_supervisors() -> list[int]:
    """The pids of this process's supervisors."""
    found = []
    for pid in marked_processes.all_pids():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            tokens = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if marked_processes.SUPERVISOR in tokens and parent_of(pid) == os.getpid():
                found.append(pid)
    return found


# ---------------------------------------------------------------------------------- the first start


def test_the_first_supervisor_gets_ready_before_it_is_needed(
    bench: ProcessBench, tmp_path: Path, wait_until: WaitUntil
) -> None:
    assert own_supervisors() == []
    for _ in range(2):
        bench.runtime.check(["image:1"])
    prepared = wait_until(own_supervisors)
    parent = tmp_path / "parent"
    assert bench.run(bench.invocation("sh", "-c", f"echo $PPID > {parent}")) == Exit(0)
    assert prepared == own_supervisors() == [number_in(parent)]
    bench.runtime.close()
    assert own_supervisors() == []


def test_one_that_died_before_it_was_needed_is_replaced(
    bench: ProcessBench, wait_until: WaitUntil
) -> None:
    bench.runtime.check(["image:1"])
    (prepared,) = wait_until(own_supervisors)
    os.kill(prepared, signal.SIGKILL)
    os.waitid(os.P_PID, prepared, os.WEXITED | os.WNOWAIT)
    assert bench.run(bench.invocation("true")) == Exit(0)
    assert prepared not in own_supervisors()


def test_closing_waits_for_none_that_is_not_ready(
    supervisors: SupervisorPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(marked_processes, "SUPERVISOR", os.fsencode(slow))
    supervisors.prepare()
    began = time.monotonic()
    supervisors.close()
    assert time.monotonic() - began < 30
    assert own_supervisors() == []


def test_where_none_can_be_started_only_the_step_fails(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    bench.runtime.check(["image:1"])
    with pytest.raises(RuntimeFailure, match="cannot be started"):
        bench.run(bench.invocation("true"))


# --------------------------------------------------------------------------- processes of a program


def test_no_process_outlives_its_program(bench: ProcessBench, tmp_path: Path) -> None:
    hidden, published = tmp_path / "hidden", tmp_path / "published"
    assert bench.run(bench.invocation(*python(HIDDEN, str(hidden), str(published)))) == Exit(0)
    assert not running(number_in(hidden))
    assert is_silent(published)


def test_ending_leftovers_spares_other_programs(
    bench: ProcessBench, tmp_path: Path, fifo: Fifo, wait_until: WaitUntil
) -> None:
    hidden, others = tmp_path / "hidden", tmp_path / "other's"
    goes_on = bench.invocation(*python(HIDDEN, str(others), str(tmp_path / "b"), str(fifo.path)))
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(bench.run, goes_on)
        assert fifo.read() == "ready\n"
        assert bench.run(
            bench.invocation(*python(HIDDEN, str(hidden), str(tmp_path / "a")))
        ) == Exit(0)
        assert not running(number_in(hidden))
        assert running(number_in(others))
        fifo.path.write_text("go\n")
        assert going.result() == Exit(0)
    assert not running(number_in(others))


def test_other_children_of_this_process_are_left_alone(bench: ProcessBench, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    child = subprocess.Popen(["sleep", "60"])
    ended = subprocess.Popen(["sh", "-c", "exit 7"])
    forked = os.fork()
    if forked == 0:
        os.execvp("sh", ["sh", "-c", "exit 9"])
    subprocess.run(python(HIDDEN, str(hidden), str(tmp_path / "a")), check=True)
    daemon = number_in(hidden)
    try:
        for _ in range(3):
            assert bench.run(bench.invocation("sh", "-c", "setsid -f sleep 60")) == Exit(0)
        assert running(daemon)
        assert child.poll() is None
        assert ended.wait() == 7
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 9
        assert parent_of(daemon) != os.getpid()
    finally:
        os.kill(daemon, signal.SIGKILL)
        child.kill()
        child.wait()


def test_exit_codes_survive_ignored_sigchld(bench: ProcessBench) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps all children
    try:
        for stdout in (None, "/out/x"):
            assert bench.run(bench.invocation("sh", "-c", "exit 3", stdout=stdout)) == Exit(3)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_orphans_are_reaped_while_a_program_runs(bench: ProcessBench, tmp_path: Path) -> None:
    program = """
        import os, sys, time
        for _ in range(50):
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.wait()
        def orphans():
            return open(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read().split()
        end = time.monotonic() + 10
        while orphans() != [str(os.getpid())] and time.monotonic() < end:
            time.sleep(0.01)
        sys.exit(orphans() != [str(os.getpid())])
    """
    assert bench.run(bench.invocation(*python(program))) == Exit(0)


def test_a_process_that_keeps_forking_is_caught(bench: ProcessBench, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    program = """
        import os, sys
        if os.fork():
            while not os.path.exists(sys.argv[1]):
                pass
            os._exit(0)
        os.setsid()
        while True:
            if os.fork():
                os._exit(0)
            with open(sys.argv[1], "w") as file:
                file.write(str(os.getpid()))
    """
    assert bench.run(bench.invocation(*python(program, str(hidden)))).code == 0
    assert is_silent(hidden)
    assert not running(int(hidden.read_text() or 1 << 22))


def test_no_late_signal_hits_the_next_program_of_the_same_supervisor(
    supervisors: SupervisorPool, tmp_path: Path
) -> None:
    first = start(supervisors, tmp_path, "/bin/true")
    assert first.wait(10)
    assert first.end() == 0
    second = start(supervisors, tmp_path, "/bin/sleep", "60")
    assert second.parent == first.parent
    first.terminate()
    first.kill()
    assert not second.wait(0.2)
    second.terminate()
    assert second.wait(10)
    assert second.end() == -signal.SIGTERM


def test_signals_after_the_end_are_ignored(supervisors: SupervisorPool, tmp_path: Path) -> None:
    """They were sent when the engine had not heard of it yet."""
    first = start(supervisors, tmp_path, "/bin/true")
    assert first._supervisor.has_reply(10)
    first.terminate()
    first.kill()
    assert first.end() == 0
    second = start(supervisors, tmp_path, "/bin/sh", "-c", "exit 5")
    assert second.wait(10)
    assert (second.parent, second.end()) == (first.parent, 5)


def test_programs_get_what_they_got_without_a_supervisor(bench: ProcessBench) -> None:
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        found = []
        for supervised in (True, False):
            if not supervised:
                bench.runtime.close()
                bench.runtime._supervisors = None
            # Of those ignored the first 30: two more are the C library's own.
            program = (
                "sed -nE '/^(SigBlk|SigCgt|Umask)/p; s/^SigIgn.*(.{7})$/\\1/p' /proc/self/status; "
                "ulimit -a"
            )
            invocation = bench.invocation("sh", "-c", program)
            assert bench.run(invocation) == Exit(0)
            found.append(Path(invocation.log).read_text())
    finally:
        signal.signal(signal.SIGHUP, ignored)
    assert found[0] == found[1]


# ------------------------------------------------------------------------------ when something dies


def test_the_end_of_the_engine_is_the_end_of_all(
    bench: ProcessBench, tmp_path: Path, fifo: Fifo, wait_until: WaitUntil
) -> None:
    hidden = tmp_path / "hidden"
    with crashed(
        bench,
        fifo,
        *python(HIDDEN, str(hidden), str(tmp_path / "a"), str(fifo.path)),
        with_record=False,
        end_supervisor=None,
    ) as invocation:
        wait_until(lambda: not running(number_in(hidden)))
        wait_until(lambda: living(invocation) == [])
        # It was a process, as recovery must know.
        wait_until((Path(invocation.work).parent / supervisor.RECORD).exists)


def test_forks_of_the_engine_keep_no_supervisor_alive(
    supervisors: SupervisorPool, tmp_path: Path
) -> None:
    program = start(supervisors, tmp_path, "/bin/true")
    assert program.wait(10)
    assert program.end() == 0
    read_end, write_end = os.pipe()
    forked = os.fork()
    if forked == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    try:
        began = time.monotonic()
        supervisors.take().close()  # waits for its end
        assert time.monotonic() - began < 5
    finally:
        os.close(write_end)
        os.close(read_end)
        os.waitpid(forked, 0)


def test_a_supervisor_that_is_killed_fails_the_step(bench: ProcessBench, tmp_path: Path) -> None:
    invocation = bench.invocation("sh", "-c", "setsid -f sleep 60; kill -9 $PPID; sleep 60")
    with pytest.raises(RuntimeFailure, match="nobody knows how"):
        bench.run(invocation)
    assert living(invocation) == []
    assert bench.run(bench.invocation("true")) == Exit(0)


def test_a_supervisor_that_is_stopped_goes_on(bench: ProcessBench) -> None:
    invocation = bench.invocation("sh", "-c", "kill -STOP $PPID; sleep 60", timeout=0.2)
    assert bench.run(invocation, bench.cancellation(grace=0.1)).code == 143
    assert living(invocation) == []


def test_signals_meant_for_the_engine_do_not_end_a_supervisor(bench: ProcessBench) -> None:
    script = "for each in TERM INT HUP; do kill -$each $PPID; done; exit 4"
    assert bench.run(bench.invocation("sh", "-c", script)) == Exit(4)


def test_a_supervisor_killed_while_idle_is_replaced(bench: ProcessBench) -> None:
    invocation = bench.invocation("sh", "-c", "echo $PPID")
    bench.run(invocation)
    idle = int(Path(invocation.log).read_text())
    os.kill(idle, signal.SIGKILL)
    os.waitid(os.P_PID, idle, os.WEXITED | os.WNOWAIT)
    assert bench.run(bench.invocation("true")) == Exit(0)


def test_supervisors_are_reused_and_end_with_the_runtime(bench: ProcessBench) -> None:
    numbers = set()
    for _ in range(3):
        invocation = bench.invocation("sh", "-c", "echo $PPID")
        bench.run(invocation)
        numbers.add(int(Path(invocation.log).read_text()))
    (number,) = numbers
    assert os.readlink(f"/proc/{number}/cwd") == "/"
    bench.runtime.close()
    assert not running(number)


def test_a_process_that_cannot_be_ended_fails_the_step(
    bench: ProcessBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As would a program that became another user's, or that hangs in the kernel."""
    changed = tmp_path / "supervisor.py"
    changed.write_text(
        Path(os.fsdecode(marked_processes.SUPERVISOR))
        .read_text()
        .replace("os.kill(pid, signal.SIGKILL)", "raise PermissionError")
        .replace("_GONE_SECONDS = 5.0", "_GONE_SECONDS = 0.1")
    )
    monkeypatch.setattr(marked_processes, "SUPERVISOR", os.fsencode(changed))
    invocation = bench.invocation("sh", "-c", "setsid -f sleep 60; echo $!")
    with pytest.raises(RuntimeFailure, match=r"process \d+, which it started, can't be ended"):
        bench.run(invocation)
    (left,) = living(invocation)
    os.kill(left, signal.SIGKILL)


def test_recovery_waits_for_a_supervisor_that_is_still_at_work(
    bench: ProcessBench, tmp_path: Path, fifo: Fifo
) -> None:
    hidden = tmp_path / "hidden"
    program = python(HIDDEN, str(hidden), str(tmp_path / "a"), str(fifo.path))
    with (
        crashed(bench, fifo, *program, end_supervisor=signal.SIGSTOP) as invocation,
        ThreadPoolExecutor(1) as pool,
    ):
        (main,) = living(invocation)
        ending = pool.submit(
            marked_processes.end_leftover, Path(invocation.work).parent / supervisor.RECORD
        )
        select.select([], [], [], 0.2)
        assert not ending.done()
        assert running(number_in(hidden))
        os.kill(parent_of(main), signal.SIGCONT)
        ending.result()
        assert not running(number_in(hidden))
        assert living(invocation) == []


# --------------------------------------------------------------------------- systems that are older


def test_a_python_that_cannot_give_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(*_: object, **__: object) -> int:
        raise NotImplementedError

    monkeypatch.setattr(os, "posix_spawn", old)
    read_end, write_end = os.pipe()
    tokens = [b"sh", b"-c", b"ps -o sid= -p $$; echo $$"]
    pid = supervisor._spawn(
        [b"/no/sh", b"/bin/sh"], tokens, dict(os.environb), (write_end, write_end)
    )
    os.close(write_end)
    with open(read_end) as reader:
        session, number = map(int, reader.read().split())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert session == number == pid


def test_a_kernel_without_a_list_of_children(monkeypatch: pytest.MonkeyPatch) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        listed = supervisor._children()
        assert child.pid in listed
        real = open

        def old(path: str, mode: str) -> io.BufferedReader:
            if path.endswith("/children"):
                raise FileNotFoundError(errno.ENOENT, path)
            return real(path, mode)  # type: ignore[return-value]

        monkeypatch.setattr("builtins.open", old)
        assert sorted(supervisor._children()) == sorted(listed)
    finally:
        child.kill()
        child.wait()
