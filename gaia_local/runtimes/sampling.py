"""Calls functions each second, to measure what runs: all of them in one thread."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from gaia_local.monotonic import monotonic

FIRST_SECONDS = 0.2
"""From the start of a run to its first sample: shorter ones cost nothing."""
INTERVAL_SECONDS = 1.0

logger = logging.getLogger("gaia_local")


class Sampler:
    """Samples what runs, in one thread, which lives from the first use to `close`.

    Invariant: a function is called by that thread alone, and only while it is registered, or was
    when the call began.
    """

    def __init__(self, name: str) -> None:
        self._name = f"gaia-local-{name}"
        self._condition = threading.Condition()
        self._due: dict[object, tuple[float, Callable[[], None]]] = {}
        """Each registration → when its function is to be called next."""
        self._wakes = 0.0
        """When the thread looks again."""
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextlib.contextmanager
    def sampling(self, sample: Callable[[], None], after: float = 0.0) -> Iterator[None]:
        """While inside: have `sample` called after so many seconds, and then each second.

        A call that began may end later. On a machine that refuses a thread there are no calls.
        """
        key, due = object(), monotonic() + after
        with self._condition:
            self._due[key] = due, sample
            if self._thread is None and not self._closed:
                self._start()
            elif due < self._wakes:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                del self._due[key]

    def close(self) -> None:
        """End the thread, after the call that it is in. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            logger.debug("nothing is measured while it runs: %s", error)
            return
        self._thread = thread

    def _work(self) -> None:
        while (samples := self._next()) is not None:
            for sample in samples:
                try:
                    sample()
                except Exception:  # a defect: it must not cost other runs
                    logger.exception("a running Step could not be measured")

    def _next(self) -> list[Callable[[], None]] | None:
        """Wait for the functions that are to be called; None at the end."""
        with self._condition:
            while not self._closed:
                now = monotonic()
                ready = [key for key, (due, _) in self._due.items() if due <= now]
                if ready:
                    samples = [self._due[key][1] for key in ready]
                    for key, sample in zip(ready, samples, strict=True):
                        self._due[key] = now + INTERVAL_SECONDS, sample
                    return samples
                first = min((due for due, _ in self._due.values()), default=None)
                self._wakes = float("inf") if first is None else first
                self._condition.wait(None if first is None else first - now)
            return None
