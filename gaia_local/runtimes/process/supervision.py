"""The engine's side of supervisors: each runs one program at a time and leaves nothing behind.

They are processes (`supervisor` is their program): all children of a supervisor belong to one Step,
while the engine's process may have other children of the program that the engine is part of. They
are reused, since each takes as long to start as several short programs.
"""

from __future__ import annotations

import _socket
import array
import contextlib
import errno
import marshal
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NamedTuple

from gaia_local.errors import RuntimeFailure
from gaia_local.forks import forget_in_child, forking
from gaia_local.model.usage import Usage
from gaia_local.runtimes import process_tree
from gaia_local.runtimes.process import marked_processes
from gaia_local.runtimes.process.environment import for_programs, of_this_process
from gaia_local.runtimes.process.supervisor import (
    FAILED,
    LENGTH,
    REPLY,
    STARTED,
    STUCK,
    Frame,
    Start,
)


class Reply(NamedTuple):
    """A reply, as `REPLY` has it; what the program took is known at its end alone."""

    kind: int
    number: int
    user: float
    system: float
    memory: int
    read: int
    written: int

    def usage(self) -> Usage:
        """What a program that has ended took."""
        _, _, user, system, memory, read, written = self
        if read < 0:
            return Usage(None, None, None, user, system, memory)
        return Usage(None, None, None, user, system, memory, read, written)


_RECEIVE_TIMEOUT = struct.pack("@ll", 1, 0)
"""Seconds and microseconds without a reply until a supervisor is woken: it may be stopped."""


def available() -> bool:
    """Whether there can be supervisors: on Linux, if `sys.executable` is a Python interpreter."""
    name = os.path.basename(sys.executable or "")
    return (
        hasattr(os, "pidfd_open")
        and ("python" in name or "pypy" in name)
        and not getattr(sys, "frozen", False)
    )


class SupervisorProcess:
    """A process that starts programs, one after the other, and replies with their ends."""

    def __init__(self) -> None:
        """Start it. Raises `OSError`."""
        # Not those of `socket`, where pytest-socket puts a class that refuses: this is no network.
        self._socket, theirs = _socket.socketpair()
        forget_in_child(self)
        try:
            with forking():
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-I",
                        "-S",
                        marked_processes.SUPERVISOR,
                        str(theirs.fileno()),
                        str(os.getpid()),
                    ],
                    env=for_programs(of_this_process()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for the engine
                )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _RECEIVE_TIMEOUT)

    def fileno(self) -> int:
        """A descriptor that can be read when there is a reply."""
        return self._socket.fileno()

    def has_reply(self, seconds: float | None) -> bool:
        """Whether there is a reply in so many seconds; an idle one replies only with its end."""
        poll = select.poll()  # a new one: two threads can't wait with the same
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def send(self, frame: Frame, streams: Sequence[int] = ()) -> None:
        """Send a frame. Raises `OSError` if the supervisor has ended."""
        body = marshal.dumps(frame)
        message = LENGTH.pack(len(body)) + body
        if streams:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
            message = message[self._socket.sendmsg([message], rights) :]
        if message:  # else an empty one would be sent
            self._socket.sendall(message)

    def reply(self) -> Reply | None:
        """Wait for the next reply; None if the supervisor has ended."""
        reply = None
        while reply is None:
            try:
                reply = self._socket.recv(REPLY.size, socket.MSG_WAITALL)
            except ConnectionResetError:
                return None
            except BlockingIOError:  # the timeout
                self.wake()
        return Reply._make(REPLY.unpack(reply)) if len(reply) == REPLY.size else None

    def wake(self) -> None:
        """Continue it if it is stopped, perhaps by its program."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, with all that it started, and wait for that."""
        self.forget()
        self.wake()
        self._process.wait()

    def close_idle(self) -> None:
        """End one that has nothing to end itself, be it still starting, and wait for that."""
        self.forget()
        self._process.kill()
        self._process.wait()

    def forget(self) -> None:
        """Close the connection, as `Inherited.forget`: a child must not hide the engine's end."""
        self._socket.close()


class SupervisorPool:
    """A pool of supervisors, as many as programs ran at a time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SupervisorProcess] = []
        self._prepared = False
        self._closed = False

    def prepare(self) -> None:
        """Start the first one, once: it gets ready while the first Task is decided."""
        with self._lock:
            first = not self._prepared
            self._prepared = True
        if first:
            # `take` tries again, and says so.
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self.give_back(SupervisorProcess())

    def take(self) -> SupervisorProcess:
        """An idle supervisor. Raises `OSError` if none can be started."""
        while True:
            with self._lock:
                supervisor = self._idle.pop() if self._idle else None
            if supervisor is None:
                return SupervisorProcess()
            if not supervisor.has_reply(0):
                return supervisor
            supervisor.close()

    def give_back(self, supervisor: SupervisorProcess) -> None:
        """Return one that is idle."""
        with self._lock:
            if not self._closed:
                self._idle.append(supervisor)
                return
        supervisor.close_idle()

    def close(self) -> None:
        """End idle ones at once, and others when they are given back. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for supervisor in idle:
            supervisor.close_idle()


class SupervisedProcess:
    """A program under a supervisor, from its start to its end.

    Invariant: a signal is sent only under the lock and before the supervisor was given back. After
    that it may run another program, which a late signal must not hit; before, it ignores signals
    after its program's end.
    """

    def __init__(
        self, supervisors: SupervisorPool, program: Start, streams: tuple[int, int]
    ) -> None:
        """Start a program that writes into these streams.

        Raises `ValueError` for texts with NUL, which no program can get, and `OSError` if no
        supervisor can be started.
        """
        paths, tokens, environment, _ = program
        self._mark = marked_processes.mark_in(environment)
        if any(b"\0" in text for text in (*paths, *tokens)):
            raise ValueError("embedded null byte")
        if not tokens[0]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self._supervisors, self._supervisor = supervisors, supervisors.take()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        """Held from the reading of a reply to the noting of it."""
        self._over = False
        self._end: Reply | None = None
        self._lost = False
        self._pid = 0
        self.usage: Usage | None = None
        """What it took, known after its `end`."""
        self.error: OSError | None = None
        """The error that kept it from starting, known after its `end`."""
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `end` reports it
                self._supervisor.send(program, streams)
        except BaseException:
            self._supervisor.close()
            raise

    @property
    def parent(self) -> int:
        """The supervisor's pid."""
        return self._supervisor.pid

    @property
    def pid(self) -> int:
        """The main process's pid; 0 if that has ended."""
        if self._pid == 0 and self._end is None and not self._lost:
            with self._reading:
                self._signal(0)
                reply = self._supervisor.reply()
                if reply is not None and reply[0] == STARTED:
                    self._pid = reply[1]
                else:
                    self._end, self._lost = reply, reply is None
        return self._pid

    def tops(self) -> list[int]:
        """The topmost processes of the run, as long as it lives: it began them, or got them."""
        return list(process_tree.children(self.parent))

    def watched(self) -> contextlib.AbstractContextManager[int | None]:
        """A descriptor that can be read when it may have `ended`."""
        return contextlib.nullcontext(self._supervisor.fileno())

    def terminate(self) -> None:
        """Send SIGTERM to its process group."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to its process group."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._lock, contextlib.suppress(OSError):  # it has ended: `end` reports that
            if not self._over:
                self._supervisor.wake()
                self._supervisor.send(int(number))

    def wait(self, seconds: float | None) -> bool:
        """Wait until none of its processes lives; False if one does after so many seconds."""
        return self._supervisor.has_reply(seconds) and self.ended()

    def ended(self) -> bool:
        """Read the reply to its end: True, since none of its processes lives then.

        To be called when there is a reply.
        """
        if self._end is None and not self._lost:
            with self._reading:
                self._end = self._supervisor.reply()
                self._lost = self._end is None
        return True

    def has_ended(self) -> bool:
        """Whether nothing of it lives, as any thread may ask; the reply stays unread."""
        with self._reading:
            known = self._end is not None or self._lost
            return known or self._supervisor.has_reply(0)

    def end(self) -> int:
        """Kill all its processes, and return its return code, which is invalid with an `error`.

        Raises `RuntimeFailure` if the code is unknown.
        """
        if self._end is None:
            self.kill()
            self.ended()
        with self._lock:
            self._over = True
        if self._end is None:
            raise self._unsupervised()
        kind, number, *_ = self._end
        if kind == STUCK:
            self._supervisor.close()
            raise RuntimeFailure(f"process {number}, which it started, can't be ended")
        self._supervisors.give_back(self._supervisor)
        if kind == FAILED:
            self.error = OSError(number, os.strerror(number))
            return -1
        self.usage = self._end.usage()
        return os.waitstatus_to_exitcode(number)

    def _unsupervised(self) -> RuntimeFailure:
        """After its supervisor's end: end the processes of the program that can be found."""
        self._supervisor.close()
        marked_processes.end_strays(None, self._mark)
        # Then those in its session without the mark; its own pid is not among them.
        if self._pid:
            marked_processes.end_strays(self._pid, self._mark)
        return RuntimeFailure(
            "its supervisor was ended, so that nobody knows how its program ended,"
            " or what is left of it"
        )
