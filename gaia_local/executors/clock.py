"""Calls functions later: timeouts, graces and rounds of an executor."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("gaia_local")


class Clock:
    """Calls functions later, in one thread, which lives from the first order to `close`."""

    def __init__(self, name: str = "clock") -> None:
        self._name = f"gaia-local-{name}"
        self._condition = threading.Condition()
        self._orders: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._numbers = itertools.count()
        self._stale = 0
        self._thread: threading.Thread | None = None
        self._closed = False

    def call_later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        """Have `function` called in that many seconds; returns an idempotent way to take it back."""
        box = [function]
        with self._condition:
            order = (
                time.monotonic() + min(seconds, threading.TIMEOUT_MAX / 2),
                next(self._numbers),
                box,
            )
            heapq.heappush(self._orders, order)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._tick, name=self._name, daemon=True)
                self._thread.start()
            elif self._orders[0] is order:
                self._condition.notify()

        def take_back() -> None:
            with self._condition:
                if box:
                    box.clear()
                    self._stale += 1
                    if self._stale > 64 and self._stale > len(self._orders) // 2:
                        self._orders = [order for order in self._orders if order[2]]
                        heapq.heapify(self._orders)
                        self._stale = 0

        return take_back

    def close(self) -> None:
        """Forget all orders and end the thread."""
        with self._condition:
            self._closed = True
            self._orders.clear()
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _tick(self) -> None:
        while True:
            with self._condition:
                while not self._closed and (
                    not self._orders or self._orders[0][0] > time.monotonic()
                ):
                    self._condition.wait(
                        self._orders[0][0] - time.monotonic() if self._orders else None
                    )
                if self._closed:
                    return
                box = heapq.heappop(self._orders)[2]
                function = box.pop() if box else None
                self._stale -= function is None
            if function is not None:
                try:
                    function()
                except Exception:  # it must not cost other orders
                    logger.exception("an order of the clock failed")
