"""Run Tasks as local processes, for machines without a Docker engine.

The image is ignored. A Task's internal paths in its tokens become paths of its private tree
(`localize`), and what it leaves running when its main process ends is killed, as a container's end
would kill it: on Linux all of it, by a supervisor (`supervision`); without one its process group,
and on Linux what bears its mark (`marked_processes`).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from gaia_local.errors import RuntimeFailure
from gaia_local.forks import await_fork, forking
from gaia_local.model.events import EventKind
from gaia_local.model.keys import made_files
from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent
from gaia_local.runtimes.process import marked_processes
from gaia_local.runtimes.process.path_mapping import localize, undeclared
from gaia_local.runtimes.process.pipes import LazyFile, Pipe
from gaia_local.runtimes.process.supervision import Supervised, Supervisors, available

_CANCELLED_CODE = 128 + signal.SIGTERM
_BRIEF_SECONDS = 0.02
"""A run shorter than this writes no record of its process."""

logger = logging.getLogger("gaia_local")


class ProcessRuntime:
    """Runs each command as a process of this machine, in a session of its own. Implements
    `Runtime`.

    With `Invocation.stdout`, stdout takes the way through this process to reach two files, so that
    its place among the lines of stderr in the log is approximate. A tree whose own path holds
    blanks or quotes reaches shell code as it is.
    """

    name = "process"
    survives = False
    mounts_inputs = False

    def __init__(self) -> None:
        self._warned = False
        self._warning = threading.Lock()
        self._supervisors = Supervisors() if available() else None

    def check(self, images: Collection[str]) -> None:
        """Processes can always be run."""

    def resumable_tasks(self) -> Collection[str]:
        """None: what a process writes can't be taken up by another, so `recover` ends it."""
        return ()

    def end(self, task_id: str) -> None:
        """Nothing is left here when an engine runs."""

    def image_id(self, image: str) -> str | None:
        """None: images mean nothing here."""
        return None

    def close(self) -> None:
        """End the supervisors."""
        if self._supervisors is not None:
            self._supervisors.close()

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        """Run the command to its end and return how it ended; see `Runtime.run`."""
        task = invocation.task
        self._warn_once(task)
        if cancellation.reason is not None:
            return Exit(_CANCELLED_CODE, "cancelled before it began")
        # NOTE: pipes, since a program that was given the log itself would empty it with `>
        # /dev/stderr`.
        with contextlib.ExitStack() as opened:
            log = opened.enter_context(LazyFile(invocation.log, os.O_APPEND, 0o600))
            errors = opened.enter_context(Pipe((log,)))
            output = errors
            if invocation.stdout is not None:
                file = opened.enter_context(LazyFile(invocation.stdout, os.O_TRUNC))
                file.open()
                output = opened.enter_context(Pipe((log, file)))
            ended = self._run(invocation, cancellation, report, (output, errors))
        report(EventKind.EXECUTION_COMPLETE)
        report(EventKind.CONTAINER_EXIT, code=ended.code)
        return ended

    def rejoin(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        """Raise `RuntimeFailure`: nothing is ever resumable."""
        name = _name(invocation.task)
        raise RuntimeFailure(f"{name}: the process of an earlier engine can't be taken up")

    def _run(
        self,
        invocation: Invocation,
        cancellation: Cancellation,
        report: ReportEvent,
        streams: tuple[Pipe, Pipe],
    ) -> Exit:
        output, errors = streams
        process = _start(invocation, (output.write_end, errors.write_end), self._supervisors)
        if isinstance(process, Exit):
            report(EventKind.EXECUTION_START)
            return process
        follow = functools.partial(_pump, process, set(streams))
        try:
            with cancellation.stopping(process.terminate, process.kill, invocation.task.timeout):
                report(EventKind.EXECUTION_START)
                # NOTE: a file made and removed can cost a short Step more than all else here
                # together. What a crash leaves of these first milliseconds is still known by its
                # environment.
                if not follow(_BRIEF_SECONDS) and (pid := process.pid):
                    marked_processes.record(pid, invocation.work, process.parent)
                    follow(None)
        finally:
            code = process.end()
        if process.error is not None:
            return _not_started(invocation, process.error)
        for pipe in set(streams):
            pipe.drain()
        cancelled = cancellation.reason is not None
        return _exit(code, cancelled, None if cancelled or code <= 0 else _hint(invocation.task))

    def _warn_once(self, task: Task) -> None:
        if self._warned:
            return
        with self._warning:
            if not self._warned:
                logger.warning(
                    "runtime 'process': images are ignored (%r first); programs run as they are here",
                    task.image,
                )
                self._warned = True


def _internal_paths(task: Task) -> Iterator[str]:
    for _, path in task.inputs:
        yield path
    for _, place in made_files(task.outputs):
        yield place.text
    if task.stdout is not None:
        yield task.stdout


# -------------------------------------------------------------------------------------------- start


def _start(
    invocation: Invocation, streams: tuple[int, int], supervisors: Supervisors | None
) -> _Process | Supervised | Exit:
    task, work = invocation.task, invocation.work
    environment = marked_processes.marked(os.environb, task.id, work)
    tree = str(invocation.tree)
    tokens = localize(task.command, _internal_paths(task), tree)
    if any(os.access(f"{tree}{path}", os.X_OK) for _, path in task.inputs):
        await_fork()
    try:
        if supervisors is None:
            return _start_alone(tokens, environment, work, streams)
        what = (
            _places(tokens[0], environment),
            [*map(os.fsencode, tokens)],
            environment,
            os.fsencode(work),
        )
        return Supervised(supervisors, what, streams)
    except OSError as error:
        return _not_started(invocation, error)
    except (
        ValueError,
        subprocess.SubprocessError,
    ) as error:  # what cannot be encoded or holds a NUL; a child that died early
        raise RuntimeFailure(f"{_name(task)}: it cannot be started: {error}") from error


def _start_alone(
    tokens: tuple[str, ...], environment: dict[bytes, bytes], work: Path, streams: tuple[int, int]
) -> _Process:
    # NOTE: close_fds stays on. Python's own descriptors are not inheritable, but what this process
    # was given by its parent is: the lock of flock(1), make's job server, a supervisor's pipe. No
    # container would see them, and they would stay open for as long as the Task runs.
    with forking():
        process = subprocess.Popen(
            tokens,
            executable=_program(tokens[0], environment.get(b"PATH", b""), int(time.monotonic())),
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            start_new_session=True,
        )
    return _Process(process, work)


def _places(name: str, environment: dict[bytes, bytes]) -> list[bytes]:
    """Where a program may be, in the order of `PATH`."""
    path = environment.get(b"PATH", b"")
    if "/" in name:
        return [os.fsencode(name)]
    if (found := _program(name, path, int(time.monotonic()))) is not None:
        return [os.fsencode(found)]
    directories = (
        path.split(b":") if b"PATH" in environment else map(os.fsencode, os.defpath.split(":"))
    )
    return [os.path.join(each, os.fsencode(name)) for each in directories]


@functools.lru_cache(maxsize=256)
def _program(name: str, path: bytes, _second: int) -> str | None:
    """Where PATH has a program at this time; None where that depends on the working directory, or
    it is nowhere.

    NOTE: else the child would look for it, by failing to execute it in one directory after the
    other, while this whole process stands still.
    """
    directories = os.fsdecode(path).split(os.pathsep)
    return (
        shutil.which(name, path=os.fsdecode(path))
        if "/" not in name and all(map(os.path.isabs, directories))
        else None
    )


def _not_started(invocation: Invocation, error: OSError) -> Exit:
    task, work = invocation.task, invocation.work
    tokens = localize(task.command, _internal_paths(task), str(invocation.tree))
    program, local = task.command[0], tokens[0]
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) and not os.access(work, os.X_OK):
        raise RuntimeFailure(
            f"{_name(task)}: its working directory {work} is missing or closed to this user"
        ) from error
    there = shutil.which(str(work / local) if "/" in local else local, os.F_OK) is not None
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        if there:
            return Exit(
                127,
                f"program {program!r} is there, but the interpreter or loader that it names is missing here",
            )
        return Exit(
            127,
            f"program {program!r} is missing on this machine; install it, or use the runtime 'docker'",
        )
    if (
        error.errno == errno.EACCES and not there and "/" not in local
    ):  # some directory of PATH is closed to us
        return Exit(
            127, f"program {program!r} is missing on this machine, as far as PATH can be read"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR, errno.ETXTBSY):
        return Exit(126, f"program {program!r} cannot be executed: {error.strerror}")
    if error.errno == errno.E2BIG:
        longest = max(len(os.fsencode(token)) for token in tokens)
        raise RuntimeFailure(
            f"{_name(task)}: its {len(tokens)} tokens (the longest has {longest} bytes) and the environment are more than"
            " this machine takes; write them to a file and give it as an input"
        ) from error
    raise RuntimeFailure(
        f"{_name(task)}: program {program!r} cannot be started: {error.strerror}"
    ) from error


def _hint(task: Task) -> str | None:
    path = undeclared(task.command, _internal_paths(task))
    if path is None:
        return None
    return f"{path!r} in its tokens is no path of its inputs and outputs, so that the runtime 'process' left it as it is"


def _exit(code: int, cancelled: bool, hint: str | None) -> Exit:
    if code >= 0:
        return Exit(code, hint)
    number = -code
    if cancelled:
        return Exit(128 + number)
    if number == signal.SIGKILL:
        return Exit(128 + number, "killed by SIGKILL (perhaps out of memory)")
    with contextlib.suppress(ValueError):  # real-time signals have no names
        return Exit(128 + number, f"killed by {signal.Signals(number).name}")
    return Exit(128 + number, f"killed by signal {number}")


def _name(task: Task) -> str:
    return f"workflow {task.workflow!r}, Step {task.name!r}"


# --------------------------------------------------------------------------------- a process's life


class _Process:
    """A Task's main process and its group, whose number is the process's.

    Invariant: a signal is sent only under the lock and before the main process was reaped. Until
    then its number is taken, by a zombie if by nothing else, and can mean nobody else's process.
    """

    error: OSError | None = None

    def __init__(self, process: subprocess.Popen[bytes], work: Path) -> None:
        self.pid, self.parent = process.pid, os.getpid()
        self._process, self._work = process, work
        self._lock = threading.Lock()
        self._reaped = self._lost = False

    def watched(self) -> contextlib.AbstractContextManager[int | None]:
        """A descriptor that can be read when it has `ended`, or None."""
        return marked_processes.held(self.pid)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self._reaped:
                marked_processes.signal_group(self.pid, number)

    def wait(self, seconds: float | None) -> bool:
        """Until the main process has ended, and leave it unreaped. False where it did not, or
        nobody can tell, in time.
        """
        if seconds is not None:
            with marked_processes.held(self.pid) as handle:
                return handle is not None and marked_processes.await_held(handle, seconds)
        if hasattr(os, "waitid"):
            return self._has_ended(os.WEXITED | os.WNOWAIT)
        pause = marked_processes.LOOK_SECONDS / 32
        while not self.ended():
            select.select([], [], [], pause)
            pause = min(pause * 2, marked_processes.LOOK_SECONDS)
        return True

    def ended(self) -> bool:
        """Whether the main process has ended."""
        if hasattr(os, "waitid"):
            return self._has_ended(os.WEXITED | os.WNOWAIT | os.WNOHANG)
        # MacOS before Python 3.13 can only look by reaping; what is left of the group goes in the
        # same breath.
        with self._lock:
            if not self._reaped and self._process.poll() is not None:
                self._reaped = True
                marked_processes.signal_group(self.pid, signal.SIGKILL)
            return self._reaped

    def _has_ended(self, options: int) -> bool:
        if self._lost:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, options) is not None
        except ChildProcessError:  # another part of this program reaped it, or it ignores SIGCHLD
            with self._lock:
                self._reaped = self._lost = True
            return True

    def end(self) -> int:
        """Kill what there is of the group and of other strays, reap the main process, return its
        return code.
        """
        self.kill()
        self.wait(None)
        marked_processes.end_strays(
            None if self._lost else self.pid, marked_processes.mark_of(self._work, "\0")
        )
        with self._lock:
            self._reaped = True
            code = self._process.wait()
        if self._lost:
            raise RuntimeFailure(
                f"the exit code of process {self.pid} went to another part of this program, which waits for it"
            )
        return code


def _pump(process: _Process | Supervised, pipes: set[Pipe], seconds: float | None) -> bool:
    """Copy what comes out of `pipes` until the main process has ended; False if it hasn't in time.

    Its end counts, not that of the pipes: a program left in the background may hold them for ever.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    flowing = {pipe.read_end: pipe for pipe in pipes}
    with process.watched() as handle:
        poll = select.poll()
        for pipe in pipes:
            pipe.close_write_end()
            poll.register(pipe.read_end, select.POLLIN)
        if handle is not None:
            poll.register(handle, select.POLLIN)
        while flowing or handle is not None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            patience = left if handle is not None else marked_processes.LOOK_SECONDS
            ready = [
                descriptor
                for descriptor, _ in poll.poll(None if patience is None else patience * 1000)
            ]
            if (handle is None or handle in ready) and process.ended():
                return True
            for descriptor in ready:
                if not flowing[descriptor].copy():
                    poll.unregister(descriptor)
                    del flowing[descriptor]
    return process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
