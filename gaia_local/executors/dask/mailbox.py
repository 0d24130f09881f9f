"""A thread that calls the functions that other threads put into its mailbox."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from gaia_local import interrupts
from gaia_local.monotonic import monotonic

CHECK_SECONDS = 0.5
"""Between two calls of `check`, while busy."""

logger = logging.getLogger("gaia_local")


class Mailbox:
    """Calls functions in its thread, in the order in which they were put. Thread-safe."""

    def __init__(
        self,
        thread_name: str,
        *,
        act: Callable[[], None],
        check: Callable[[], None],
        is_busy: Callable[[], bool],
        is_done: Callable[[], bool],
    ) -> None:
        """The thread calls `act` after the functions that were put, and `check` now and then.

        While `is_busy`, it waits for a function no longer than until the next check; when
        `is_done`, it ends.
        """
        self._thread_name = thread_name
        self._act, self._check, self._is_busy, self._is_done = act, check, is_busy, is_done
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it was started. Not to be called by two threads at a time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._thread_name, daemon=True)
            self._thread.start()

    def put(self, call: Callable[[], None]) -> None:
        """Have a function called in the thread."""
        self._calls.put(call)

    def join(self) -> None:
        """Wait until the thread has ended; in the thread itself, don't."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            interrupts.join(thread)

    def _work(self) -> None:
        checked = monotonic()
        while not self._is_done():
            self._handle_calls()
            self._guarded(self._act)
            if monotonic() - checked >= CHECK_SECONDS:
                self._guarded(self._check)
                checked = monotonic()

    def _handle_calls(self) -> None:
        """Call the functions that were put; wait for the first until the next check is due."""
        try:
            self._guarded(self._calls.get(timeout=CHECK_SECONDS if self._is_busy() else None))
            while True:
                self._guarded(self._calls.get_nowait())
        except queue.Empty:
            return

    def _guarded(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:  # a defect here must not keep other Tasks from ending
            logger.exception("the Dask executor failed")
