"""A program without a supervisor: a child of this process, and its process group."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading

from gaia_local.errors import RuntimeFailure
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
            if not self._reaped and self._process.poll() is not None:
                self._reaped = True
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
            self._reaped = True
            code = self._process.wait()
        if self._lost:
            raise RuntimeFailure(
                f"the exit code of process {self.pid} was taken by another part of this program"
            )
        return code
