"""Timers for a `Cancellation`."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Timers:
    """A thread for each order, none of which outlives its test."""

    def __init__(self) -> None:
        self._timers: list[threading.Timer] = []

    def call_later(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        timer = threading.Timer(seconds, function)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()
        return timer.cancel

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()
