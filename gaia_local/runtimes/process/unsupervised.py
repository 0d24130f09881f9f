"""A program without a supervisor: a child of this process, and its process group."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading

from gaia_local.errors import RuntimeFailure
from gaia_local.model.usage import Usage
from gaia_local.runtimes import process_tree
from gaia_local.runtimes.process import marked_processes


class UnsupervisedProcess:
    """A Task's main process and its process group.

    Invariant: a signal is sent only under the lock and before the main process was reaped. Until
    then its pid, which is the group's id, belongs at least to a zombie, and to no other process.
    """

    error: OSError | None = None

    def __init__(self, process: subprocess.Popen[bytes], mark: bytes) -> None:
        self.pid, self.parent = process.pid, os.getpid()
        self._process, self._mark = process, mark
        self._lock = threading.Lock()
        self._reaped = self._lost = False
        self._code = 0
        self.usage: Usage | None = None
        """What it took with the children it waited for, known after its `end`."""

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
        """Wait for the main process without reaping it; False if it isn't known to end in time."""
        if seconds is not None:
            with marked_processes.held(self.pid) as handle:
                return handle is not None and marked_processes.await_held(handle, seconds)
        if hasattr(os, "waitid"):
            return self._check(os.WEXITED | os.WNOWAIT)
        pause = marked_processes.POLL_SECONDS / 32
        while not self.ended():
            select.select([], [], [], pause)
            pause = min(pause * 2, marked_processes.POLL_SECONDS)
        return True

    def ended(self) -> bool:
        """Whether the main process has ended."""
        if hasattr(os, "waitid"):
            return self._check(os.WEXITED | os.WNOWAIT | os.WNOHANG)
        # MacOS before Python 3.13 can only check by reaping; the rest of the group is killed then.
        with self._lock:
            if not self._reaped and self._reap(os.WNOHANG):
                marked_processes.signal_group(self.pid, signal.SIGKILL)
            return self._reaped

    def has_ended(self) -> bool:
        """The same, as any thread may ask."""
        return self.ended()

    def _check(self, options: int) -> bool:
        if self._lost:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, options) is not None
        except ChildProcessError:  # another part of this program reaped it, or it ignores SIGCHLD
            with self._lock:
                self._reaped = self._lost = True
            return True

    def end(self) -> int:
        """Kill the group and strays, reap the main process, and return its return code."""
        self.kill()
        self.wait(None)
        marked_processes.end_strays(None if self._lost else self.pid, self._mark)
        with self._lock:
            if not self._reaped:
                self._reap(0)
            self._process.returncode = self._code  # else `subprocess` thinks that it still runs
        if self._lost:
            raise RuntimeFailure(
                f"the exit code of process {self.pid} was taken by another part of this program"
            )
        return self._code

    def _reap(self, options: int) -> bool:
        """Wait for the main process, and note what it took; called under the lock."""
        io = process_tree.io_of(self.pid)
        try:
            pid, status, took = os.wait4(self.pid, options)
        except ChildProcessError:  # as in `_check`
            self._reaped = self._lost = True
            return True
        if not pid:
            return False
        self._reaped, self._code = True, os.waitstatus_to_exitcode(status)
        memory = took.ru_maxrss * _MAXRSS_UNIT
        self.usage = Usage(
            cpu_user=took.ru_utime,
            cpu_system=took.ru_stime,
            memory=memory if memory > _inherited_memory() else None,
            read=None if io is None else io[0],
            written=None if io is None else io[1],
        )
        return True

    def tops(self) -> list[int]:
        """The topmost processes of the run, as long as it lives."""
        return [self.pid]


_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def _inherited_memory() -> int:
    """The peak of memory that a child may have from this process, in bytes.

    On Linux it begins with that of the process that started it, whose memory it shares until its
    exec. So a smaller program's own isn't known.
    """
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
