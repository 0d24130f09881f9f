"""What is done with large files at this moment: kept in memory alone, for people who wait."""

from __future__ import annotations

import threading
from collections.abc import Hashable


class Doing:
    """Sentences on long work, by workflow and by who does it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: dict[tuple[str, Hashable], str] = {}

    def set(self, workflow: str, who: Hashable, sentence: str) -> None:
        """What somebody, a Step's name or any object, is doing now."""
        with self._lock:
            self._sentences[workflow, who] = sentence

    def forget(self, workflow: str, who: Hashable) -> None:
        """It is done."""
        if self._sentences:  # for every event, and there is seldom anything to forget
            with self._lock:
                self._sentences.pop((workflow, who), None)

    def of(self, workflow: str) -> list[str]:
        """The sentences on a workflow, the oldest work first."""
        with self._lock:
            return [text for (name, _), text in self._sentences.items() if name == workflow]
