"""The program of a supervisor: starts one program at a time, and ends all processes it leaves.

It runs alone (``python supervisor.py DESCRIPTOR``), on Linux. As a *subreaper* it becomes the
parent of each process below it whose own parent died, even of one that changed its session and
environment: once it has no child left, nothing of the program is left. When the engine dies, all of
it is killed.

The engine's socket carries frames: `LENGTH`, then a marshalled tuple (a `Start`, with two
descriptors) or number (of a signal for the program's group). The replies are numbers: `REPLY`.

What the program took, with all that it started, is exact: each process below it is reaped here, or
was reaped by another one below, and the kernel adds up what those took that were reaped.
"""

# NOTE: `signal` and `socket` import `enum`, which takes longer than all else here; these are their
# halves in C.
import _signal as signal  # type: ignore[import-not-found]
import _socket as socket
import ctypes
import errno
import gc
import marshal
import os
import select
import struct
import sys
import time

STARTED, FAILED, ENDED, STUCK = range(4)
"""The kinds of replies, with the pid, an errno, the wait status, or the pid of a stuck process."""
REPLY = struct.Struct("=iiddqqq")
"""A kind and its number; at an end also seconds of CPU in user and system mode, the resident memory
of the largest process, bytes read, and bytes written (-1: unknown).
"""
LENGTH = struct.Struct("=I")
RECORD = "process.json"
"""The file beside the working directory with its process's pid; empty: a process ran there."""
_STREAMS = struct.Struct("=ii")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_CLOSE_ON_EXEC = 0x40000000  # MSG_CMSG_CLOEXEC
_GONE_SECONDS = 5.0
"""The longest time that killed processes may take to end."""
_POLL_SECONDS = 0.02
"""Between two reads of the children: the kernel's list may lack one while others end."""

Start = tuple[list[bytes], list[bytes], dict[bytes, bytes], bytes]
"""Possible paths of the program, its tokens, environment and working directory."""
Frame = Start | int
"""A program to start, or a signal for it; 0 asks for its pid, answered as long as it runs."""
_NOTHING = (0.0, 0.0, 0, 0, 0)


class _IoCounts:
    """What reaped children have read and written, in bytes.

    The kernel adds it to this process's own counts, and not to those of its only thread.
    """

    def __init__(self) -> None:
        pid = os.getpid()
        try:
            self._files = [
                os.open(f"/proc/{pid}/{of}io", os.O_RDONLY) for of in ("", f"task/{pid}/")
            ]
        except OSError:  # a kernel without these counts
            self._files = []
        self._last = self._now()

    def since(self) -> tuple[int, int]:
        """The bytes read and written since the last call; -1 if nobody knows."""
        if not self._files:
            return -1, -1
        last, self._last = self._last, self._now()
        return self._last[0] - last[0], self._last[1] - last[1]

    def _now(self) -> tuple[int, int]:
        read = written = 0
        for file, sign in zip(self._files, (1, -1), strict=False):
            words = os.pread(file, 128, 0).split(None, 4)
            read += sign * int(words[1])
            written += sign * int(words[3])
        return read, written


class Supervisor:
    """Starts and reaps the children; until one is reaped, its pid belongs to no other process."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._woken = _woken_by_signals()
        self._program = 0
        """The pid of the program, until it is reaped; else 0."""
        self._status = 0
        self._user = self._system = 0.0
        self._memory = 0
        self._io_counts = _IoCounts()

    def serve(self) -> None:
        """Serve the engine until that is gone or a process can't be ended."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.register(self._socket.fileno(), select.POLLIN)
        going = True
        while going:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._woken in ready:
                program, has_children = self._program, self._reap()
                going = self._program == program or self._finish(has_children)
            if going and self._socket.fileno() in ready:
                going = self._obey()

    def close(self) -> None:
        """Kill the program and its children, and record that there was one."""
        was_running = self._program != 0
        self.end()
        if was_running:
            try:
                open(f"../{RECORD}", "a").close()
            except OSError:  # no room, or no directory any more
                pass

    def end(self) -> int:
        """Kill the program and its children; returns a process that can't be ended, or 0."""
        deadline = time.monotonic() + _GONE_SECONDS
        while self._reap():
            children = _children()
            for pid in children:
                try:
                    os.kill(pid, signal.SIGKILL)
                except PermissionError:  # it became another user's, and may still end by itself
                    continue
            if children and time.monotonic() > deadline:
                return children[0]
            select.select([self._woken], [], [], _POLL_SECONDS)
        return 0

    def _obey(self) -> bool:
        frame, streams = self._frame()
        if isinstance(frame, tuple):
            self._start(streams, *frame)
        elif frame == 0 and self._program:  # else it has ended, and the engine gets that reply
            self._reply(STARTED, self._program)
        elif frame is not None and self._program:
            try:
                os.killpg(self._program, frame)
            except PermissionError:  # all of it became another user's
                pass
        return frame is not None

    def _frame(self) -> tuple[Frame | None, tuple[int, ...]]:
        """The next frame with its descriptors; None at the engine's end."""
        size, flags = socket.CMSG_SPACE(_STREAMS.size), _CLOSE_ON_EXEC | socket.MSG_WAITALL
        head, ancillary, *_ = self._socket.recvmsg(LENGTH.size, size, flags)
        streams = _STREAMS.unpack(ancillary[0][2]) if ancillary else ()
        missing = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0
        body = bytearray()
        while missing and (part := self._socket.recv(missing)):
            body += part
            missing -= len(part)
        return (marshal.loads(body) if body and not missing else None), streams

    def _start(
        self,
        streams: tuple[int, ...],
        places: list[bytes],
        tokens: list[bytes],
        environment: dict[bytes, bytes],
        work: bytes,
    ) -> None:
        self._user = self._system = 0.0
        self._memory = 0
        try:
            os.chdir(work)
            self._program = _spawn(places, tokens, environment, streams)
        except (OSError, ValueError) as error:
            os.chdir("/")
            self._reply(FAILED, getattr(error, "errno", None) or errno.EINVAL)
        finally:
            for stream in streams:
                os.close(stream)

    def _reap(self) -> bool:
        """Reap all children that ended; False if none is left."""
        try:
            os.read(self._woken, 1 << 12)
        except BlockingIOError:
            pass
        try:
            while True:
                pid, status, took = os.wait4(-1, os.WNOHANG)
                if not pid:
                    return True
                self._user += took.ru_utime
                self._system += took.ru_stime
                self._memory = max(self._memory, took.ru_maxrss * 1024)
                if pid == self._program:
                    self._program, self._status = 0, status
        except ChildProcessError:
            return False

    def _finish(self, has_children: bool) -> bool:
        """End the program's other processes, and send the reply; False if a process is stuck."""
        stuck = self.end() if has_children else 0
        os.chdir("/")
        if stuck:
            self._reply(STUCK, stuck)
        else:
            took = self._user, self._system, self._memory, *self._io_counts.since()
            self._reply(ENDED, self._status, took)
        return not stuck

    def _reply(
        self, kind: int, number: int, took: tuple[float, float, int, int, int] = _NOTHING
    ) -> None:
        try:
            self._socket.send(REPLY.pack(kind, number, *took), socket.MSG_NOSIGNAL)
        except OSError:  # the engine is gone: the next read of the socket shows it
            pass


def _woken_by_signals() -> int:
    """A descriptor that can be read after a child's end, or a signal that would end us."""
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _ignore)
    # These signals are meant for the engine, which then sends its own orders.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # programs inherit that, but no handler
            signal.signal(number, _ignore)
    return woken


def _ignore(number: int, frame: object) -> None:
    """The handler of signals that only wake us."""


def _spawn(
    places: list[bytes],
    tokens: list[bytes],
    environment: dict[bytes, bytes],
    streams: tuple[int, ...],
) -> int:
    """Start the first program of `places` that can be started; raises the error of `execvp`."""
    raised = None
    for place in places:
        try:
            return _spawn_at(place, tokens, environment, streams)
        except OSError as error:
            if raised is None or (raised.errno in _ABSENT and error.errno not in _ABSENT):
                raised = error
    raise raised or FileNotFoundError(errno.ENOENT, "")


_ABSENT = (errno.ENOENT, errno.ENOTDIR)


def _spawn_at(
    place: bytes, tokens: list[bytes], environment: dict[bytes, bytes], streams: tuple[int, ...]
) -> int:
    stdout, stderr = streams
    actions = ((os.POSIX_SPAWN_DUP2, stdout, 1), (os.POSIX_SPAWN_DUP2, stderr, 2))
    defaults = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores these
    try:
        return os.posix_spawn(
            place, tokens, environment, file_actions=actions, setsid=True, setsigdef=defaults
        )
    except NotImplementedError:  # Python was built for a C library of before 2018, without `setsid`
        import subprocess

        process = subprocess.Popen(
            tokens,
            executable=place,
            env=environment,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        process.returncode = 0  # `_reap` waits for it
        return process.pid


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # a kernel without that list
        return [
            pid
            for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if _parent(pid) == os.getpid()
        ]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def main(descriptor: int) -> None:
    """Serve the engine at the other end of the socket."""
    gc.disable()  # no object here is part of a cycle
    import resource  # noqa: F401 `os.wait4` needs it: now, and not at the end of the first program

    os.chdir("/")  # no directory of the engine's is held
    os.set_inheritable(descriptor, False)
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    supervisor = Supervisor(descriptor)
    try:
        supervisor.serve()
    finally:
        supervisor.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
