"""Waits, by polling, for conditions without an event."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_until(condition: Callable[[], Answer], timeout: float = 20) -> Answer:
    """The first true answer of `condition`; after `timeout` seconds without one, fails the test."""
    end = time.monotonic() + timeout
    never = threading.Event()
    while not (answer := condition()):
        assert time.monotonic() < end, f"it didn't come true within {timeout:g} s"
        never.wait(0.002)
    return answer
