"""Measures the processes of one run while it lives."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gaia_local.runtimes import process_tree
from gaia_local.runtimes.sampling import Sampler

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage


class ProcessMeter:
    """The peak of a run's memory, of all its processes together, and its CPU time so far.

    Invariant: no process is looked at after `sampling`: pids may be those of others then.
    """

    def __init__(self, tops: Callable[[], list[int]], told: Callable[[LiveUsage], None]) -> None:
        """`tops` are the topmost processes of the run; `told` gets each sample."""
        self._tops, self._told = tops, told
        self._lock = threading.Lock()
        self._over = False
        self.memory = 0
        self._cpu = 0.0

    @contextlib.contextmanager
    def sampling(self, sampler: Sampler) -> Iterator[None]:
        """While inside: measure, at once and then each second, if this system can."""
        if not process_tree.measurable():
            yield
            return
        try:
            with sampler.sampling(self._sample):
                yield
        finally:
            with self._lock:
                self._over = True

    def _sample(self) -> None:
        with self._lock:
            if self._over:
                return
            memory, cpu = process_tree.measured(self._tops())
            # Those that have ended, and that nobody here waited for, are missing.
            self.memory, self._cpu = max(self.memory, memory), max(self._cpu, cpu)
        self._told({"memory": self.memory, "cpu": self._cpu})
