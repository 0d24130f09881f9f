"""A pool of daemon threads that call functions, in the order in which they came."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from gaia_local import interrupts
from gaia_local.errors import Closed

logger = logging.getLogger("gaia_local")


class ThreadPool:
    """Calls functions in at most `size` threads, which are started when they are needed."""

    def __init__(self, size: int, name: str) -> None:
        """`name` is the beginning of the threads' names."""
        self._size, self._name = size, name
        self._condition = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False

    def call(self, function: Callable[[], None]) -> None:
        """Have `function` called soon. Raises `Closed`, and `RuntimeError` if no thread starts."""
        with self._condition:
            if self._closed:
                raise Closed("the thread pool is closed")
            self._calls.append(function)
            if len(self._calls) <= self._idle or len(self._threads) >= self._size:
                self._condition.notify()
                return
            name = f"{self._name}-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more: the others must do
                if not self._threads:
                    self._calls.pop()
                    raise
                self._size = len(self._threads)
                self._condition.notify()
                return
            self._threads.append(thread)

    def close(self) -> None:
        """Make all calls that wait, and return when no thread lives. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                interrupts.join(thread)

    def _work(self) -> None:
        while True:
            with self._condition:
                self._idle += 1
                while not self._calls and not self._closed:
                    self._condition.wait()
                self._idle -= 1
                if not self._calls:
                    return
                function = self._calls.popleft()
            try:
                function()
            except Exception:  # a defect must not cost a thread
                logger.exception("a call in the thread %r failed", threading.current_thread().name)
