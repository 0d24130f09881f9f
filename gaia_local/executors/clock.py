"""Calls functions later: the timeouts, graces and checks of an executor."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from gaia_local.monotonic import monotonic

logger = logging.getLogger("gaia_local")


class Clock:
    """Calls functions later, in one thread, which lives from the first call to `close`."""

    def __init__(self, name: str = "clock") -> None:
        self._name = f"gaia-local-{name}"
        self._condition = threading.Condition()
        self._calls: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._numbers = itertools.count()
        self._stale = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def call_later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Have `function` called in that many seconds; returns an idempotent way to cancel it."""
        cell = [function]
        with self._condition:
            call = (
                monotonic() + min(seconds, threading.TIMEOUT_MAX / 2),
                next(self._numbers),
                cell,
            )
            heapq.heappush(self._calls, call)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._tick, name=self._name, daemon=True)
                self._thread.start()
            elif self._calls[0] is call:
                self._condition.notify()

        def cancel() -> None:
            with self._condition:
                if cell:
                    cell.clear()
                    self._stale += 1
                    if self._stale > 64 and self._stale > len(self._calls) // 2:
                        self._calls = [call for call in self._calls if call[2]]
                        heapq.heapify(self._calls)
                        self._stale = 0

        return cancel

    def close(self) -> None:
        """Forget all calls and end the thread."""
        with self._condition:
            self._closed = True
            self._calls.clear()
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _tick(self) -> None:
        while True:
            with self._condition:
                while not self._closed and (not self._calls or self._calls[0][0] > monotonic()):
                    self._condition.wait(self._calls[0][0] - monotonic() if self._calls else None)
                if self._closed:
                    return
                cell = heapq.heappop(self._calls)[2]
                function = cell.pop() if cell else None
                self._stale -= function is None
            if function is not None:
                try:
                    function()
                except Exception:  # it must not cost other orders
                    logger.exception("a call at a set time failed")
