"""Signals for a container that may not have started yet."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Signals:
    """Sends a container the signal to stop, even if that was requested before its start."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._started = False
        self._wanted: str | None = None

    def terminate(self) -> None:
        """Send SIGTERM, now or when the start is done."""
        self._order("TERM")

    def kill(self) -> None:
        """The same with SIGKILL."""
        self._order("KILL")

    def start(self, start: Callable[[], None]) -> bool:
        """Call `start`, unless a signal was requested before; return whether it was called."""
        with self._lock:
            if self._wanted is not None:
                return False
        start()
        with self._lock:
            self._started = True
            wanted = self._wanted
        if wanted is not None:
            self._send(wanted)
        return True

    def _order(self, signal: str) -> None:
        with self._lock:
            self._wanted = signal
            if not self._started:
                return
        self._send(signal)
