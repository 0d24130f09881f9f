"""Run Tasks as local processes, for machines without a Docker engine.

The image is ignored. A Task's internal paths in its tokens become paths of its private tree (`localize`), and what it
leaves running when its main process ends is killed, as a container's end would kill it: its process group everywhere,
on Linux also what went off into another group or session.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import logging
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from gaia_local.errors import RuntimeFailure
from gaia_local.model import CAPTURES, LOG, Task
from gaia_local.runtime import Cancellation, Exit, Invocation, Report

TASK_VARIABLE = "GAIA_LOCAL_TASK"
"""Holds the Task's id in the environment of every process of a Task."""
WORK_VARIABLE = "GAIA_LOCAL_WORK"
"""Holds the run's own working directory, which no other run has: what a stray process is recognised by."""
RECORD = "process.json"
"""The file beside the working directory that says which process runs there."""

_CANCELLED_CODE = 128 + signal.SIGTERM
_GONE_SECONDS = 5.0
"""How long a killed process may take to be gone; more than that is a hanging disk, and no reason to hang too."""
_BRIEF_SECONDS = 0.02
"""A run shorter than this writes no record of its process."""
_LOOK_SECONDS = 0.02
"""Between two looks at a process, where the system has no way to wait for what is waited for."""

_PIPE_BYTES = 1 << 16
"""What a pipe holds."""

_TASK_BYTES, _WORK_BYTES = TASK_VARIABLE.encode(), WORK_VARIABLE.encode()

logger = logging.getLogger("gaia_local")


class ProcessRuntime:
    """Runs each command as a process of this machine, in a session of its own. Implements `Runtime`.

    With `Invocation.stdout`, stdout takes the way through this process to reach two files, so that its place among the
    lines of stderr in the log is approximate. A tree whose own path holds blanks or quotes reaches shell code as it is.
    """

    name = "process"
    survives = False
    mounts_inputs = False

    def __init__(self) -> None:
        self._warned = False
        self._warning = threading.Lock()

    def check(self, images: Collection[str]) -> None:
        """Processes can always be run."""

    def left(self) -> Collection[str]:
        """None: what a process writes can't be taken up by another, so `recover` ends it."""
        return ()

    def end(self, task_id: str) -> None:
        """Nothing is left here when an engine runs."""

    def image_id(self, image: str) -> str | None:
        """None: images mean nothing here."""
        return None

    def close(self) -> None:
        """There is nothing to let go of."""

    def run(self, invocation: Invocation, cancellation: Cancellation, report: Report) -> Exit:
        """Run the command to its end and return how it ended; see `Runtime.run`."""
        task = invocation.task
        self._warn_once(task)
        if cancellation.reason is not None:
            return Exit(_CANCELLED_CODE, "cancelled before it began")
        # NOTE: pipes, since a program that was given the log itself would empty it with `> /dev/stderr`.
        with contextlib.ExitStack() as opened:
            log = opened.enter_context(_File(invocation.log, os.O_APPEND, 0o600))
            errors = opened.enter_context(_Pipe((log,)))
            output = errors
            if invocation.stdout is not None:
                file = opened.enter_context(_File(invocation.stdout, os.O_TRUNC))
                file.open()
                output = opened.enter_context(_Pipe((log, file)))
            ended = self._run(invocation, cancellation, report, (output, errors))
        report("execution-complete")
        report("container-exit", code=ended.code)
        return ended

    def _run(self, invocation: Invocation, cancellation: Cancellation, report: Report, streams: tuple[_Pipe, _Pipe]) -> Exit:
        output, errors = streams
        process = _start(invocation, output.write_end, errors.write_end)
        if isinstance(process, Exit):
            report("execution-start")
            return process
        follow = functools.partial(_pump, process, set(streams))
        try:
            with cancellation.stopping(process.terminate, process.kill, invocation.task.timeout):
                report("execution-start")
                # NOTE: a file made and removed can cost a short Step more than all else here together. What a crash
                # leaves of these first milliseconds is still known by its environment.
                if not follow(_BRIEF_SECONDS):
                    _record(process.pid, invocation.work)
                    follow(None)
        finally:
            code = process.end()
        for pipe in set(streams):
            pipe.drain()
        return _exit(code, cancelled=cancellation.reason is not None)

    def _warn_once(self, task: Task) -> None:
        if self._warned:
            return
        with self._warning:
            if not self._warned:
                logger.warning("runtime 'process': images are ignored (%r first); programs run as they are here", task.image)
                self._warned = True


# ------------------------------------------------------------------------------------------------------------- tokens

# What may stand in a file's name right before or after a path and so makes it part of a longer one. Before it also what
# ends a shell's `$(pwd)`, `${HOME}` or pattern; `@` only after it, since `@/in/a` is how many programs read arguments.
_BEFORE = r"\w\-.+%~*?)\]}/\u0300-\u036f"
_AFTER = r"\w\-+%~@\u0300-\u036f"
_PLACE = re.compile(
    rf"(?:(?<![{_BEFORE}])(?:-[A-Za-z]+)?"  # at a beginning, or at a flag that stands at one
    r"|(?<=\\[nrt])|(?<=://))(?=/)"  # after "\n" in a program's text; after file://
)
_GOES_ON = re.compile(rf"\.*[{_AFTER}]")  # a dot may end a sentence


def localize(tokens: Iterable[str], paths: Iterable[str], tree: Path | str) -> tuple[str, ...]:
    """The `tokens` with each of the internal `paths` in them replaced by what it stands for: `tree` + path.

    Whole path components only, anywhere in a token: in ``--out=/out/x``, at a flag (``-I/in/a``), in JSON, in shell
    code. The longest path wins, and what was put in is not looked at again.
    """
    bare, lengths = _by_length(tuple(paths))
    root = str(tree)
    return tuple([_localized(token, bare, lengths, root) for token in tokens]) if bare else tuple(tokens)


@functools.lru_cache(maxsize=256)  # the Steps of one Command have the same internal paths
def _by_length(paths: tuple[str, ...]) -> tuple[frozenset[str], list[int]]:
    bare = frozenset(path.rstrip("/") for path in paths) - {""}
    return bare, sorted({len(path) for path in bare}, reverse=True)


def _localized(token: str, bare: Collection[str], lengths: Iterable[int], root: str) -> str:
    # One pattern of all paths would try each of them at each place: a join has thousands of both.
    done = after = 0
    parts = []
    while found := _PLACE.search(token, after):
        place = found.end()
        ends = (place + length for length in lengths if token[place : place + length] in bare)
        end = next((end for end in ends if not _GOES_ON.match(token, end)), None)
        after = place + 1 if end is None else end
        if end is not None:
            parts += [token[done:place], root, token[place:end]]
            done = end
    return "".join([*parts, token[done:]])


def _internal_paths(task: Task) -> Iterator[str]:
    for _, path in task.inputs:
        yield path
    for _, path in task.outputs:
        if path not in CAPTURES and path != LOG:
            yield path
    if task.stdout is not None:
        yield task.stdout


# -------------------------------------------------------------------------------------------------------------- start


class _Starts:
    """The starts of processes that are under way in this process.

    NOTE: until its exec, a child holds copies of all our descriptors, so also of an executable input that another
    thread is still writing, and nobody can execute a file that somebody holds for writing: "Text file busy", 1 start in
    50 at 8 threads. Who has such an input therefore waits for the starts that may hold it. One lock around all starts
    would do as well, at half the speed.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._under_way: set[object] = set()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        start = object()
        with self._condition:
            self._under_way.add(start)
        try:
            yield
        finally:
            with self._condition:
                self._under_way.remove(start)
                self._condition.notify_all()

    def await_earlier(self) -> None:
        with self._condition:
            earlier = self._under_way.copy()
            self._condition.wait_for(lambda: earlier.isdisjoint(self._under_way))


_starts = _Starts()


def _start(invocation: Invocation, stdout: int, stderr: int) -> _Process | Exit:
    task, work = invocation.task, invocation.work
    environment = {**os.environb, _TASK_BYTES: os.fsencode(task.id), _WORK_BYTES: os.fsencode(work)}
    tree = str(invocation.tree)
    tokens = localize(task.command, _internal_paths(task), tree)
    if any(os.access(f"{tree}{path}", os.X_OK) for _, path in task.inputs):
        _starts.await_earlier()
    try:
        # NOTE: close_fds stays on. Python's own descriptors are not inheritable, but what this process was given by its
        # parent is: the lock of flock(1), make's job server, a supervisor's pipe. No container would see them, and they
        # would stay open for as long as the Task runs.
        with _starts.one():
            process = subprocess.Popen(
                tokens,
                executable=_program(tokens[0], environment.get(b"PATH", b""), int(time.monotonic())),
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
    except OSError as error:
        return _not_started(task, work, tokens, error)
    except (ValueError, subprocess.SubprocessError) as error:  # what cannot be encoded or holds a NUL; a child that died early
        raise RuntimeFailure(f"{_name(task)}: it cannot be started: {error}") from error
    return _Process(process, work)


@functools.lru_cache(maxsize=256)
def _program(name: str, path: bytes, _second: int) -> str | None:
    """Where PATH has a program at this time; None where that depends on the working directory, or it is nowhere.

    NOTE: else the child would look for it, by failing to execute it in one directory after the other, while this whole
    process stands still.
    """
    directories = os.fsdecode(path).split(os.pathsep)
    return shutil.which(name, path=os.fsdecode(path)) if "/" not in name and all(map(os.path.isabs, directories)) else None


def _not_started(task: Task, work: Path, tokens: tuple[str, ...], error: OSError) -> Exit:
    program, local = task.command[0], tokens[0]
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) and not os.access(work, os.X_OK):
        raise RuntimeFailure(f"{_name(task)}: its working directory {work} is missing or closed to this user") from error
    there = shutil.which(str(work / local) if "/" in local else local, os.F_OK) is not None
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        if there:
            return Exit(127, f"program {program!r} is there, but the interpreter or loader that it names is missing here")
        return Exit(127, f"program {program!r} is missing on this machine; install it, or use the runtime 'docker'")
    if error.errno == errno.EACCES and not there and "/" not in local:  # some directory of PATH is closed to us
        return Exit(127, f"program {program!r} is missing on this machine, as far as PATH can be read")
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR, errno.ETXTBSY):
        return Exit(126, f"program {program!r} cannot be executed: {error.strerror}")
    if error.errno == errno.E2BIG:
        longest = max(len(os.fsencode(token)) for token in tokens)
        raise RuntimeFailure(
            f"{_name(task)}: its {len(tokens)} tokens (the longest has {longest} bytes) and the environment are more than"
            " this machine takes; write them to a file and give it as an input"
        ) from error
    raise RuntimeFailure(f"{_name(task)}: program {program!r} cannot be started: {error.strerror}") from error


def _exit(code: int, cancelled: bool) -> Exit:
    if code >= 0:
        return Exit(code)
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


# --------------------------------------------------------------------------------------------------- a process's life


class _Process:
    """A Task's main process and its group, whose number is the process's.

    Invariant: a signal is sent only under the lock and before the main process was reaped. Until then its number is
    taken, by a zombie if by nothing else, and can mean nobody else's process.
    """

    def __init__(self, process: subprocess.Popen[bytes], work: Path) -> None:
        self.pid = process.pid
        self._process, self._work = process, work
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._reaped = self._lost = False
        _sessions.add(self.pid)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self._reaped:
                _signal_group(self.pid, number)

    def wait(self, seconds: float | None) -> bool:
        """Until the main process has ended, and leave it unreaped. False where it did not, or nobody can tell, in time."""
        if seconds is not None:
            with _held(self.pid) as handle:
                return handle is not None and _await_held(handle, seconds)
        if hasattr(os, "waitid"):
            return self._look(os.WEXITED | os.WNOWAIT)
        pause = _LOOK_SECONDS / 32
        while not self.ended():
            select.select([], [], [], pause)
            pause = min(pause * 2, _LOOK_SECONDS)
        return True

    def ended(self) -> bool:
        """Whether the main process has ended."""
        if hasattr(os, "waitid"):
            return self._look(os.WEXITED | os.WNOWAIT | os.WNOHANG)
        with self._lock:  # macOS before Python 3.13 can only look by reaping; what is left of the group goes in the same breath
            if not self._reaped and self._process.poll() is not None:
                self._reaped = True
                _signal_group(self.pid, signal.SIGKILL)
            return self._reaped

    def _look(self, options: int) -> bool:
        if self._lost:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, options) is not None
        except ChildProcessError:  # another part of this program reaped it, or it ignores SIGCHLD
            with self._lock:
                self._reaped = self._lost = True
            return True

    def end(self) -> int:
        """Kill what there is of the group and of other strays, reap the main process, return its return code."""
        self.kill()
        self.wait(None)
        _end_strays(None if self._lost else self.pid, _mark(self._work, "\0"), self._candidates)
        _sessions.discard(self.pid)
        with self._lock:
            self._reaped = True
            code = self._process.wait()
        if self._lost:
            raise RuntimeFailure(
                f"the exit code of process {self.pid} went to another part of this program, which waits for it"
            )
        return code

    def _candidates(self) -> Iterable[int]:
        # NOTE: what this run started has numbers between the main process's and the newest there is: for a short run,
        # these few instead of a walk over all of /proc. A long one may have seen the numbers begin anew.
        if time.monotonic() - self._began < 1.0:
            try:
                newest = int(_read("/proc/loadavg", short=True).split()[-1])
            except (OSError, ValueError, IndexError):
                newest = 0
            if newest >= self.pid:
                return filter(self._may_belong, range(self.pid + 1, newest + 1))
        return _all_pids()

    def _may_belong(self, pid: int) -> bool:
        """Cheaper than `_belongs`: a stray is in this run's session, or in one that was made since this run began."""
        try:
            session = os.getsid(pid)
        except OSError:  # gone
            return False
        return session >= self.pid and (session == self.pid or session not in _sessions)


_sessions: set[int] = set()
"""Those of all runs of this process: one of theirs is no other run's."""


def _signal_group(group: int, number: int) -> None:
    # PermissionError: macOS answers so where the group holds zombies only; Linux, where all of it became another user's
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _end_strays(session: int | None, mark: bytes, candidates: Callable[[], Iterable[int]]) -> bool:
    """Kill the processes of one run that left its group, wait until they are gone, and say whether there were any.

    Linux only. `session` is given while its number is sure to be the run's; beyond it the environment tells.
    """
    if not hasattr(os, "pidfd_open"):
        return False
    found: set[int] = set()
    while new := [pid for pid in candidates() if pid not in found and _belongs(pid, session, mark)]:
        found.update(new)  # a killed process makes no more of them: when a round finds no new one, there is none
        for pid in new:
            with _held(pid) as handle:
                if handle is not None and _belongs(pid, session, mark):
                    _kill_held(handle)
    deadline = time.monotonic() + _GONE_SECONDS
    for pid in found:
        with _held(pid) as handle:
            if handle is not None and _belongs(pid, session, mark):
                _await_held(handle, deadline - time.monotonic())
    return bool(found)


def _environment(pid: int) -> bytes:
    # NOTE: in the midst of an exec a process seems to have none. To take that for a stranger's let 1 stray in 500 go, of
    # those that were stopped while they started. The kernel notes first where the environment lies, then the code.
    deadline = time.monotonic() + _GONE_SECONDS
    while not (environment := _read(f"/proc/{pid}/environ")):
        facts = _facts(pid)
        start, end = facts[_ENVIRONMENT]
        if facts[_MEMORY] == b"0" or (start == end and facts[_CODE] != b"0") or time.monotonic() > deadline:
            break  # a zombie, or one that has none indeed
        select.select([], [], [], _LOOK_SECONDS / 32)
    return environment


def _mark(directory: Path, end: str) -> bytes:
    """What the environment of a process holds that works in `directory` (``end="\\0"``) or below it (``end="/"``)."""
    return b"\0%b=%b%b" % (_WORK_BYTES, os.fsencode(directory), end.encode())


def _belongs(pid: int, session: int | None, mark: bytes) -> bool:
    try:
        if pid in (session, os.getpid()):
            return False
        return os.getsid(pid) == session or mark in b"\0" + _environment(pid)
    except (OSError, ValueError):  # gone, or another user's
        return False


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """A descriptor of the process `pid`, or None where there is none: it never comes to mean another process."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux; gone, a mere thread, or an old kernel
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _kill_held(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)


def _await_held(handle: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _read(path: str, short: bool = False) -> bytes:
    """A file of /proc, in half the time that `open` takes; a `short` one comes whole with the first read."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = 1 << (8 if short else 16)
        content = os.read(descriptor, size)
        while not short and (part := os.read(descriptor, size)):
            content += part
        return content
    finally:
        os.close(descriptor)


_STATE, _START, _MEMORY, _CODE, _ENVIRONMENT = 0, 19, 20, 23, slice(47, 49)
"""Places in `_facts`: three less than the manual's, proc_pid_stat(5), has them."""


def _facts(pid: int) -> list[bytes]:
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()  # the name before it may hold anything


def _all_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


# ------------------------------------------------------------------------------------------------------ what it writes


class _File:
    """A file that is made when something is written into it: most programs say nothing."""

    def __init__(self, path: Path, flags: int, mode: int = 0o666) -> None:
        self._path, self._flags, self._mode = path, flags, mode
        self._descriptor = -1

    def __enter__(self) -> _File:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def open(self) -> None:
        """Make it now."""
        try:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | self._flags, self._mode)
        except OSError as error:
            raise RuntimeFailure(f"{self._path} cannot be written: {error.strerror}") from error

    def write(self, data: bytes) -> None:
        """Write all of it."""
        if self._descriptor < 0:
            self.open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


class _Pipe:
    """A pipe for a program to write into at its `write_end`; what comes out of it goes to each of `files`."""

    def __init__(self, files: tuple[_File, ...]) -> None:
        self._files = files
        self._room = 1 << 10  # which grows: most programs say little, and room for much costs time
        try:
            self.read_end, self.write_end = os.pipe()
        except OSError as error:
            raise RuntimeFailure(f"there is no pipe for what the program writes: {error.strerror}") from error

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.read_end)
        self.close_write_end()

    def close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def drain(self) -> None:
        """Copy what the pipe still holds: no more than that, so that nobody can keep it flowing."""
        rest = struct.unpack("i", fcntl.ioctl(self.read_end, termios.FIONREAD, b"\0" * 4))[0]
        while rest > 0 and (copied := self.copy(rest)):
            rest -= copied

    def copy(self, most: int = _PIPE_BYTES) -> int:
        """Copy what comes next, at most so many bytes; 0 at the end."""
        data = os.read(self.read_end, min(most, self._room))
        if len(data) == self._room < _PIPE_BYTES:
            self._room *= 4
        try:
            for file in self._files if data else ():
                file.write(data)
        except RuntimeFailure:
            raise
        except OSError as error:
            raise RuntimeFailure(f"what the program wrote cannot be stored: {error.strerror}") from error
        return len(data)


def _pump(process: _Process, pipes: set[_Pipe], seconds: float | None) -> bool:
    """Copy what comes out of `pipes` until the main process has ended; False if it hasn't in time.

    Its end counts, not that of the pipes: a program left in the background may hold them for ever.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    flowing = {pipe.read_end: pipe for pipe in pipes}
    with _held(process.pid) as handle:
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
            patience = left if handle is not None else _LOOK_SECONDS
            ready = [descriptor for descriptor, _ in poll.poll(None if patience is None else patience * 1000)]
            if handle in ready or (handle is None and process.ended()):
                return True
            for descriptor in ready:
                if not flowing[descriptor].copy():
                    poll.unregister(descriptor)
                    del flowing[descriptor]
    return process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))


# ---------------------------------------------------------------------------------------------------------- leftovers


def leftover(path: Path) -> int | None:
    """A process that still runs of the run whose record is, or would be, at `path`; else None.

    Recorded numbers alone would not tell: the process must also have begun at the same instant since the same boot.
    Where there is no record or its process ended, one with the run's mark in its environment is looked for. Only Linux
    tells these things; elsewhere the answer is None.
    """
    pid, mark = _recorded(path), _mark(path.parent, "/")
    return pid if pid is not None else next((each for each in _all_pids() if _belongs(each, None, mark)), None)


def end_leftover(path: Path) -> bool:
    """Kill all that still runs of the run whose record is, or would be, at `path`, and wait until it is gone.

    That is the recorded process's whole group, and whatever else bears the run's mark in its environment. True if there
    was something to kill.
    """
    pid = _recorded(path)
    if pid is not None:
        with _held(pid) as handle:
            if _recorded(path) == pid:
                _signal_group(pid, signal.SIGKILL)
            if handle is not None:
                _await_held(handle, _GONE_SECONDS)
    # NOTE: numbers are given in turn, so that the session's means nobody else right after its end.
    strays = _end_strays(pid, _mark(path.parent, "/"), _all_pids)
    return pid is not None or strays


def _recorded(path: Path) -> int | None:
    try:
        record = json.loads(path.read_bytes())
        pid, start, boot = record["pid"], record["start"], record["boot"]
    except (OSError, ValueError, TypeError, KeyError):  # none, or one that a crash of the machine cut short
        return None
    same = start is not None and boot == _boot() and _start_time(pid, running=True) == start
    return int(pid) if same else None


def _record(pid: int, work: Path) -> None:
    """Write down which process runs in `work`, for the engine that comes after a crash."""
    path = work.parent / RECORD
    record = {"pid": pid, "start": _start_time(pid), "boot": _boot()}
    try:
        try:
            _write_new(path, json.dumps(record))
        except FileExistsError:
            path.unlink()  # emptying a file makes ext4 flush it, which takes longer than all the rest
            _write_new(path, json.dumps(record))
    except OSError as error:
        raise RuntimeFailure(f"{path} cannot be written: {error.strerror}") from error


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _start_time(pid: int, running: bool = False) -> int | None:
    """When `pid` began, in clock ticks since boot, where the system says it; with `running`, None for a zombie."""
    try:
        facts = _facts(pid)
        return None if running and facts[_STATE] in (b"Z", b"X") else int(facts[_START])
    except (OSError, ValueError, IndexError):
        return None


@functools.cache
def _boot() -> str | None:
    try:
        return _read("/proc/sys/kernel/random/boot_id").decode().strip()
    except OSError:
        return None
