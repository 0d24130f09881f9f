"""Calls functions each second, to measure what runs: all of them in one thread."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from gaia_local.monotonic import monotonic

FIRST_SECONDS = 0.2
"""From the start of a run to its first sample: shorter ones cost next to nothing."""
INTERVAL_SECONDS = 1.0

logger = logging.getLogger("gaia_local")


@dataclass(eq=False, slots=True)
class _Registration:
    sample: Callable[[], None]
    due: float
    ends: set[int]
    """Descriptors that can't be read yet: see `Sampler.sampling`."""


class Sampler:
    """Samples what runs, in one thread, which lives from the first use to `close`.

    Invariant: a function is called by that thread alone, and only while it is registered, or was
    when the call began. What a descriptor says counts only while its run is registered: others may
    have its number before and after.
    """

    def __init__(self, name: str) -> None:
        self._name = f"gaia-local-{name}"
        self._lock = threading.Lock()
        self._registered: set[_Registration] = set()
        self._thread: threading.Thread | None = None
        self._wake: int | None = None
        """The end of a pipe, that wakes the thread by a byte, or by its closing."""
        self._closed = False

    @contextlib.contextmanager
    def sampling(
        self, sample: Callable[[], None], after: float = 0.0, ends: Collection[int] = ()
    ) -> Iterator[Callable[[int], None]]:
        """While inside: have `sample` called after so many seconds, and then each second.

        It is called once more when one of the descriptors `ends` can be read: at the end of a
        process. `sample` can add another one by calling what this yields. A call that began may end
        later. On a machine that refuses a thread there are no calls.
        """
        registration = _Registration(sample, monotonic() + after, set(ends))
        with self._lock:
            self._registered.add(registration)
            if self._wake is not None:
                os.write(self._wake, b"\0")
            elif not self._closed:
                self._start()
        try:
            yield registration.ends.add
        finally:
            with self._lock:
                self._registered.remove(registration)

    def close(self) -> None:
        """End the thread, after the call that it is in. Idempotent."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            if self._wake is not None:
                os.close(self._wake)
                self._wake = None
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        try:
            woken, self._wake = os.pipe()
        except OSError as error:
            logger.debug("nothing is measured while it runs: %s", error)
            return
        thread = threading.Thread(target=self._work, args=(woken,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            logger.debug("nothing is measured while it runs: %s", error)
            os.close(woken)
            os.close(self._wake)
            self._wake = None
            return
        self._thread = thread

    def _work(self, woken: int) -> None:
        try:
            while True:
                for sample in self._ready():
                    try:
                        sample()
                    except Exception:  # a defect: it must not cost other runs
                        logger.exception("a running Step could not be measured")
                if self._wait(woken) and not os.read(woken, 1 << 12):
                    return
        finally:
            os.close(woken)

    def _ready(self) -> list[Callable[[], None]]:
        """The functions that are to be called now: those of ended runs first."""
        now, last, due = monotonic(), [], []
        with self._lock:
            poll = self._poll()
            ended = {descriptor for descriptor, _ in poll.poll(0)}
            for registration in self._registered:
                if registration.ends & ended:
                    registration.ends -= ended
                    last.append(registration.sample)
                elif registration.due <= now:
                    registration.due = now + INTERVAL_SECONDS
                    due.append(registration.sample)
        return last + due

    def _poll(self) -> select.poll:
        """One for the ends of all runs; called under the lock."""
        poll = select.poll()
        for registration in self._registered:
            for end in registration.ends:
                poll.register(end, select.POLLIN)
        return poll

    def _wait(self, woken: int) -> bool:
        """Wait until something is due; returns whether the thread was woken."""
        now = monotonic()
        with self._lock:
            poll = self._poll()
            first = min((registration.due for registration in self._registered), default=None)
        poll.register(woken, select.POLLIN)
        pause = None if first is None else max(0.0, first - now) * 1000
        return woken in [descriptor for descriptor, _ in poll.poll(pause)]
