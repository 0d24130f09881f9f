"""What running Tasks took so far: the newest samples, kept in memory alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gaia_local.monotonic import monotonic

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage
    from gaia_local.model.tasks import Task

_QUIET_SECONDS = 0.9
"""The least time between two notices of one workflow: samples come each second, at any moment."""


class LiveUsages:
    """The newest sample of each running Task. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._usages: dict[str, dict[str, tuple[str, LiveUsage]]] = {}
        """Workflow → Task id → its Step, and its sample."""
        self._noticed: dict[str, float] = {}
        """Workflow → the time of the last notice, while a Task of it has a sample."""

    def set(self, task: Task, usage: LiveUsage) -> bool:
        """Keep a sample; returns whether others should notice it now."""
        workflow, now = task.workflow, monotonic()
        with self._lock:
            self._usages.setdefault(workflow, {})[task.id] = task.name, usage
            due = now - self._noticed.get(workflow, float("-inf")) >= _QUIET_SECONDS
            if due:
                self._noticed[workflow] = now
            return due

    def forget(self, task: Task) -> None:
        """The Task has ended."""
        if not self._usages:  # short Tasks have no samples
            return
        with self._lock:
            usages = self._usages.get(task.workflow, {})
            if usages.pop(task.id, None) is not None and not usages:
                del self._usages[task.workflow], self._noticed[task.workflow]

    def of(self, workflow: str) -> dict[str, LiveUsage]:
        """Step → the newest sample of its Task."""
        with self._lock:
            return dict(self._usages.get(workflow, {}).values())
